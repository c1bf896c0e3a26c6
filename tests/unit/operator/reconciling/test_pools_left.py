"""Pools of calls whose owners go and come back: what was known of the former ones is not held against the new."""

import pytest

from livekit_operator.errors import Conflict
from livekit_operator.pools.memory import LOST_SECONDS
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World
from tests.unit.operator.pools.calls import serve, with_room

ALL = (("LiveKitServer", "voice"), ("VoiceAgentPool", "front-desk"), ("MeetingRoom", "support-42"))


async def _call(world: World) -> None:
    """Let alice speak with an agent."""
    await with_room(world, replicas=1)
    world.livekit.join("support-42", "alice")
    await world.settle()
    await serve(world)
    await world.settle()
    assert "agent-AJ_1" in world.livekit.rooms["support-42"].participants


def _room() -> Manifest:
    room = manifests.room("support-42", agents=[{"poolRef": {"name": "front-desk"}}])
    room["spec"]["adopt"] = True
    return room


async def _the_call_goes_on(world: World, pod: str) -> None:
    await world.settle()
    world.clock.advance(LOST_SECONDS / 10)
    await world.settle()
    assert world.livekit.writes == [], "nobody was removed or asked for"
    assert "agent-AJ_1" in world.livekit.rooms["support-42"].participants
    assert [each["metadata"]["uid"] for each in world.agent_pods()] == [pod]


@pytest.mark.parametrize("passes", ["a pass of each between", "no pass between", "a pass while it goes"])
async def test_a_call_goes_on_when_its_owners_are_orphaned_and_made_anew(world: World, passes: str) -> None:
    await _call(world)
    (pod,) = world.agent_pods()
    for kind, name in ALL:
        world.kubernetes.ask_to_orphan(kind, NAMESPACE, name)
    if passes == "a pass while it goes":
        await world.round()
    for kind, name in ALL:
        world.kubernetes.orphan_children(kind, NAMESPACE, name)
        if world.kubernetes.peek(kind, NAMESPACE, name):
            world.kubernetes.edit(kind, NAMESPACE, name, {"metadata": {"finalizers": []}})
    if passes == "a pass of each between":
        await world.round()
    world.livekit.requests.clear()
    # The watches tell of what was made in any order, and so do passes.
    world.kubernetes.put(manifests.pool(replicas=1))
    await world.reconcile("VoiceAgentPool", "front-desk")
    world.kubernetes.put(manifests.server())
    world.kubernetes.put(_room())
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", "support-42")
    await _the_call_goes_on(world, pod["metadata"]["uid"])


async def test_a_call_goes_on_when_its_pods_are_seen_to_be_orphaned_before_their_pool(world: World) -> None:
    await _call(world)
    (pod,) = world.agent_pods()
    before = world.get("VoiceAgentPool", "front-desk")
    world.kubernetes.ask_to_orphan("VoiceAgentPool", NAMESPACE, "front-desk")
    cache = world.context.resources["VoiceAgentPool"]
    cache.remove((NAMESPACE, "front-desk"))
    cache.put(before)  # its watch is late
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"metadata": {"ownerReferences": []}})
    with pytest.raises(Conflict, match="is being deleted"):
        await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.get("Pod", pod["metadata"]["name"])["metadata"]["ownerReferences"] == [], "it would go with the pool"
    world.livekit.requests.clear()
    await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.writes == []
    world.kubernetes.orphan_children("VoiceAgentPool", NAMESPACE, "front-desk")


async def test_a_call_goes_on_when_its_pods_are_nobodys_while_their_server_is_away(world: World) -> None:
    await _call(world)
    (pod,) = world.agent_pods()
    world.kubernetes.ask_to_orphan("LiveKitServer", NAMESPACE, "voice")
    world.kubernetes.orphan_children("LiveKitServer", NAMESPACE, "voice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"metadata": {"finalizers": []}})
    await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"metadata": {"ownerReferences": []}})
    await world.reconcile("VoiceAgentPool", "front-desk")
    world.livekit.requests.clear()
    world.kubernetes.put(manifests.server())
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", "support-42")
    await _the_call_goes_on(world, pod["metadata"]["uid"])
