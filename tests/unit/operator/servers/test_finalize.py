"""A LiveKitServer that is deleted waits for its calls, and not for ever."""

import pytest

from livekit_operator.errors import NamespaceTerminating, ServerUnreachable
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import started


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
