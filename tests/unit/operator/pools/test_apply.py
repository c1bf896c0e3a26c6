"""A plan is carried out as far as the API server accepts it; what serves goes on whatever is refused."""

from dataclasses import replace
from typing import Any

import pytest

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.errors import KubernetesError
from livekit_operator.pools.apply import carry_out, protect, provide
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.decisions.rollout import Plan
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.pods import observe_pods
from livekit_operator.servers.credentials import credentials_of
from livekit_operator.servers.memory import Credentials
from livekit_operator.views import EndedJob
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.pools import standings
from tests.unit.operator.pools.calls import BUSY
from tests.unit.operator.pools.steps import names


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


async def test_what_is_changed_by_hand_is_put_back(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    before = world.get("Secret", "front-desk-agent")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "front-desk-agent", {"data": dict.fromkeys(before, "eA==")})
    await world.settle()
    assert world.get("Secret", "front-desk-agent")["data"] == before


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


async def test_what_leaves_makes_room_under_a_quota(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=2))
    await world.settle()  # two pods that never become ready
    broken = {pod["metadata"]["name"] for pod in world.agent_pods()}
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"sessionsPerPod": 2}})
    world.kubernetes.fail("create", "Pod", KubernetesError(403, "Forbidden", "exceeded quota"))
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert {pod["metadata"]["name"] for pod in world.agent_pods(leaving=True)} == broken
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")


CHILDREN = {
    "ConfigMap": "front-desk-agent-",
    "Secret": "front-desk-agent",
    "ServiceAccount": "front-desk-agent",
    "NetworkPolicy": "front-desk-agent",
    "PodDisruptionBudget": "front-desk-busy",
}


@pytest.mark.parametrize("error", [(403, "Forbidden"), (400, "BadRequest"), (422, "Invalid")])
@pytest.mark.parametrize(("kind", "name"), CHILDREN.items())
async def test_a_pool_goes_on_whatever_of_it_is_refused(
    world: World, kind: str, name: str, error: tuple[int, str]
) -> None:
    await world.with_server()
    await world.with_pool(replicas=3)
    dead, busy, idle = world.agent_pods()
    if kind == "ConfigMap":  # of a new version
        world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"idleProcesses": 7}})
    else:
        world.kubernetes.vanish(kind, NAMESPACE, name)
    world.kubernetes.fail("apply", kind, KubernetesError(*error, "admission webhook denied the request"))
    world.kubernetes.edit("Pod", NAMESPACE, dead["metadata"]["name"], {"phase": "Failed"}, status=True)
    world.say(busy, sessions=2)
    world.forget()
    for _ in range(10):
        assert await world.reconcile("VoiceAgentPool", "front-desk") == 2.0, "its pods are looked at as ever"
        world.clock.advance(2)
    refused = [read for read in world.kubernetes.reads if read.startswith(f"get {kind}/{name}")]
    assert len(refused) == 1, "it is not asked for again at each look"
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")
    message = world.message("VoiceAgentPool", "front-desk")
    assert f"{kind} {name}" in message
    assert "admission webhook denied the request" in message
    assert len([event for event in world.events() if event[1] == "KubernetesRefused"]) == 1
    names = {pod["metadata"]["name"] for pod in world.agent_pods()}
    assert {busy["metadata"]["name"], idle["metadata"]["name"]} <= names
    assert dead["metadata"]["name"] not in names
    replaced = kind in ("ConfigMap", "PodDisruptionBudget")
    assert len(names) == (3 if replaced else 2), "no pod comes that could not do without it"
    assert "livekit-operator.dev/busy" in world.get("Pod", busy["metadata"]["name"])["metadata"]["labels"]
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    assert (status["activeSessions"], status["busyReplicas"]) == (2, 1)
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"replicas": 1}})
    await world.settle()
    assert idle["metadata"]["name"] in {pod["metadata"]["name"] for pod in world.agent_pods(leaving=True)}
    world.kubernetes.heal()
    world.clock.advance(10)
    await world.settle()
    world.run_pods()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_a_pool_goes_on_with_what_is_there_though_its_change_is_refused(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (dead,) = world.agent_pods()
    for kind in ("ServiceAccount", "NetworkPolicy"):
        changed = {"metadata": {"annotations": {"livekit-operator.dev/applied": None}}}
        world.kubernetes.edit(kind, NAMESPACE, "front-desk-agent", changed)
        world.kubernetes.fail("apply", kind, KubernetesError(403, "Forbidden", "no"))
    world.kubernetes.edit("Pod", NAMESPACE, dead["metadata"]["name"], {"phase": "Failed"}, status=True)
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")
    assert len(world.agent_pods()) == 1
    world.clock.advance(30)


async def test_marks_and_notes_that_are_refused_stop_nothing(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=2))
    for kind in ("Pod", "ConfigMap"):
        world.kubernetes.fail("merge", kind, KubernetesError(403, "Forbidden", f"no changes of a {kind}"))
    world.kubernetes.fail("delete", "Pod", KubernetesError(403, "Forbidden", "no ends"))
    await world.settle()
    world.run_pods()
    first, _ = world.agent_pods()
    world.say(first, sessions=1)
    world.kubernetes.edit("Pod", NAMESPACE, first["metadata"]["name"], {"phase": "Failed"}, status=True)
    await world.settle()
    assert len(world.agent_pods()) == 3, "the dead one is replaced though it cannot be removed"
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")
    world.clock.advance(30)


async def test_pods_with_calls_are_marked_and_others_are_not(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)
    busy, idle = world.agent_pods()
    world.say(busy, sessions=1)
    await world.settle()
    marked = [pod["metadata"]["name"] for pod in world.agent_pods() if BUSY in pod["metadata"]["labels"]]
    assert marked == [busy["metadata"]["name"]]
    annotations = world.get("Pod", busy["metadata"]["name"])["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert await world.writes_of_another_round() == []
    world.say(busy)
    await world.settle()
    assert BUSY not in world.get("Pod", busy["metadata"]["name"])["metadata"]["labels"]
    for pod in (busy, idle):
        annotations = world.get("Pod", pod["metadata"]["name"])["metadata"]["annotations"]
        assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "true", "its node may be given back"
        assert "karpenter.sh/do-not-disrupt" not in annotations
    assert idle["metadata"]["name"] in [pod["metadata"]["name"] for pod in world.agent_pods()]


async def test_what_the_user_says_of_evictions_comes_back_after_a_call(world: World) -> None:
    own = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "false"}

    def told() -> dict[str, str]:
        (pod,) = world.agent_pods()
        return {name: pod["metadata"]["annotations"][name] for name in own}

    await world.with_server()
    await world.with_pool(podTemplate={"annotations": own})
    assert told() == own
    world.say(world.agent_pods()[0], sessions=1)
    await world.settle()
    assert told() == {**own, "karpenter.sh/do-not-disrupt": "true"}
    # Another version is wanted by now; this pod is still of the former one.
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"podTemplate": {"annotations": None}}})
    await world.reconcile("VoiceAgentPool", "front-desk")
    (pod,) = [pod for pod in world.agent_pods() if BUSY in pod["metadata"]["labels"]]
    world.say(pod)
    await world.reconcile("VoiceAgentPool", "front-desk")
    annotations = world.get("Pod", pod["metadata"]["name"])["metadata"]["annotations"]
    assert {name: annotations[name] for name in own} == own


async def with_parts(world: World, **spec: Any) -> tuple[VoiceAgentPool, PoolMemory, Credentials]:
    """Put a pool there that serves; return what carrying out a plan of it is given."""
    await world.with_server()
    await world.with_pool(**spec)
    pool = VoiceAgentPool.model_validate(world.get("VoiceAgentPool", "front-desk"))
    credentials = credentials_of(world.context, (NAMESPACE, "voice"))
    assert credentials is not None
    return pool, world.context.pools[NAMESPACE, "front-desk"], credentials


REFUSED = KubernetesError(403, "Forbidden", "no")


@pytest.mark.parametrize(
    ("kind", "there", "sufficient"),
    [
        pytest.param("ServiceAccount", True, True, id="an account that is there will do"),
        pytest.param("ServiceAccount", False, False, id="none will not"),
        pytest.param("NetworkPolicy", True, True, id="a policy that is there will do"),
        pytest.param("NetworkPolicy", False, False, id="no policy will not"),
        pytest.param("Secret", True, False, id="a former key is no key"),
    ],
)
async def test_what_new_pods_need(world: World, kind: str, there: bool, sufficient: bool) -> None:
    pool, memory, credentials = await with_parts(world)
    assert await provide(world.context, pool, credentials, memory)
    if there:
        changed = {"metadata": {"annotations": {"livekit-operator.dev/applied": None}}}
        world.kubernetes.edit(kind, NAMESPACE, "front-desk-agent", {**changed, "data": None})
    else:
        world.kubernetes.vanish(kind, NAMESPACE, "front-desk-agent")
    world.kubernetes.fail("apply", kind, REFUSED)
    assert await provide(world.context, pool, credentials, memory) is sufficient


def budgets_and_marks(world: World) -> list[str]:
    return [
        write.what.split("/")[0] for write in world.kubernetes.writes if write.kind in ("Pod", "PodDisruptionBudget")
    ]


async def test_never_fewer_pods_are_protected_than_have_calls(world: World) -> None:
    pool, memory, _ = await with_parts(world, replicas=3)
    first, second, third = world.agent_pods()

    async def protected(**calls: int) -> list[str]:
        for name, pod in (("first", first), ("second", second), ("third", third)):
            world.say(pod, sessions=calls.get(name, 0))
        pods = await observe_pods(world.context, pool, memory)
        world.forget()
        await protect(world.context, pool, memory, pods, {})
        return budgets_and_marks(world)

    def budget() -> int:
        return int(world.get("PodDisruptionBudget", "front-desk-busy")["spec"]["minAvailable"])

    assert await protected(first=1, second=2) == ["apply PodDisruptionBudget", "merge Pod", "merge Pod"]
    assert budget() == 2
    assert await protected(first=1, second=2) == []
    assert await protected(first=1) == ["merge Pod", "apply PodDisruptionBudget"], "the mark goes first"
    assert budget() == 1
    world.worker.answers.clear()
    memory.pods.clear()
    pods = await observe_pods(world.context, pool, memory)
    world.forget()
    await protect(world.context, pool, memory, pods, {})
    assert budgets_and_marks(world) == [], "what is not known stays as it is"
    world.kubernetes.fail("merge", "Pod", REFUSED)
    assert await protected(third=1) == ["apply PodDisruptionBudget"]
    assert budget() == 2, "a mark that cannot be taken off counts"


async def test_a_pod_that_is_gone_needs_no_mark(world: World) -> None:
    pool, memory, _ = await with_parts(world)
    (pod,) = world.agent_pods()
    world.say(pod, sessions=1)
    pods = await observe_pods(world.context, pool, memory)
    world.kubernetes.vanish("Pod", NAMESPACE, pod["metadata"]["name"])
    memory.refusals.begin()
    await protect(world.context, pool, memory, pods, {})
    assert memory.refusals.problem is None


@pytest.mark.parametrize(
    ("rollout", "revisions"),
    [
        (Rollout("old", "new"), ["old", "new"]),
        (Rollout("old", retried="new"), ["old", "new"]),
        (Rollout("new"), ["new", "new"]),
    ],
)
async def test_a_pod_is_of_the_version_of_its_track(world: World, rollout: Rollout, revisions: list[str]) -> None:
    pool, memory, credentials = await with_parts(world, replicas=0)
    known = [standings.version(pool, "old"), standings.version(pool)]
    plan = standings.standing(pool, known=known, rollout=rollout).plan
    plan = replace(plan, pods=Plan(create=("stable", "canary")))
    assert await carry_out(world.context, pool, memory, credentials, plan) == 2
    labels = [pod["metadata"]["labels"] for pod in world.agent_pods()]
    found = {label["livekit-operator.dev/track"]: label["livekit-operator.dev/revision"] for label in labels}
    assert [found["stable"], found["canary"]] == revisions


async def test_pods_are_deleted_before_others_are_created_as_far_as_that_goes(world: World) -> None:
    pool, memory, credentials = await with_parts(world)
    (pod,) = world.agent_pods()
    name = pod["metadata"]["name"]
    plan = replace(standings.standing(pool).plan, pods=Plan(create=("stable",) * 3, delete=(name, "gone-since")))
    world.forget()
    assert await carry_out(world.context, pool, memory, credentials, plan) == 3
    assert [write.verb for write in world.kubernetes.writes] == ["delete", "create", "create", "create"]
    world.kubernetes.fail("create", "Pod", REFUSED)
    world.forget()
    assert await carry_out(world.context, pool, memory, credentials, plan) == 0
    assert [write.what for write in world.kubernetes.writes] == [f"delete Pod/{name}"], "one refusal is enough"


async def test_a_call_whose_process_was_killed_for_lack_of_memory_is_told_once(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    [pod] = world.agent_pods()
    short = "OOMKilled: the job's process needed more memory than the container's limit of 128Mi; raise it"
    calls = (EndedJob("AJ_1", "lobby", failed=True, error=short), EndedJob("AJ_2", "lobby", failed=True, error="no"))
    world.say(pod, ended=calls)
    for _ in range(3):
        await world.reconcile("VoiceAgentPool", "front-desk")
        world.clock.advance(2)
    told = [event for event in world.events() if event[1] == "OOMKilled"]
    name = pod["metadata"]["name"]
    assert told == [("Warning", "OOMKilled", f"A call on pod {name} has failed: {short}. See `kubectl logs {name}`.")]
    counts = [event["count"] for key, event in world.kubernetes.objects.items() if key[0] == "Event"]
    assert set(counts) == {1}


ORDER = "[cpu is 100m, but request is 50m, memory is 64Mi, but request is 32Mi]"
OTHER_ORDER = "[memory is 64Mi, but request is 32Mi, cpu is 100m, but request is 50m]"


async def test_a_refusal_in_another_order_is_written_once(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    told = []
    for words in (ORDER, OTHER_ORDER, ORDER, OTHER_ORDER):
        world.kubernetes.fail("create", "Pod", KubernetesError(403, "Forbidden", f"pods is forbidden: {words}"))
        await world.reconcile("VoiceAgentPool", "front-desk")
        told.append(world.get("VoiceAgentPool", "front-desk")["metadata"]["resourceVersion"])
        world.clock.advance(31)  # it is tried again
    assert len(set(told)) == 1
    assert ORDER in world.message("VoiceAgentPool", "front-desk")
