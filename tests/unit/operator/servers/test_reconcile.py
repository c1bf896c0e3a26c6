"""A LiveKitServer: keys, children, status, and what happens when somebody interferes."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import ANNOTATION_INPUTS, ANNOTATION_KEYS, LABEL_REVISION
from livekit_operator.errors import KubernetesError, NamespaceTerminating, ServerRefused, ServerUnreachable
from livekit_operator.manifests.metadata import digest
from livekit_operator.servers.manifests.keys import key_digest, keys_digest
from livekit_operator.servers.manifests.pod import revision
from livekit_operator.servers.surroundings import read_inputs
from livekit_operator.settings import Settings
from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import API_KEY, API_SECRET, NAMESPACE, decoded
from tests.fakes.world import World

SERVING = "livekit-operator.dev/serving"


def config(world: World, name: str = "voice") -> str:
    """Return the configuration of a server's pods."""
    (pod,) = world.server_pods(name)
    (container,) = pod["spec"]["containers"]
    return next(str(v["value"]) for v in container["env"] if v["name"] == "LIVEKIT_CONFIG")


async def test_children_are_made_once(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.reconcile("LiveKitServer", "voice")
    assert world.written() == [
        "merge LiveKitServer/voice",
        "apply Secret/voice-livekit-keys",
        "apply Service/voice-livekit",
        "apply ServiceAccount/voice-livekit",
        "apply PodDisruptionBudget/voice-livekit",
        "create Pod/voice-livekit-0",
        "merge LiveKitServer/voice/status",
    ]
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    assert keys["apiKey"].startswith("API")
    assert len(keys["apiSecret"]) >= 32
    assert yaml.safe_load(keys["keys.yaml"]) == {keys["apiKey"]: keys["apiSecret"]}
    await world.reconcile("LiveKitServer", "voice")  # the status tells of the pod
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.writes == []
    assert decoded(world.get("Secret", "voice-livekit-keys")) == keys


async def test_every_server_has_keys_of_its_own(world: World) -> None:
    for name in ("voice", "video"):
        world.kubernetes.put(manifests.server(name))
        await world.reconcile("LiveKitServer", name)
    assert decoded(world.get("Secret", "voice-livekit-keys")) != decoded(world.get("Secret", "video-livekit-keys"))


async def test_ready_when_it_answers(world: World) -> None:
    await world.with_server()
    server = world.get("LiveKitServer", "voice")
    status = server["status"]
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status.pop("conditions")}
    assert conditions == {
        "Ready": ("True", "Ready"),
        "Progressing": ("False", "UpToDate"),
        "Degraded": ("False", "AsExpected"),
    }
    assert [port["name"] for port in status.pop("ports")] == ["signal", "signal", "ice-tcp", "media"]
    assert status == {
        "observedGeneration": 1,
        "version": "v1.13.5",
        "replicas": 1,
        "readyReplicas": 1,
        "updatedReplicas": 1,
        "drainingReplicas": 0,
        "internalUrl": "ws://voice-livekit.team.svc:7880",
        "externalUrl": "wss://voice.example.com",
        "keysSecretName": "voice-livekit-keys",
        "keys": {"phase": "Stable", "accepted": 1},
        "servers": [
            {
                "name": "voice-livekit-0",
                "node": "node-1",
                "address": "192.0.2.1",
                "state": "Serving",
                "rooms": 0,
                "participants": 0,
            }
        ],
        "rooms": 0,
        "participants": 0,
        "selector": "app.kubernetes.io/component=server,app.kubernetes.io/instance=voice,"
        "app.kubernetes.io/name=livekit-server",
    }
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    assert {url for url, *_ in world.livekit.connections} == {
        "ws://voice-livekit.team.svc:7880",
        "http://10.244.2.1:7880",
    }
    assert {(key, secret) for _, key, secret in world.livekit.connections} == {(keys["apiKey"], keys["apiSecret"])}


async def test_without_an_external_url_it_is_the_nodes(world: World) -> None:
    world.kubernetes.put(manifests.server(signal={}))
    await world.settle()
    assert "externalUrl" not in world.get("LiveKitServer", "voice")["status"]
    world.run_server(address="2001:db8::7")
    await world.settle()
    assert world.get("LiveKitServer", "voice")["status"]["externalUrl"] == "ws://[2001:db8::7]:7880"
    assert world.livekit.closed == len(world.livekit.connections) - 2, "connections that are no longer right are closed"


async def test_rooms_and_participants_are_counted_by_one_listing(world: World) -> None:
    await world.with_server()
    for number in range(3):
        world.kubernetes.put(manifests.room(f"room-{number}"))
    await world.settle()
    world.livekit.join("room-1", "alice")
    world.livekit.join("room-1", "bob")
    world.livekit.join("room-1", "agent", agent_name="front-desk")
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert world.livekit.requests == [("list_rooms",)]
    status = world.get("LiveKitServer", "voice")["status"]
    assert (status["rooms"], status["participants"]) == (3, 2)
    assert world.woken == {("MeetingRoom", (NAMESPACE, "room-1"))}


async def test_a_foreign_keys_secret_is_left_alone(world: World) -> None:
    foreign = world.kubernetes.put(manifests.keys_secret("voice-livekit-keys"))
    world.kubernetes.put(manifests.server())
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert "Secret team/voice-livekit-keys" in world.message("LiveKitServer", "voice")
    assert world.get("Secret", "voice-livekit-keys") == foreign
    assert again is not None
    world.kubernetes.vanish("Secret", NAMESPACE, "voice-livekit-keys")
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount", "PodDisruptionBudget"])
async def test_a_foreign_child_is_left_alone(world: World, kind: str) -> None:
    foreign = world.kubernetes.put(
        {"kind": kind, "metadata": {"name": "voice-livekit", "namespace": NAMESPACE}, "spec": {}}
    )
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert f"{kind} team/voice-livekit" in world.message("LiveKitServer", "voice")
    assert world.get(kind, "voice-livekit") == foreign


async def test_a_given_secret_is_awaited_and_used(world: World) -> None:
    world.kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "SecretNotFound")
    assert "my-keys" in world.message("LiveKitServer", "voice")
    assert again is not None, "a Secret that is not ours is not watched"
    assert world.kubernetes.names("Pod") == []
    given = world.kubernetes.put(manifests.keys_secret("my-keys"))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
    assert world.get("Secret", "my-keys") == given
    assert world.kubernetes.names("Secret") == ["my-keys", "voice-livekit-keys"]
    assert world.livekit.connections[-1][1:] == (API_KEY, API_SECRET)
    assert [event[:2] for event in world.events()] == [("Warning", "SecretNotFound")]


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        pytest.param(manifests.keys_secret(api_secret="x" * 31), "shorter than 32", id="short secret"),
        pytest.param(manifests.keys_secret(api_secret="x" * 1025), "longer than 1024", id="long secret"),
        pytest.param(manifests.secret("my-keys", apiKey="APIx"), "no key apiSecret", id="no secret"),
        pytest.param(manifests.secret("my-keys", apiSecret="x" * 40), "no key apiKey", id="no key"),
        pytest.param(manifests.secret("my-keys", apiKey="  ", apiSecret="x" * 40), "no key apiKey", id="blank"),
        pytest.param({**manifests.secret("my-keys"), "data": None}, "no key apiKey", id="empty"),
        pytest.param({**manifests.secret("my-keys"), "data": {"apiKey": "%"}}, "no key apiKey", id="no base64"),
    ],
)
async def test_wrong_keys_are_named_and_heal(world: World, secret: dict[str, Any], message: str) -> None:
    world.kubernetes.put(secret)
    world.kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "KeysInvalid")
    assert message in world.message("LiveKitServer", "voice")
    world.kubernetes.edit("Secret", NAMESPACE, "my-keys", {"data": manifests.keys_secret()["data"]})
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        pytest.param("Service", {"spec": {"ports": []}}, id="ports"),
        pytest.param("Service", {"spec": {"selector": {"app.kubernetes.io/instance": "x"}}}, id="selector"),
        pytest.param("Service", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, id="labels"),
        pytest.param("ServiceAccount", {"automountServiceAccountToken": True}, id="token"),
        pytest.param("PodDisruptionBudget", {"spec": {"maxUnavailable": 1}}, id="budget"),
    ],
)
async def test_what_is_changed_by_hand_is_put_back(world: World, kind: str, patch: dict[str, Any]) -> None:
    await world.with_server()
    before = world.get(kind, "voice-livekit")
    world.kubernetes.edit(kind, NAMESPACE, "voice-livekit", patch)
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    after = world.get(kind, "voice-livekit")
    assert {**after, "metadata": {}} == {**before, "metadata": {}}
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert [write.what for write in world.kubernetes.writes if write.verb == "apply"] == [f"apply {kind}/voice-livekit"]


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount", "PodDisruptionBudget"])
async def test_what_is_deleted_by_hand_is_made_again(world: World, kind: str) -> None:
    await world.with_server()
    world.kubernetes.vanish(kind, NAMESPACE, "voice-livekit")
    await world.settle()
    assert world.get(kind, "voice-livekit")


async def test_what_the_api_server_adds_is_no_change(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", {"spec": {"clusterIPs": ["10.96.0.10"]}})
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert [what for what in world.written() if what.startswith("apply")] == []


async def test_a_child_without_our_label_is_still_ours(world: World) -> None:
    await world.with_server()
    unlabelled = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", unlabelled)
    await world.reconcile("LiveKitServer", "voice")
    assert world.get("Service", "voice-livekit")["metadata"]["labels"]["app.kubernetes.io/managed-by"]


async def test_a_secret_of_keys_that_somebody_deletes_comes_back_as_it_was(world: World) -> None:
    await world.with_server()
    before = decoded(world.get("Secret", "voice-livekit-keys"))
    world.kubernetes.vanish("Secret", NAMESPACE, "voice-livekit-keys")
    await world.settle()
    assert decoded(world.get("Secret", "voice-livekit-keys")) == before


async def test_a_changed_spec_starts_a_new_server_that_takes_over(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"version": "v1.13.4"}})
    await world.reconcile("LiveKitServer", "voice")
    status = world.get("LiveKitServer", "voice")["status"]
    assert (status["observedGeneration"], status["version"], status["updatedReplicas"]) == (2, "v1.13.4", 0)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "RollingOut")
    await world.pass_check("voice")
    await world.settle()
    new = next(pod for pod in world.server_pods() if pod["metadata"]["name"] == "voice-livekit-1")
    assert new["spec"]["containers"][0]["image"].endswith(":v1.13.4")
    assert SERVING not in new["metadata"]["labels"], "two servers without Redis would be two worlds"
    world.run_server_pod(new)
    await world.settle()
    assert [pod["metadata"]["name"] for pod in world.server_pods()] == ["voice-livekit-1"]
    assert SERVING in world.server_pods()[0]["metadata"]["labels"]
    world.run_server()
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")


async def test_calls_are_waited_for_and_named(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.livekit.join("support-42", "alice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "warn"}}})
    await world.reconcile("LiveKitServer", "voice")
    await world.pass_check("voice")
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "WaitingForRooms")
    states = {line["name"]: line for line in world.get("LiveKitServer", "voice")["status"]["servers"]}
    assert states["voice-livekit-0"]["waitsFor"] == ["support-42"]
    assert states["voice-livekit-1"]["state"] == "Standby"
    assert ("Normal", "WaitingForRooms") in [event[:2] for event in world.events()]
    world.livekit.leave("support-42", "alice")
    await world.settle()
    assert [pod["metadata"]["name"] for pod in world.server_pods()] == ["voice-livekit-1"]


async def test_a_configuration_that_the_server_does_not_take_replaces_nothing(world: World) -> None:
    await world.with_server()
    before = world.server_pods()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": {"nonsense": 1}}})
    await world.reconcile("LiveKitServer", "voice")
    output = "could not parse config: yaml: unmarshal errors:\n  line 1: field nonsense not found in type Config\n"
    await world.pass_check("voice", output)
    await world.settle()
    assert world.server_pods() == before
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ConfigRejected")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": None}})
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")
    assert world.server_pods() == before
    assert not [name for name in world.kubernetes.names("Pod") if "check" in name]


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"drainTimeoutSeconds": 60}, id="time to drain"),
        pytest.param({"allowedNamespaces": ["other"]}, id="who may use it"),
        pytest.param({"logging": {"level": "info"}}, id="a default"),
        pytest.param({"keyRotation": {"graceSeconds": 60}}, id="grace"),
        pytest.param({"signal": {"externalUrl": "wss://other.example.com"}}, id="external URL"),
    ],
)
async def test_what_changes_nothing_for_servers_restarts_none(world: World, patch: dict[str, Any]) -> None:
    await world.with_server()
    before = [pod["metadata"]["uid"] for pod in world.server_pods()]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": patch})
    await world.settle()
    assert [pod["metadata"]["uid"] for pod in world.server_pods()] == before
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")


async def test_scaled_to_zero_is_said(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 0}})
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "ScaledToZero")


@pytest.mark.parametrize("problem", [ServerUnreachable("refused"), ServerRefused("unauthenticated", "no key")])
async def test_a_server_that_runs_but_does_not_answer(world: World, problem: Any) -> None:
    await world.with_server()
    world.livekit.problem = problem
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "ServerUnreachable")
    assert str(problem) in world.message("LiveKitServer", "voice")
    status = world.get("LiveKitServer", "voice")["status"]
    assert "rooms" not in status, "an old number would be a lie"
    assert again == (1.0 if isinstance(problem, ServerUnreachable) else 5.0), "silence is looked into at once"
    world.livekit.problem = None
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    told = [m for key, m in world.kubernetes.objects.items() if key[0] == "Event"]
    # The same again is counted: ready, not, and ready again.
    assert [(event["type"], event["reason"], event["count"]) for event in told] == [
        ("Normal", "Ready", 2),
        ("Warning", "ServerUnreachable", 1),
    ]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("unable to connect to redis: dial tcp 10.0.0.9:6379: connect: connection refused", "RedisUnreachable"),
        ("unable to connect to redis: WRONGPASS invalid username-password pair", "RedisUnreachable"),
        ("listen tcp :7880: bind: address already in use", "PortConflict"),
        (
            "could not parse config: yaml: unmarshal errors:\n  line 1: field x not found in type Config",
            "ConfigRejected",
        ),
        ("key file others permissions must be set to 0", "KeysInvalid"),
        ("TURN tls cert required: tls: private key does not match public key", "TurnRejected"),
        ("Segmentation fault", "PodFailing"),
    ],
)
async def test_why_a_server_does_not_start_is_said_in_its_own_words(world: World, output: str, reason: str) -> None:
    world.kubernetes.put(manifests.server())
    await world.settle()
    world.crash_server(output)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", reason)
    if reason != "PodFailing":
        assert output.splitlines()[-1].strip() in world.message("LiveKitServer", "voice")
    world.run_server_pod(world.server_pods()[0])
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_deleted_server_waits_for_its_calls(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.livekit.join("support-42", "alice")
    await world.settle()
    world.kubernetes.ask_to_delete("LiveKitServer", NAMESPACE, "voice")
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "Deleting")
    assert "support-42" in world.message("LiveKitServer", "voice")
    (pod,) = world.server_pods(leaving=True)
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 3600
    world.livekit.leave("support-42", "alice")
    await world.reconcile("LiveKitServer", "voice")
    assert world.server_pods(leaving=True)[0]["metadata"]["deletionGracePeriodSeconds"] == 3600
    world.livekit.join("support-42", "agent", agent_name="front-desk")
    world.clock.advance(15)  # servers count anew only from time to time
    await world.reconcile("LiveKitServer", "voice")
    assert world.server_pods(leaving=True)[0]["metadata"]["deletionGracePeriodSeconds"] == 10
    assert world.livekit.rooms == {}, "an agent alone would keep it for its whole time"
    world.run_server()
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.peek("LiveKitServer", NAMESPACE, "voice") is None
    await world.reconcile("LiveKitServer", "voice")
    left = (world.context.servers, world.context.server_pods, world.context.key_states)
    assert left == ({}, {}, {})


async def test_a_deletion_can_be_forced(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.livekit.join("support-42", "alice")
    world.kubernetes.ask_to_delete("LiveKitServer", NAMESPACE, "voice")
    await world.reconcile("LiveKitServer", "voice")
    forced = {"metadata": {"annotations": {"livekit-operator.dev/force-delete": "true"}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", forced)
    await world.reconcile("LiveKitServer", "voice")
    assert world.server_pods(leaving=True)[0]["metadata"]["deletionGracePeriodSeconds"] == 10
    assert ("delete_room", "support-42") in [request[:2] for request in world.livekit.requests], "the kubelet goes on"


@pytest.mark.parametrize(
    ("node", "server", "waits"), [("True", "silent", True), ("Unknown", "answers", True), ("Unknown", "silent", False)]
)
async def test_a_deleted_server_does_not_wait_for_a_lost_node(
    world: World, node: str, server: str, waits: bool
) -> None:
    status = {"conditions": [{"type": "Ready", "status": node}]}
    world.kubernetes.put({"kind": "Node", "metadata": {"name": "node-1"}, "spec": {}, "status": status})
    await world.with_server()
    world.kubernetes.ask_to_delete("LiveKitServer", NAMESPACE, "voice")
    await world.reconcile("LiveKitServer", "voice")
    assert world.server_pods(leaving=True), "it is told to end all the same: its node may come back"
    world.livekit.problem = ServerUnreachable("no route") if server == "silent" else None
    await world.reconcile("LiveKitServer", "voice")
    assert (world.kubernetes.peek("LiveKitServer", NAMESPACE, "voice") is not None) == waits


async def test_a_server_whose_keys_went_with_its_namespace_goes_too(world: World) -> None:
    await world.with_server()
    world.kubernetes.vanish("Secret", NAMESPACE, "voice-livekit-keys")
    world.kubernetes.vanish("Pod", NAMESPACE, "voice-livekit-0")
    world.context.key_states.clear()  # the operator has started anew
    world.kubernetes.fail("apply", "Secret", NamespaceTerminating(403, "Forbidden", "m"))
    world.kubernetes.ask_to_delete("LiveKitServer", NAMESPACE, "voice")
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.peek("LiveKitServer", NAMESPACE, "voice") is None


@pytest.mark.parametrize("kind", ["Pod", "Service", "Secret"])
async def test_what_is_left_of_a_server_is_counted_while_its_namespace_ends(world: World, kind: str) -> None:
    await world.with_server()
    for verb in ("create", "apply"):
        world.kubernetes.fail(verb, kind, NamespaceTerminating(403, "Forbidden", "m"))
    for gone in {"Service": "voice-livekit", "Secret": "voice-livekit-keys"}.items():
        if gone[0] == kind:
            world.kubernetes.vanish(kind, NAMESPACE, gone[1])
    world.context.key_states.clear()  # the operator has started anew

    def told() -> list[int]:
        status = world.get("LiveKitServer", "voice")["status"]
        return [status[name] for name in ("replicas", "readyReplicas", "updatedReplicas", "drainingReplicas")]

    world.kubernetes.ask_to_delete("Pod", NAMESPACE, "voice-livekit-0")
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "NamespaceTerminating")
    assert told() == [0, 0, 0, 1]
    assert [line["state"] for line in world.get("LiveKitServer", "voice")["status"]["servers"]] == ["Draining"]
    world.kubernetes.vanish("Pod", NAMESPACE, "voice-livekit-0")
    await world.reconcile("LiveKitServer", "voice")
    assert told() == [0, 0, 0, 0]
    assert not {"rooms", "participants"} & world.get("LiveKitServer", "voice")["status"].keys()


async def test_without_a_webhook_url_the_server_is_told_of_none(world: World) -> None:
    quiet = World(Settings(agent_image="agent:1"))
    quiet.kubernetes.put(manifests.server())
    await quiet.settle()
    assert "webhook" not in config(quiet)
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert "http://operator:8080/webhooks/team/voice" in config(world)


async def test_a_failing_api_server_is_an_error_and_heals(world: World) -> None:
    world.kubernetes.fail("apply", "Service", KubernetesError(500, "InternalError", "etcd"), once=True)
    world.kubernetes.put(manifests.server())
    with pytest.raises(KubernetesError, match="etcd"):
        await world.reconcile("LiveKitServer", "voice")
    await world.settle()
    assert world.get("Service", "voice-livekit")


async def test_no_key_is_in_anything_but_a_secret(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    secret = decoded(world.get("Secret", "voice-livekit-keys"))["apiSecret"]
    others = [m for key, m in world.kubernetes.objects.items() if key[0] != "Secret"]
    assert others
    assert secret not in repr(others)


LIMIT_RANGE = KubernetesError(
    403, "Forbidden", 'pods "x" is forbidden: minimum cpu usage per Container is 100m, but request is 50m'
)


async def test_a_check_that_is_too_small_for_its_namespace_is_made_as_a_server_is(world: World) -> None:
    resources = {"requests": {"cpu": "200m"}}
    await world.with_server(resources=resources)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "debug"}}})
    world.kubernetes.fail("create", "Pod", LIMIT_RANGE, once=True)
    await world.reconcile("LiveKitServer", "voice")
    (check,) = [name for name in world.kubernetes.names("Pod") if "-check-" in name]
    assert world.get("Pod", check)["spec"]["containers"][0]["resources"] == resources
    await world.pass_check()
    await world.settle()
    world.run_server()
    await world.settle()


async def test_a_refused_server_is_told_with_its_container(world: World) -> None:
    world.kubernetes.fail("create", "Pod", LIMIT_RANGE)
    world.kubernetes.put(manifests.server(resources={"requests": {"cpu": "50m"}}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "KubernetesRefused")
    message = world.message("LiveKitServer", "voice")
    assert "container livekit-server (requests cpu 50m)" in message
    assert "spec.resources" in message
    world.kubernetes.heal()
    await world.settle()


_REDIS = {"address": "redis.example:6379", "passwordSecretRef": {"name": "redis", "key": "password"}}


async def test_no_digest_lets_a_guess_of_a_password_be_tried(world: World) -> None:
    world.loads.otherwise = ServerLoad(0, 0)
    world.kubernetes.put(manifests.secret("redis", password="hunter2"))
    await world.with_server(redis=_REDIS)
    await world.with_pool()
    (server,) = world.server_pods()
    (agent,) = world.agent_pods()
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    guesses = {digest(["aHVudGVyMg=="], 8), digest([[keys["apiKey"], keys["apiSecret"]]], 8)}
    guesses.add(digest([keys["apiKey"], keys["apiSecret"]], 8))
    for pod in (server, agent):
        assert not guesses & set(pod["metadata"]["annotations"].values())
    assert server["metadata"]["annotations"][ANNOTATION_INPUTS] == digest(["aHVudGVyMg=="], 8, salt=keys["digestSalt"])


async def test_pods_of_an_operator_that_knew_no_salt_are_not_replaced(world: World) -> None:
    world.loads.otherwise = ServerLoad(0, 0)
    world.kubernetes.put(manifests.secret("redis", password="hunter2"))
    await world.with_server(redis=_REDIS)
    await world.with_pool()
    _, state = world.context.key_states[NAMESPACE, "voice"]
    former = replace(state, salt="")
    model = LiveKitServer.model_validate(world.get("LiveKitServer", "voice"))
    inputs = await read_inputs(world.context, model, state)
    unsalted = replace(inputs, keys_digest=inputs.unsalted[0], secrets_digest=inputs.unsalted[1])  # type: ignore[index]
    (server,), (agent,) = world.server_pods(), world.agent_pods()
    label = {"labels": {LABEL_REVISION: revision(model, unsalted)}}
    told = {ANNOTATION_KEYS: keys_digest(former), ANNOTATION_INPUTS: digest(["aHVudGVyMg=="], 8)}
    world.kubernetes.edit("Pod", NAMESPACE, server["metadata"]["name"], {"metadata": {**label, "annotations": told}})
    told = {ANNOTATION_KEYS: key_digest(state.in_use.id, state.in_use.secret)}
    world.kubernetes.edit("Pod", NAMESPACE, agent["metadata"]["name"], {"metadata": {"annotations": told}})
    world.context.key_states.clear()
    secret = world.get("Secret", "voice-livekit-keys")
    world.kubernetes.edit("Secret", NAMESPACE, secret["metadata"]["name"], {"data": {"digestSalt": None}})
    await world.settle()
    assert decoded(world.get("Secret", "voice-livekit-keys"))["digestSalt"]
    assert [pod["metadata"]["uid"] for pod in world.server_pods(leaving=None)] == [server["metadata"]["uid"]]
    assert [pod["metadata"]["uid"] for pod in world.agent_pods(leaving=None)] == [agent["metadata"]["uid"]]
    assert world.get("LiveKitServer", "voice")["status"]["keys"]["phase"] == "Stable"

    world.kubernetes.edit("Secret", NAMESPACE, "redis", {"data": {"password": "b3RoZXI="}})
    world.clock.advance(60)
    await world.settle()
    assert world.get("LiveKitServer", "voice")["status"]["updatedReplicas"] == 0, "another password still reaches it"
