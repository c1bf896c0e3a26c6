"""The pool that serves a VoiceAgent room which names none."""

from typing import Any

from livekit_operator.rooms.decisions.dispatching import UNTAKEN_SECONDS
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World

ROOM = "support-42"


def agents(world: World) -> list[str]:
    """Return the pools that serve the room."""
    return [agent["pool"] for agent in world.get("MeetingRoom", ROOM)["status"].get("agents") or ()]


async def opened(world: World, **spec: Any) -> None:
    """Put a room of kind VoiceAgent there."""
    world.kubernetes.put(manifests.room(kind="VoiceAgent", **spec))
    await world.settle()


async def test_the_one_pool_there_is_serves_it(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    await opened(world)
    assert (world.ready("MeetingRoom", ROOM), agents(world)) == (("True", "Ready"), ["front-desk"])
    world.livekit.join(ROOM, "alice")
    await world.settle()
    assert world.livekit.dispatched(ROOM) == ["front-desk"]


async def test_a_pool_that_is_missing_is_told_and_serves_when_it_is_there(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool("other", serverRef={"name": "elsewhere"}))
    world.kubernetes.put(manifests.pool("far", "elsewhere", serverRef={"name": "voice", "namespace": NAMESPACE}))
    await opened(world, tokens=[{"identity": "alice"}])
    assert world.ready("MeetingRoom", ROOM) == ("False", "PoolNotFound")
    assert condition(world.get("MeetingRoom", ROOM), "AgentsReady")["status"] == "False"
    assert world.get("Secret", "support-42-alice"), "people may meet all the same"
    await world.with_pool()
    assert (world.ready("MeetingRoom", ROOM), agents(world)) == (("True", "Ready"), ["front-desk"])


async def test_of_two_pools_one_must_be_named(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.pool("back-office"))
    await opened(world)
    assert world.ready("MeetingRoom", ROOM) == ("False", "PoolAmbiguous")
    assert "back-office, front-desk" in world.message("MeetingRoom", ROOM)
    named = {"spec": {"agents": [{"poolRef": {"name": "front-desk"}}]}}
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, named)
    await world.settle()
    assert agents(world) == ["front-desk"]


async def test_another_pool_costs_a_call_nothing(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    await opened(world)
    world.livekit.join(ROOM, "alice")
    await world.settle()
    world.livekit.take(ROOM, "J_1")
    world.kubernetes.put(manifests.pool("back-office"))
    await world.settle()
    world.clock.advance(UNTAKEN_SECONDS)
    await world.settle()
    assert agents(world) == ["front-desk"]
    assert "agent-J_1" in world.livekit.rooms[ROOM].participants
