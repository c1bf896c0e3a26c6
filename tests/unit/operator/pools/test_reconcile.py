"""A VoiceAgentPool: pods for its sessions, new versions without a call cut, and the reason when it cannot serve."""

from typing import Any

import pytest

from livekit_operator.errors import KubernetesError, NamespaceTerminating
from livekit_operator.views import ProviderError
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition, decoded
from tests.fakes.world import World

REFUSED = ProviderError("stt", "deepgram", 401, "INVALID_AUTH")


def versions(world: World) -> list[dict[str, Any]]:
    found = world.get("VoiceAgentPool", "front-desk")["status"]["versions"]
    assert isinstance(found, list)
    return found


def names(pods: list[dict[str, Any]]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


async def test_pods_are_created_with_configuration_and_credentials(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=2))
    world.forget()
    again = await world.reconcile("VoiceAgentPool", "front-desk")
    (version,) = versions(world)
    verbs = [write.what.rsplit("/", 1)[0] if write.kind == "Pod" else write.what for write in world.kubernetes.writes]
    assert verbs == [
        "apply PodDisruptionBudget/front-desk-busy",
        f"apply ConfigMap/front-desk-agent-{version['revision']}",
        "apply Secret/front-desk-agent-versions",
        "apply Secret/front-desk-agent",
        "apply ServiceAccount/front-desk-agent",
        "apply NetworkPolicy/front-desk-agent",
        "create Pod",
        "create Pod",
        "merge VoiceAgentPool/front-desk/status",
    ]
    assert again == 2.0
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "Progressing")
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    keys = {name: keys[name] for name in ("apiKey", "apiSecret")}
    assert decoded(world.get("Secret", "front-desk-agent")) == keys
    await world.settle()
    assert len(world.agent_pods()) == 2


async def test_ready_when_its_pods_are(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2, sessionsPerPod=3)
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    for pod in world.agent_pods():
        world.say(pod, sessions=1)
    await world.reconcile("VoiceAgentPool", "front-desk")
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    shown = {
        key: value for key, value in status.items() if key not in ("conditions", "revision", "selector", "versions")
    }
    assert shown == {
        "observedGeneration": 1,
        "sessions": [],
        "agentName": "front-desk",
        "replicas": 2,
        "desiredReplicas": 2,
        "desiredReason": "2 pods by spec.replicas.",
        "readyReplicas": 2,
        "updatedReplicas": 2,
        "drainingReplicas": 0,
        "busyReplicas": 2,
        "idleReplicas": 0,
        "activeSessions": 2,
        "freeSessions": 4,
        "waitingSessions": 0,
        "remainingSessions": 0,
    }
    (version,) = versions(world)
    assert (version["revision"], version["track"], version["activeSessions"]) == (status["revision"], "Stable", 2)
    assert status["selector"].startswith("app.kubernetes.io/component=agent,")


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        pytest.param(None, "SecretNotFound", "Secret providers of spec.agent.llm.apiKeySecretRef", id="no Secret"),
        pytest.param(
            manifests.secret("providers", deepgram="k"), "SecretKeyMissing",
            "Secret providers of spec.agent.llm.apiKeySecretRef has no key openai", id="no key",
        ),
        pytest.param(
            manifests.secret("providers", openai="k", deepgram=""), "SecretKeyMissing",
            "Secret providers of spec.agent.stt.apiKeySecretRef has no key deepgram", id="empty key",
        ),
    ],
)  # fmt: skip
async def test_a_missing_provider_key_is_named_and_heals(
    world: World, secret: dict[str, Any] | None, reason: str, words: str
) -> None:
    await world.with_server()
    if secret:
        world.kubernetes.put(secret)
    world.kubernetes.put(manifests.pool())
    again = await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", reason)
    assert words in world.message("VoiceAgentPool", "front-desk")
    assert again is not None
    assert world.agent_pods() == []
    if secret:
        world.kubernetes.vanish("Secret", NAMESPACE, "providers")
    world.kubernetes.put(manifests.providers_secret())
    await world.settle()
    world.run_pods()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_a_provider_that_refuses_its_key_is_told_in_pool_and_room(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    [pod] = world.agent_pods()
    world.say(pod, errors=(REFUSED,))
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ProviderRejected")
    message = world.message("VoiceAgentPool", "front-desk")
    assert "deepgram refuses the key for stt (HTTP 401)" in message
    assert condition(world.get("VoiceAgentPool", "front-desk"), "ProvidersAccepted")["status"] == "False"
    assert world.ready("MeetingRoom", "support-42") == ("False", "ProviderRejected")
    assert message in world.message("MeetingRoom", "support-42")
    world.say(pod)
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (ProviderError("llm", "openai", 403, "m"), "ProviderRejected", "openai refuses the key for llm (HTTP 403)"),
        (ProviderError("tts", "deepgram", 500, "m"), "ProviderFailing", "deepgram fails for tts (code 500)"),
        (ProviderError("tts", "deepgram", 0, "m"), "ProviderFailing", "deepgram cannot be reached for tts"),
    ],
)
async def test_what_is_wrong_with_a_provider_is_told(
    world: World, error: ProviderError, reason: str, words: str
) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    world.say(world.agent_pods()[0], errors=(error,))
    await world.settle()
    for kind, name in (("VoiceAgentPool", "front-desk"), ("MeetingRoom", "support-42")):
        assert world.ready(kind, name) == ("False", reason)
        assert words in world.message(kind, name)


async def test_a_pool_that_grows_stays_ready(world: World) -> None:
    await world.with_server()
    await world.with_pool(sessionsPerPod=2, autoscaling={"minReplicas": 1, "maxReplicas": 4, "bufferSessions": 2})
    world.say(world.agent_pods()[0], sessions=2)
    await world.settle()
    assert len(world.agent_pods()) == 2
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_a_namespace_that_is_being_deleted_is_left_in_peace(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    world.kubernetes.fail("create", "Pod", NamespaceTerminating(403, "Forbidden", "m"))
    before = world.events()
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "NamespaceTerminating")
    assert world.events() == before
    assert len(await world.writes_of_another_round()) <= 1, "it tries, and says nothing new"


async def test_what_is_left_of_a_pool_is_counted_while_its_namespace_ends(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.fail("create", "Pod", NamespaceTerminating(403, "Forbidden", "m"))
    [pod] = world.agent_pods()
    world.kubernetes.ask_to_delete("Pod", NAMESPACE, pod["metadata"]["name"])
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "NamespaceTerminating")
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    told = [status[name] for name in ("replicas", "readyReplicas", "updatedReplicas", "drainingReplicas")]
    assert told == [0, 0, 0, 1]


async def test_an_agent_that_does_not_start_is_quoted(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.settle()
    [pod] = world.agent_pods()
    container = {
        "name": "agent",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"message": "AGENT_CONFIG: no such file\n"}},
    }
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"containerStatuses": [container]}, status=True)
    await world.settle()
    assert "CrashLoopBackOff: AGENT_CONFIG: no such file" in world.message("VoiceAgentPool", "front-desk")


async def test_a_changed_provider_key_makes_new_pods(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    [before] = world.agent_pods()
    changed = manifests.secret("providers", deepgram="new", openai="oa-key")
    world.kubernetes.edit("Secret", NAMESPACE, "providers", {"data": changed["data"]})
    world.clock.advance(10)
    await world.settle()
    world.run_pods()
    await world.settle()
    assert before["metadata"]["name"] not in names(world.agent_pods())


def own_agent(**reference: Any) -> dict[str, Any]:
    """Return `spec.agent` of an image that takes its key from a Secret."""
    variable = {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "openai", **reference}}}
    return manifests.own_agent(env=[{"name": "LOG", "value": "info"}, variable])


async def replaced(world: World) -> list[str]:
    """Let time pass and pods start and end; return the names of those that are there then."""
    world.clock.advance(10)
    for _ in range(4):
        await world.settle()
        world.run_pods()
        await world.settle()
        world.end_pods()
    return names(world.agent_pods())


async def test_a_changed_key_of_an_agents_own_makes_new_pods(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.secret("mine", openai="old-key", other="x"))
    await world.with_pool(agent=own_agent())
    before = names(world.agent_pods())
    world.say(world.agent_pods()[0], sessions=1)
    revision = world.get("VoiceAgentPool", "front-desk")["status"]["revision"]
    changed = manifests.secret("mine", openai="old-key", other="y")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "mine", {"data": changed})
    assert await replaced(world) == before, "no variable takes it"
    changed = manifests.secret("mine", openai="new-key")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "mine", {"data": changed})
    world.clock.advance(10)
    await world.settle()
    assert len(world.agent_pods()) == 2
    assert names(world.agent_pods(leaving=True)) == [], "the call goes on until there is another pod"
    assert not set(await replaced(world)) & set(before)
    assert world.get("VoiceAgentPool", "front-desk")["status"]["revision"] == revision
    for key, manifest in world.kubernetes.objects.items():
        told = {name: part for name, part in manifest.items() if name != "spec"}
        assert key[0] == "Secret" or ("new-key" not in str(told) and changed["openai"] not in str(told))


@pytest.mark.parametrize("optional", [False, True])
async def test_a_key_of_an_agents_own_may_be_missing(world: World, optional: bool) -> None:
    await world.with_server()
    await world.with_pool(agent=own_agent(optional=optional))
    before = names(world.agent_pods())
    assert len(before) == 1
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    world.forget()
    for _ in range(4):
        world.clock.advance(2)
        await world.settle()
    assert world.kubernetes.reads.count("get Secret/mine") <= 1
    world.kubernetes.put(manifests.secret("mine", openai="a-key"))
    assert not set(await replaced(world)) & set(before)


@pytest.mark.parametrize(
    "source",
    [
        {"secretKeyRef": {"key": "k"}},
        {"secretKeyRef": {"name": "../../others/secrets/s", "key": "k"}},
        {"secretKeyRef": {"name": 1, "key": []}},
        {"secretKeyRef": "s"},
        {"secretKeyRef": None},
        {"fieldRef": {"fieldPath": "metadata.name"}},
        {},
    ],
)
async def test_a_variable_that_names_no_secret_stops_nothing(world: World, source: dict[str, Any]) -> None:
    await world.with_server()
    await world.with_pool(agent=manifests.own_agent(env=[{"name": "A", "valueFrom": source}]))
    assert len(world.agent_pods()) == 1


async def test_scales_up_with_its_calls_and_down_from_idle_pods(world: World) -> None:
    await world.with_server()
    scaling = {"minReplicas": 1, "maxReplicas": 4, "bufferSessions": 2, "scaleDownStabilizationSeconds": 0}
    await world.with_pool(sessionsPerPod=2, autoscaling=scaling)
    [first] = world.agent_pods()
    world.say(first, sessions=2)
    await world.settle()
    world.run_pods()
    await world.settle()
    pods = world.agent_pods()
    assert len(pods) == 2
    for pod in pods:
        world.say(pod, sessions=2)
    await world.settle()
    world.run_pods()
    await world.settle()
    assert len(world.agent_pods()) == 3
    idle, *busy = sorted(world.agent_pods(), key=lambda pod: pod["metadata"]["name"] not in names(pods[:1]))
    world.say(idle, sessions=0)
    for pod in busy:
        world.say(pod, sessions=1)
    await world.settle()
    assert names(world.agent_pods(leaving=True)) == [idle["metadata"]["name"]]
    assert world.get("VoiceAgentPool", "front-desk")["status"]["drainingReplicas"] == 1
    world.end_pods()
    await world.settle()
    assert len(world.agent_pods(leaving=None)) == 2


async def test_a_busy_pod_stays_though_fewer_are_wanted(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)
    for pod in world.agent_pods():
        world.say(pod, sessions=1)
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"replicas": 0}})
    await world.settle()
    assert len(world.agent_pods()) == 2
    for pod in world.agent_pods():
        world.say(pod)
    await world.settle()
    world.end_pods()
    await world.settle()
    assert world.agent_pods(leaving=None) == []
    assert world.get("VoiceAgentPool", "front-desk")["status"]["replicas"] == 0


async def test_a_changed_pool_is_replaced_new_ones_first(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)
    old = names(world.agent_pods())
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"sessionsPerPod": 2}})
    await world.settle()
    assert world.agent_pods(leaving=True) == []
    assert len(world.agent_pods()) == 3, "one more than wanted while versions change"
    assert world.get("VoiceAgentPool", "front-desk")["status"]["updatedReplicas"] == 1
    for _ in range(4):
        world.run_pods()
        await world.settle()
        assert sum(pod["status"].get("podIP") is not None for pod in world.agent_pods()) >= 2
        world.end_pods()
        await world.settle()
    assert not set(names(world.agent_pods(leaving=None))) & set(old)
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    now, former = versions(world)
    assert (now["track"], former["track"]) == ("Stable", "History")
    assert '"sessionsPerPod": 2' in world.get("ConfigMap", f"front-desk-agent-{now['revision']}")["data"]["config.json"]


async def test_a_dead_pod_is_replaced(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    [dead] = world.agent_pods()
    world.kubernetes.edit("Pod", NAMESPACE, dead["metadata"]["name"], {"phase": "Failed"}, status=True)
    await world.settle()
    assert names(world.agent_pods(leaving=True)) == names([dead])
    assert len(world.agent_pods()) == 1


async def test_a_worker_that_ends_by_itself_is_replaced_while_its_calls_go_on(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    [ending] = world.agent_pods()
    world.say(ending, sessions=2, draining=True)
    await world.settle()
    assert names(world.agent_pods(leaving=True)) == names([ending])
    assert len(world.agent_pods()) == 1
    name = ending["metadata"]["name"]
    message = (
        f"The worker of pod {name} ends by itself, with 2 calls; another takes its place. See `kubectl logs {name}`."
    )
    assert [event for event in world.events() if event[1] == "WorkerEnds"] == [("Warning", "WorkerEnds", message)]


async def test_a_worker_that_ends_without_calls_is_left_to_the_kubelet(world: World) -> None:
    """It waits ever longer before it starts one again that ends each time; new pods would be made without end."""
    await world.with_server()
    await world.with_pool()
    [ending] = world.agent_pods()
    world.say(ending, draining=True)
    await world.settle()
    assert world.agent_pods(leaving=True) == []
    assert names(world.agent_pods()) == names([ending])


async def test_pods_that_do_not_start_are_explained(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.settle()
    [pod] = world.agent_pods()
    waiting = {"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"containerStatuses": [waiting]}, status=True)
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "PodsFailing")
    assert "ImagePullBackOff: no such image" in world.message("VoiceAgentPool", "front-desk")


async def test_pods_that_find_no_node_are_explained(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.settle()
    [pod] = world.agent_pods()
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"conditions": [unscheduled]}, status=True)
    await world.settle()
    assert "Unschedulable: 0/2 nodes" in world.message("VoiceAgentPool", "front-desk")


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (422, "Invalid")])
async def test_pods_that_the_api_server_refuses_are_explained(world: World, status: int, reason: str) -> None:
    """A quota, the Pod Security Standard or a wrong quantity: people must not have to read the operator's log."""
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    world.kubernetes.fail("create", "Pod", KubernetesError(status, reason, "exceeded quota: small"))
    assert await world.reconcile("VoiceAgentPool", "front-desk") == 2.0, "what serves is looked after"
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")
    assert "exceeded quota: small" in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.heal()
    await world.settle()
    assert len(world.agent_pods()) == 1


async def test_a_pool_waits_for_its_server_by_name(world: World) -> None:
    world.kubernetes.put(manifests.pool())
    world.kubernetes.put(manifests.providers_secret())
    assert await world.reconcile("VoiceAgentPool", "front-desk") is None
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ServerNotFound")
    assert "LiveKitServer voice does not exist" in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert len(world.agent_pods()) == 1, "the keys and the URL are known before the server answers"


async def test_another_namespace_must_be_allowed(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret("guests"))
    world.kubernetes.put(manifests.pool(namespace="guests", serverRef={"name": "voice", "namespace": NAMESPACE}))
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk", "guests") == ("False", "ServerNotAllowed")
    assert "adds guests to its spec.allowedPoolNamespaces" in world.message("VoiceAgentPool", "front-desk", "guests")
    assert "Secret" not in {write.kind for write in world.kubernetes.writes if write.namespace == "guests"}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedNamespaces": ["guests"]}})
    await world.settle()
    assert world.agent_pods() == [], "that is for rooms, which get no key"
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedPoolNamespaces": ["guests"]}})
    await world.settle()
    [pod] = world.agent_pods()
    assert pod["metadata"]["namespace"] == "guests"
    assert world.get("VoiceAgentPool", "front-desk", "guests")["status"]["agentName"] == "guests/front-desk"


async def test_what_is_changed_by_hand_is_put_back(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    before = world.get("Secret", "front-desk-agent")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "front-desk-agent", {"data": dict.fromkeys(before, "eA==")})
    await world.settle()
    assert world.get("Secret", "front-desk-agent")["data"] == before


async def test_a_deleted_pool_takes_its_children_with_it(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.ask_to_delete("VoiceAgentPool", NAMESPACE, "front-desk")
    world.forget()
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.kubernetes.writes == []
    assert world.agent_pods(leaving=None) == []


async def test_a_restarted_operator_finds_everything_as_it_is(world: World) -> None:
    """The caches are empty but for a listing, the connections are new: nothing is written."""
    await world.with_server()
    await world.with_pool()
    world.context.servers.clear()
    world.forget()
    await world.round()
    await world.round()
    assert world.written() == []


async def test_a_refused_pod_is_told_with_its_container(world: World) -> None:
    await world.with_server()
    words = 'pods "x" is forbidden: minimum cpu usage per Container is 1, but request is 500m'
    world.kubernetes.fail("create", "Pod", KubernetesError(403, "Forbidden", words))
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")
    message = world.message("VoiceAgentPool", "front-desk")
    assert "container agent (requests cpu 500m, requests memory 512Mi)" in message
    world.kubernetes.heal()
    await world.settle()
