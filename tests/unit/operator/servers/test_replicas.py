"""Several servers, their addresses and ports, and keys that change under them."""

import asyncio
from typing import Any

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.errors import KubernetesError, ServerUnreachable
from livekit_operator.servers import list_rooms
from livekit_operator.servers.apply import WITHDRAWAL_SECONDS
from livekit_operator.views import RoomView, ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import API_SECRET, NAMESPACE, Manifest, decoded
from tests.fakes.world import World

SHARED: dict[str, Any] = {"replicas": 2, "redis": {"address": "redis.example.com:6379"}}


async def started(world: World, **spec: Any) -> None:
    """Put a server there, let the cluster give it ports and addresses, and let its pods run."""
    world.kubernetes.put(manifests.server(**spec))
    await settled(world)


async def settled(world: World) -> None:
    """Let the cluster and the operator work until nothing changes."""
    for _ in range(8):
        await world.settle()
        world.give_node_ports()
        world.take_routes()
        for pod in world.server_pods(leaving=True):
            world.kubernetes.vanish("Pod", NAMESPACE, pod["metadata"]["name"])
        for pod in world.server_pods():
            world.run_server_pod(pod)
            world.loads.answers.setdefault(address(world, pod), ServerLoad(0, 0))
        await world.pass_check()
    await world.settle()


def address(world: World, pod: Manifest) -> str:
    return str(world.get("Pod", pod["metadata"]["name"])["status"]["podIP"])


def names(world: World) -> list[str]:
    return [pod["metadata"]["name"] for pod in world.server_pods()]


def status(world: World) -> Manifest:
    found = world.get("LiveKitServer", "voice")["status"]
    assert isinstance(found, dict)
    return found


def variable(pod: Manifest, name: str) -> str | None:
    (container,) = pod["spec"]["containers"]
    return next((v.get("value") for v in container["env"] if v["name"] == name), None)


async def test_several_servers_serve_at_once(world: World) -> None:
    await started(world, **SHARED)
    assert names(world) == ["voice-livekit-0", "voice-livekit-1"]
    assert (status(world)["readyReplicas"], status(world)["redis"]) == (2, "redis.example.com:6379")
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")
    assert await world.writes_of_another_round() == []


async def test_a_server_that_dies_without_a_word_gets_no_new_clients(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.put(manifests.room())
    await settled(world)
    lost = world.server_pods()[1]
    del world.loads.answers[address(world, lost)]
    world.livekit.requests.clear()
    again = await world.reconcile("LiveKitServer", "voice")
    assert again == 1.0, "it is asked again at once"
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("LiveKitServer", "voice")
    labels = world.server_pods()[1]["metadata"]["labels"]
    assert labels["livekit-operator.dev/serving"] == "false"
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ServerUnreachable")
    world.loads.answers[address(world, lost)] = ServerLoad(0, 0)
    await world.settle()
    assert world.server_pods()[1]["metadata"]["labels"]["livekit-operator.dev/serving"] == "true"
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


@pytest.mark.parametrize("problem", [None, ServerUnreachable("no answer")])
async def test_rooms_of_a_lost_server_are_made_anew_when_the_others_no_longer_believe_in_it(
    world: World, problem: ServerUnreachable | None
) -> None:
    await started(world, **SHARED)
    world.kubernetes.put(manifests.room())
    await settled(world)
    del world.loads.answers[address(world, world.server_pods()[1])]
    world.livekit.problem = problem  # nodes may still lead the operator to the one that is lost
    assert await world.reconcile("LiveKitServer", "voice") == 1.0
    world.livekit.problem = None
    world.forget()
    world.clock.advance(4)
    assert await world.reconcile("LiveKitServer", "voice") == 1.0, "the moment must not be missed"
    await world.reconcile("MeetingRoom", "support-42")
    assert "create_room" not in [request[0] for request in world.livekit.requests], "it would be asked of the lost one"
    world.clock.advance(1)
    await world.reconcile("LiveKitServer", "voice")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken
    await world.reconcile("MeetingRoom", "support-42")
    assert ("create_room", "support-42") in [request[:2] for request in world.livekit.requests], "it may live nowhere"


async def test_while_a_server_is_lost_another_one_is_asked_itself(world: World) -> None:
    await started(world, **SHARED)
    kept, lost = world.server_pods()
    del world.loads.answers[address(world, lost)]
    await world.reconcile("LiveKitServer", "voice")
    assert world.livekit.connections[-1][0] == f"ws://{address(world, kept)}:7880"
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    world.loads.answers[address(world, lost)] = ServerLoad(0, 0)
    await world.settle()
    assert world.livekit.connections[-1][0] == status(world)["internalUrl"]


async def test_a_listing_that_hangs_does_not_hide_who_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await started(world, **SHARED)

    async def hangs() -> list[RoomView]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(list_rooms, "_LISTING_SECONDS", 0.0)
    monkeypatch.setattr(world.livekit, "list_rooms", hangs)
    assert await world.reconcile("LiveKitServer", "voice") == 1.0, "looked at again at once"
    assert world.ready("LiveKitServer", "voice") == ("False", "ServerUnreachable")


async def test_servers_that_share_rooms_are_looked_at_more_often_than_one_alone(world: World) -> None:
    await started(world, **SHARED)
    shared = await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    await settled(world)
    alone = await world.reconcile("LiveKitServer", "voice")
    assert (shared, alone) == (3.0, 5.0)


async def test_the_emptiest_of_several_leaves(world: World) -> None:
    await started(world, **{**SHARED, "replicas": 3})
    for pod, participants in zip(world.server_pods(), (4, 0, 2), strict=True):
        world.loads.answers[address(world, pod)] = ServerLoad(1, participants)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 2}})
    await world.settle()
    assert names(world) == ["voice-livekit-0", "voice-livekit-2"]


async def test_new_clients_are_led_elsewhere_before_a_server_ends(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    assert await world.reconcile("LiveKitServer", "voice") == WITHDRAWAL_SECONDS
    kept, going = world.server_pods()
    assert going["metadata"]["labels"]["livekit-operator.dev/serving"] == "false"
    assert kept["metadata"]["labels"]["livekit-operator.dev/serving"] == "true"
    world.clock.advance(WITHDRAWAL_SECONDS / 2)
    assert await world.reconcile("LiveKitServer", "voice") == WITHDRAWAL_SECONDS / 2
    assert len(names(world)) == 2, "nodes may still lead clients to it"
    world.clock.advance(WITHDRAWAL_SECONDS / 2)
    await world.reconcile("LiveKitServer", "voice")
    assert names(world) == ["voice-livekit-0"]


async def test_nothing_is_waited_for_when_no_server_is_left_for_new_clients(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 0}})
    await world.reconcile("LiveKitServer", "voice")
    assert names(world) == []


async def test_who_leaves_is_told_with_what_it_waits_for(world: World) -> None:
    await started(world, **SHARED)
    for pod in world.server_pods():
        world.loads.answers[address(world, pod)] = ServerLoad(2, 3)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    await world.settle()
    (event,) = [event for event in world.events() if event[1] == "Draining"]
    assert "voice-livekit-1 takes no new rooms" in event[2]
    (line,) = [line for line in status(world)["servers"] if line["state"] == "Draining"]
    assert (line["rooms"], line["participants"]) == (2, 3)


async def test_who_leaves_is_told_though_it_does_not_answer_just_then(world: World) -> None:
    await started(world, **SHARED)
    _, going = world.server_pods()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    await world.reconcile("LiveKitServer", "voice")
    world.clock.advance(WITHDRAWAL_SECONDS)
    world.loads.answers[address(world, going)] = None
    await world.reconcile("LiveKitServer", "voice")
    (event,) = [event for event in world.events() if event[1] == "Draining"]
    assert event[2].startswith("voice-livekit-1 takes no new rooms")
    assert event[2].endswith("it does not tell which now.")


async def test_keys_rotate_step_by_step(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await settled(world)
    before = decoded(world.get("Secret", "voice-livekit-keys"))
    token = decoded(world.get("Secret", "support-42-alice"))["token"]
    first = names(world)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"keyRotation": {"id": "spring"}}})
    await world.settle()
    assert status(world)["keys"] == {"phase": "Accepting", "rotation": "spring", "accepted": 2}
    assert decoded(world.get("Secret", "voice-livekit-keys"))["apiKey"] == before["apiKey"]
    await settled(world)
    moving = decoded(world.get("Secret", "voice-livekit-keys"))
    assert moving["apiKey"] != before["apiKey"]
    assert before["apiSecret"] in moving["keys.yaml"]
    assert status(world)["keys"]["phase"] == "Moving"
    assert not set(names(world)) & set(first), "every server accepts both"
    assert decoded(world.get("Secret", "support-42-alice"))["token"] != token
    world.clock.advance(7200)
    await settled(world)
    assert status(world)["keys"] == {"phase": "Stable", "rotation": "spring", "accepted": 1}
    assert before["apiSecret"] not in decoded(world.get("Secret", "voice-livekit-keys"))["keys.yaml"]


async def test_the_key_of_a_given_secret_rotates_when_it_changes(world: World) -> None:
    world.kubernetes.put(manifests.keys_secret())
    await started(world, keysSecretRef={"name": "my-keys"})
    changed = manifests.secret("my-keys", apiKey="APInew", apiSecret=API_SECRET[::-1])
    world.kubernetes.edit("Secret", NAMESPACE, "my-keys", {"data": changed["data"]})
    world.clock.advance(11)
    await settled(world)
    assert decoded(world.get("Secret", "voice-livekit-keys"))["apiKey"] == "APInew"
    assert status(world)["keys"]["accepted"] == 2


async def test_a_given_secret_that_is_spoiled_later_changes_nothing(world: World) -> None:
    world.kubernetes.put(manifests.keys_secret())
    await started(world, keysSecretRef={"name": "my-keys"})
    before = world.get("Secret", "voice-livekit-keys")
    world.kubernetes.edit("Secret", NAMESPACE, "my-keys", {"data": {"apiSecret": "c2hvcnQ="}})
    world.clock.advance(11)
    await settled(world)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "KeysInvalid")
    assert world.get("Secret", "voice-livekit-keys") == before


async def test_each_server_has_node_ports_of_its_own(world: World) -> None:
    await started(world, **SHARED, media={"exposure": "NodePort"})
    ports = {variable(pod, "UDP_PORT") for pod in world.server_pods()}
    assert len(ports) == 2
    assert None not in ports
    for pod in world.server_pods():
        service = world.get("Service", pod["metadata"]["name"])
        (media,) = [port for port in service["spec"]["ports"] if port["protocol"] == "UDP"]
        assert str(media["nodePort"]) == str(media["targetPort"]) == variable(pod, "UDP_PORT")
    listed = {port["port"] for port in status(world)["ports"] if port["name"] == "media"}
    assert {int(port or 0) for port in ports} <= listed


async def test_other_node_ports_move_servers_without_cutting_them_off(world: World) -> None:
    await started(world, media={"exposure": "NodePort"})
    (old,) = world.server_pods()
    before = world.get("Service", old["metadata"]["name"])["spec"]["ports"]
    ranged = {"media": {"exposure": "NodePort", "nodePorts": {"start": 31100, "end": 31200}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": ranged})
    await world.settle()
    assert world.get("Service", old["metadata"]["name"])["spec"]["ports"] == before, "its calls are still on it"
    await settled(world)
    (new,) = world.server_pods()
    assert new["metadata"]["name"] != old["metadata"]["name"]
    assert 31100 <= int(variable(new, "UDP_PORT") or 0) <= 31200


async def test_a_load_balancer_is_waited_for(world: World) -> None:
    world.kubernetes.put(manifests.server(media={"exposure": "LoadBalancer"}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "NoExternalAddress")
    assert names(world) == []
    ingress = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit-0", ingress, status=True)
    await settled(world)
    assert variable(world.server_pods()[0], "NODE_IP") == "203.0.113.9"
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_the_later_of_two_servers_on_the_same_ports_is_told(world: World) -> None:
    await started(world)
    world.clock.advance(60)
    world.kubernetes.put(manifests.server("video"))
    await world.settle()
    assert world.ready("LiveKitServer", "video") == ("False", "PortConflict")
    assert world.message("LiveKitServer", "video").startswith("LiveKitServer voice has 7880/TCP")
    world.kubernetes.put(manifests.server("theirs", "guests"))
    await world.settle()
    message = world.message("LiveKitServer", "theirs", "guests")
    assert message.startswith("A LiveKitServer of another namespace has 7880/TCP")
    assert "voice" not in message
    assert world.server_pods("video") == []
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    other = {"signal": {"port": 7980}, "media": {"tcpPort": 7981, "udp": {"portRange": {"start": 51000, "end": 51100}}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "video", {"spec": other})
    await world.settle()
    assert len(world.server_pods("video")) == 1


async def test_a_server_that_never_runs_keeps_nobody_elses_from_starting(world: World) -> None:
    """It has no keys, and never gets any; the other one is of another tenant."""
    world.kubernetes.put(manifests.server(namespace="mallory", keysSecretRef={"name": "none"}))
    world.clock.advance(60)
    world.kubernetes.put(manifests.server("video"))
    await world.settle()
    assert world.ready("LiveKitServer", "video") == ("False", "PortConflict")
    message = world.message("LiveKitServer", "video")
    assert message.startswith("A LiveKitServer of another namespace has 7880/TCP"), message
    assert "mallory" not in message
    assert "voice" not in message
    assert await world.reconcile("LiveKitServer", "video") == 5.0
    world.clock.advance(241)
    await world.settle()
    assert len(world.server_pods("video")) == 1
    # The one that has them keeps them, whoever came first.
    world.run_server("video")
    world.kubernetes.put(manifests.keys_secret("none", "mallory"))
    world.clock.advance(60)
    await world.settle()
    assert world.ready("LiveKitServer", "voice", "mallory") == ("False", "PortConflict")
    assert world.ready("LiveKitServer", "video") == ("True", "Ready")


async def test_specs_of_others_are_not_read_at_each_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        ports = {"port": 20_000 + 10 * number}
        media = {"tcpPort": 20_001 + 10 * number}
        world.kubernetes.put(manifests.server(f"s{number:02}", signal=ports, media=media))
    validated: list[Any] = []
    parse = LiveKitServer.model_validate

    def count(manifest: Manifest) -> LiveKitServer:
        validated.append(manifest)
        return parse(manifest)

    monkeypatch.setattr(LiveKitServer, "model_validate", count)
    await world.reconcile("LiveKitServer", "s07")
    assert 1 <= len(validated) <= 4, "its own, not all"


async def test_a_node_that_is_to_be_emptied_loses_its_server(world: World) -> None:
    node = {"kind": "Node", "metadata": {"name": "node-1", "labels": {}}, "spec": {}}
    world.kubernetes.put(node)
    await started(world, **SHARED)
    world.kubernetes.edit("Node", "", "node-1", {"spec": {"unschedulable": True}})
    await world.reconcile("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "RollingOut")
    await world.settle()
    assert "voice-livekit-2" in names(world)


@pytest.mark.parametrize(
    ("kind", "name", "spec", "reason"),
    [
        (
            "HTTPRoute",
            "voice-livekit",
            {"gateway": {"parentRefs": [{"name": "g"}], "host": "a.b"}},
            "GatewayApiMissing",
        ),
        (
            "Certificate",
            "voice-signal-tls",
            {"ingress": {"host": "a.b", "tls": {"issuerRef": {"name": "i"}}}},
            "CertManagerMissing",
        ),
    ],
)
async def test_kinds_of_other_projects(world: World, kind: str, name: str, spec: Manifest, reason: str) -> None:
    world.kubernetes.missing_kinds.add(kind)
    await started(world, signal=spec)
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", reason)
    assert world.ready("LiveKitServer", "voice") == ("False", reason), "its URL leads nowhere"
    world.kubernetes.missing_kinds.clear()
    await settled(world)
    assert world.get(kind, name)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert await world.writes_of_another_round() == []
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"signal": {"gateway": None, "ingress": None}}})
    await settled(world)
    assert world.kubernetes.peek(kind, NAMESPACE, name) is None


async def test_a_missing_cert_manager_is_named_before_the_secret_it_would_write(world: World) -> None:
    world.kubernetes.missing_kinds.add("Certificate")
    turn = {"domain": "turn.a.b", "tls": {"certificate": {"issuerRef": {"name": "i"}}}}
    world.kubernetes.put(manifests.server(turn=turn))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "CertManagerMissing")
    world.kubernetes.missing_kinds.clear()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "SecretNotFound")


async def test_what_an_earlier_spec_wanted_goes(world: World) -> None:
    await started(world, redis={"managed": {}}, signal={"ingress": {"host": "a.b"}}, media={"exposure": "NodePort"})
    assert world.get("Ingress", "voice-livekit")
    assert world.get("Deployment", "voice-redis")
    assert len(world.kubernetes.names("NetworkPolicy")) >= 3
    plain = {"redis": None, "signal": {"ingress": None}, "media": {"exposure": "HostNetwork"}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": plain})
    await settled(world)
    for kind in ("Ingress", "Deployment", "NetworkPolicy"):
        assert world.kubernetes.names(kind) == [], kind
    assert world.kubernetes.names("Service") == ["voice-livekit"]
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"]


async def test_redis_stays_until_no_server_uses_it(world: World) -> None:
    await started(world, redis={"managed": {}})
    (pod,) = world.server_pods()
    world.loads.answers[address(world, pod)] = ServerLoad(1, 2)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"redis": None}})
    await world.settle()
    assert world.get("Deployment", "voice-redis")
    await world.pass_check()
    await world.settle()
    for new in world.server_pods():
        world.run_server_pod(new)
    await world.settle()
    assert world.get("Deployment", "voice-redis"), "a call still needs it"
    world.loads.answers[address(world, pod)] = ServerLoad(0, 0)
    world.clock.advance(3)
    await settled(world)
    assert world.kubernetes.names("Deployment") == []


async def test_redis_that_comes_lets_the_running_server_finish(world: World) -> None:
    await started(world)
    world.kubernetes.put(manifests.room())
    await settled(world)
    world.livekit.join("support-42", "alice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": SHARED})
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready"), "it has no metrics, and is not taken for lost"
    await world.pass_check()
    await world.settle()
    for new in world.server_pods():
        world.run_server_pod(new)
        world.loads.answers[address(world, new)] = ServerLoad(0, 0)
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "WaitingForRooms")
    world.livekit.leave("support-42", "alice")
    world.clock.advance(3)
    await settled(world)
    assert status(world)["readyReplicas"] == 2


async def test_a_login_that_metrics_refuse_is_no_loss(world: World) -> None:
    await started(world, **SHARED)
    for pod in world.server_pods():
        world.loads.answers[address(world, pod)] = ServerLoad()
    for _ in range(3):
        await world.reconcile("LiveKitServer", "voice")
    assert status(world)["readyReplicas"] == 2
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def test_an_operator_that_reaches_nobody_takes_nobody_away(world: World) -> None:
    await started(world, **SHARED)
    world.loads.answers.clear()
    for _ in range(4):
        await world.reconcile("LiveKitServer", "voice")
    assert [pod["metadata"]["labels"]["livekit-operator.dev/serving"] for pod in world.server_pods()] == ["true"] * 2


async def test_redis_that_goes_away_is_said(world: World) -> None:
    await started(world, **SHARED)
    world.stop_server()
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "RedisUnreachable")
    for pod in world.server_pods():
        world.run_server_pod(pod)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


@pytest.mark.parametrize("output", ["", "unable to connect to redis: dial tcp: connect: connection refused"])
async def test_a_check_that_did_not_pass_is_made_again(world: World, output: str) -> None:
    await started(world, **SHARED)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "warn"}}})
    await world.settle()
    await world.pass_check(output=output)
    await world.reconcile("LiveKitServer", "voice")
    if output:
        assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "RedisUnreachable")
    world.clock.advance(31)
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("LiveKitServer", "voice")
    await settled(world)
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def test_what_the_api_server_refuses_stops_nothing_else(world: World) -> None:
    world.kubernetes.fail("apply", "Ingress", KubernetesError(403, "Forbidden", "exceeded quota: ingresses"))
    await started(world, signal={"ingress": {"host": "a.b"}})
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "KubernetesRefused")


async def test_a_lost_node_does_not_hold_a_deleted_server_for_ever(world: World) -> None:
    await started(world, drainTimeoutSeconds=60)
    world.kubernetes.ask_to_delete("LiveKitServer", NAMESPACE, "voice")
    await world.reconcile("LiveKitServer", "voice")
    world.livekit.problem = ServerUnreachable("no route to host")
    world.clock.advance(119)
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.peek("LiveKitServer", NAMESPACE, "voice") is not None
    world.clock.advance(60)
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.peek("LiveKitServer", NAMESPACE, "voice") is None


async def test_keys_changed_by_hand_are_put_back(world: World) -> None:
    await started(world)
    before = decoded(world.get("Secret", "voice-livekit-keys"))
    spoiled = manifests.secret("x", apiKey="mine", apiSecret="short")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "voice-livekit-keys", {"data": spoiled})
    await world.settle()
    assert decoded(world.get("Secret", "voice-livekit-keys")) == before


async def test_a_route_that_its_gateway_refuses_is_said_in_its_words(world: World) -> None:
    gateway = {"parentRefs": [{"name": "public", "namespace": "edge"}], "host": "voice.example.com"}
    await started(world, signal={"gateway": gateway})
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    refused = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "not from team"}
    parents = [{"parentRef": {"name": "public"}, "conditions": [refused]}]
    world.kubernetes.edit("HTTPRoute", NAMESPACE, "voice-livekit", {"parents": parents}, status=True)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "RouteNotAccepted")
    assert "Gateway public: Accepted is False, NotAllowedByListeners: not from team." in world.message(
        "LiveKitServer", "voice"
    )
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "RouteNotAccepted")
    world.take_routes()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_gateway_that_does_not_listen_is_said(world: World) -> None:
    programmed = {"type": "Programmed", "status": "False", "reason": "AddressNotAssigned", "message": "none is left"}
    metadata = {"name": "public", "namespace": "edge", "generation": 1}
    world.kubernetes.put({"kind": "Gateway", "metadata": metadata, "status": {"conditions": [programmed]}})
    await started(world, signal={"gateway": {"parentRefs": [{"name": "public", "namespace": "edge"}], "host": "a.b"}})
    assert world.ready("LiveKitServer", "voice") == ("False", "RouteNotAccepted")
    assert "Gateway public: Programmed is False, AddressNotAssigned: none is left." in world.message(
        "LiveKitServer", "voice"
    )
    well = {"conditions": [{**programmed, "status": "True"}]}
    world.kubernetes.edit("Gateway", "edge", "public", well, status=True)
    world.forget()
    for _ in range(4):
        await world.reconcile("LiveKitServer", "voice")
    assert "get Gateway/public" not in world.kubernetes.reads, "it is looked at now and then"
    world.clock.advance(30)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_gateway_that_has_not_taken_the_route_is_not_read(world: World) -> None:
    refs = [{"name": "public"}, {"name": "secret", "namespace": "others"}]
    await started(world, signal={"gateway": {"parentRefs": refs, "host": "a.b"}})
    taken = {"parentRef": refs[0], "conditions": [{"type": "Accepted", "status": "True"}]}
    world.kubernetes.edit("HTTPRoute", NAMESPACE, "voice-livekit", {"parents": [taken]}, status=True)
    world.clock.advance(60)
    world.forget()
    await world.settle()
    assert "get Gateway/public" in world.kubernetes.reads
    assert "get Gateway/secret" not in world.kubernetes.reads


async def test_a_certificate_that_its_authority_denies_is_said(world: World) -> None:
    await started(world, signal={"ingress": {"host": "a.b", "tls": {"issuerRef": {"name": "i"}}}})
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    denied = [
        {"type": "Ready", "status": "False", "reason": "Expired", "message": "it has expired"},
        {"type": "Issuing", "status": "False", "reason": "Failed", "message": "urn:ietf:params:acme:error:caa"},
    ]
    world.kubernetes.edit("Certificate", NAMESPACE, "voice-signal-tls", {"conditions": denied}, status=True)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "CertificateNotReady")
    assert "acme:error:caa" in world.message("LiveKitServer", "voice")
    world.take_routes()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
