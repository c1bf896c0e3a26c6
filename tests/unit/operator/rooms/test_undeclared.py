"""Rooms that no MeetingRoom declares: a pool serves those whose names begin with its prefix."""

from typing import Any

import pytest

from livekit_operator.errors import ServerUnreachable
from livekit_operator.servers.links import UNDECLARED_ROOM, undeclared_room
from livekit_operator.views import AgentRequest, RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World

ROOM = "voice-agent-1"
SERVER = (NAMESPACE, "voice")


async def with_pool(world: World, **spec: Any) -> None:
    await world.with_server(allowedPoolNamespaces=["guests"])
    wanted = {"roomPrefix": "voice-agent-", "replicas": 1, **spec}
    await world.with_pool(**{field: value for field, value in wanted.items() if value is not None})


def opened(world: World, name: str = ROOM, *people: str) -> None:
    """Let an app make a room, or somebody by joining it."""
    world.livekit.start_room(RoomSettings(name, 0, 300, 20, ""))
    for person in people:
        world.livekit.join(name, person)


async def look(world: World, *rooms: str) -> float | None:
    """List the rooms, and look at these if that woke them; return when the last one is to be looked at again."""
    await world.reconcile("LiveKitServer", "voice")
    again = None
    for name in rooms or (ROOM,):
        key = undeclared_room(SERVER, name)
        if (UNDECLARED_ROOM, key) in world.woken:
            again = await world.reconcile(UNDECLARED_ROOM, key[1], key[0])
    return again


async def serve(world: World, job: str = "AJ_1") -> None:
    """Let the pool's only pod take the call that was asked for."""
    world.livekit.take(ROOM, job)
    world.say(world.agent_pods()[0], jobs={job: ROOM})
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world)


async def test_a_room_of_the_prefix_is_served_and_others_are_not(world: World) -> None:
    await with_pool(world)
    for name in (ROOM, "other-1"):
        opened(world, name, "alice")
    await look(world, ROOM, "other-1")
    assert world.livekit.dispatched(ROOM) == ["front-desk"]
    assert world.livekit.dispatched("other-1") == []
    assert world.livekit.asked("list_participants") == 1
    await serve(world)
    world.forget()
    await world.settle()
    assert world.livekit.writes == []


async def test_every_room_is_served_that_no_resource_declares(world: World) -> None:
    await with_pool(world, roomPrefix="")
    world.kubernetes.put(manifests.room("declared"))
    await world.settle()
    names = (ROOM, "other-1", "guests/other-1", "declared")
    for name in names:
        opened(world, name, "alice")
    await look(world, *names)
    assert [name for name in names if world.livekit.dispatched(name)] == [ROOM, "other-1"]


async def test_a_room_that_a_resource_declares_is_left_to_that(world: World) -> None:
    await with_pool(world)
    world.kubernetes.put(manifests.room(ROOM))
    await world.settle()
    world.livekit.join(ROOM, "alice")
    await look(world)
    await world.settle()
    assert world.livekit.dispatched(ROOM) == []


async def test_a_call_whose_worker_dies_gets_another_agent(world: World) -> None:
    await with_pool(world)
    opened(world, ROOM, "alice")
    await look(world)
    await serve(world)
    world.clock.advance(30)
    world.forget()
    world.say(world.agent_pods()[0])
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world)
    assert [request[0] for request in world.livekit.writes] == [
        "remove_participant",
        "delete_dispatch",
        "create_dispatch",
    ]
    assert world.livekit.dispatched(ROOM) == ["front-desk"]


async def test_who_finds_no_agent_waits_wakes_the_pool_and_is_served(world: World) -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 3, "bufferSessions": 0, "scaleDownStabilizationSeconds": 30}
    await with_pool(world, replicas=None, autoscaling=scaling)
    opened(world, ROOM, "alice")
    await look(world)
    assert world.livekit.dispatched(ROOM) == []
    assert ("VoiceAgentPool", (NAMESPACE, "front-desk")) in world.woken
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 1
    world.run_pods()
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world)
    assert world.livekit.dispatched(ROOM) == ["front-desk"]
    world.livekit.close_room(ROOM)
    await look(world)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.context.pools[NAMESPACE, "front-desk"].rooms == set()
    assert world.context.asked_agents == {}


@pytest.mark.parametrize("declared", [False, True])
async def test_who_is_no_more_the_pools_waits_no_more(world: World, declared: bool) -> None:
    await with_pool(world, replicas=0)
    opened(world, ROOM, "alice")
    await look(world)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 1
    if declared:
        world.kubernetes.put(manifests.room(ROOM))
    else:
        world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"roomPrefix": None}})
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 0
    key = undeclared_room(SERVER, ROOM)
    assert (UNDECLARED_ROOM, key) in world.woken
    await world.reconcile(UNDECLARED_ROOM, key[1], key[0])
    assert world.context.asked_agents == {}


async def test_an_agent_that_was_asked_for_leaves_a_room_that_everybody_left(world: World) -> None:
    await with_pool(world)
    opened(world, ROOM, "alice")
    await look(world)
    await serve(world)
    world.livekit.leave(ROOM, "alice")
    again = await look(world)
    assert again == 20
    world.clock.advance(21)
    key = undeclared_room(SERVER, ROOM)
    await world.reconcile(UNDECLARED_ROOM, key[1], key[0])
    assert world.livekit.dispatched(ROOM) == []


async def test_an_agent_that_an_app_sent_ahead_may_wait_for_people(world: World) -> None:
    await with_pool(world)
    opened(world)
    await world.livekit.create_dispatch(ROOM, AgentRequest("front-desk"))
    world.forget()
    await look(world)
    assert world.livekit.writes == [], "the request may be for whoever is about to be called"
    world.livekit.take(ROOM, "AJ_1")
    world.clock.advance(60)
    await look(world)
    await world.settle()
    assert world.livekit.writes == []
    world.livekit.join(ROOM, "alice")
    await look(world)
    world.livekit.leave(ROOM, "alice")
    await look(world)
    world.clock.advance(60)
    key = undeclared_room(SERVER, ROOM)
    await world.reconcile(UNDECLARED_ROOM, key[1], key[0])
    assert world.livekit.writes == [], "one agent is enough, and it is not ours to send away"


async def test_an_operator_that_starts_finds_those_that_wait(world: World) -> None:
    await with_pool(world)
    opened(world, ROOM, "alice")
    await world.livekit.create_dispatch(ROOM, AgentRequest("front-desk"))
    world.livekit.take(ROOM, "AJ_1")
    opened(world, "voice-agent-2", "bob")
    world.context.servers.clear()
    world.context.pools.clear()
    await world.settle()
    assert world.livekit.dispatched(ROOM) == ["front-desk"], "who has an agent gets no other"
    assert world.livekit.dispatched("voice-agent-2") == ["front-desk"]


async def test_a_prefix_that_comes_later_serves_who_is_there_already(world: World) -> None:
    await with_pool(world, roomPrefix=None)
    opened(world, ROOM, "alice")
    await look(world)
    assert world.livekit.dispatched(ROOM) == []
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"roomPrefix": "voice-"}})
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world)
    assert world.livekit.dispatched(ROOM) == ["front-desk"]


@pytest.mark.parametrize("change", [{"agentName": "renamed"}, {"roomPrefix": "else-"}])
async def test_a_call_goes_on_when_the_pool_is_changed(world: World, change: dict[str, str]) -> None:
    await with_pool(world)
    opened(world, ROOM, "alice")
    await look(world)
    await serve(world)
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": change})
    world.forget()
    await world.settle()
    world.livekit.join(ROOM, "bob")
    await look(world)
    assert world.livekit.writes == []
    assert world.context.pools[NAMESPACE, "front-desk"].waiting == {}


async def test_a_pool_of_another_namespace_serves_its_own_names_only(world: World) -> None:
    await with_pool(world, roomPrefix=None)
    world.kubernetes.put(manifests.providers_secret("guests"))
    spec = {"serverRef": {"name": "voice", "namespace": NAMESPACE}, "roomPrefix": "call-", "replicas": 1}
    world.kubernetes.put(manifests.pool("desk", "guests", **spec))
    await world.settle()
    world.run_pods()
    await world.settle()
    opened(world, "call-1", "alice")
    opened(world, "guests/call-1", "bob")
    await look(world, "call-1", "guests/call-1")
    assert world.livekit.dispatched("call-1") == []
    assert world.livekit.dispatched("guests/call-1") == ["guests/desk"]
    assert "guests/call-" in condition(world.get("VoiceAgentPool", "desk", "guests"), "RoomPrefixAccepted")["message"]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedPoolNamespaces": []}})
    opened(world, "guests/call-2", "eve")
    await look(world, "guests/call-2")
    assert world.livekit.dispatched("guests/call-2") == []


async def test_whose_rooms_they_are_is_a_condition(world: World) -> None:
    await with_pool(world)
    world.clock.advance(60)
    for name, prefix in (("same", "voice-agent-"), ("longer", "voice-agent-fr-"), ("none", None)):
        world.kubernetes.put(manifests.pool(name, **({"roomPrefix": prefix} if prefix else {})))
    await world.settle()
    told = {name: world.get("VoiceAgentPool", name)["status"]["conditions"] for name in ("front-desk", "same", "none")}
    assert [c for c in told["none"] if c["type"] == "RoomPrefixAccepted"] == []
    accepted = condition({"status": {"conditions": told["front-desk"]}}, "RoomPrefixAccepted")
    assert (accepted["status"], accepted["reason"]) == ("True", "Accepted")
    assert "voice-agent-fr- are VoiceAgentPool longer's" in accepted["message"]
    taken = condition({"status": {"conditions": told["same"]}}, "RoomPrefixAccepted")
    assert (taken["status"], taken["reason"]) == ("False", "RoomPrefixTaken")
    assert "VoiceAgentPool front-desk is older" in taken["message"]
    world.run_pods()
    await world.settle()
    opened(world, ROOM, "alice")
    opened(world, "voice-agent-fr-1", "bob")
    await look(world, ROOM, "voice-agent-fr-1")
    assert world.livekit.dispatched(ROOM) == ["front-desk"]
    assert world.livekit.dispatched("voice-agent-fr-1") == ["longer"]


async def test_a_server_that_does_not_answer_is_asked_again(world: World) -> None:
    await with_pool(world)
    opened(world, ROOM, "alice")
    await world.reconcile("LiveKitServer", "voice")
    world.livekit.problem = ServerUnreachable("no answer")
    key = undeclared_room(SERVER, ROOM)
    assert await world.reconcile(UNDECLARED_ROOM, key[1], key[0]) == 5.0
    world.livekit.problem = None
    await world.reconcile(UNDECLARED_ROOM, key[1], key[0])
    assert world.livekit.dispatched(ROOM) == ["front-desk"]


@pytest.mark.parametrize("kind", ["VoiceAgentPool", "LiveKitServer"])
async def test_whoever_names_an_owner_that_is_not_there_wakes_nobodys_rooms(world: World, kind: str) -> None:
    await with_pool(world)
    opened(world, ROOM, "alice")
    await look(world)
    await serve(world)
    world.forget()
    asked = dict(world.context.asked_agents)
    for name in ("nobody", "nobody"):  # a change of an object that says it is its child
        await world.reconcile(kind, name, "mallory")
    assert (world.woken, world.livekit.requests) == (set(), [])
    assert world.context.asked_agents == asked


async def test_a_pool_that_goes_is_forgotten_in_its_rooms_alone(world: World) -> None:
    await with_pool(world)
    opened(world, ROOM, "alice")
    await look(world)
    world.kubernetes.put(manifests.pool("other", replicas=1))
    await world.reconcile("VoiceAgentPool", "other")
    world.kubernetes.vanish("VoiceAgentPool", NAMESPACE, "other")
    await world.reconcile("VoiceAgentPool", "other")
    assert undeclared_room(SERVER, ROOM) in world.context.asked_agents
    world.kubernetes.vanish("VoiceAgentPool", NAMESPACE, "front-desk")
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert undeclared_room(SERVER, ROOM) not in world.context.asked_agents
