"""What a server and a pool let other namespaces have, and what these lose when it is taken away."""

from typing import Any

import pytest

from livekit_operator.rooms.decisions.settings import room_name
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.pools.guests import THERE, allow, with_guests

POOL = {"name": "front-desk", "namespace": NAMESPACE}


def let_call(world: World, *namespaces: str) -> None:
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"allowedNamespaces": list(namespaces)}})


async def test_a_rotation_waits_for_no_pool_that_may_not_use_the_server(world: World) -> None:
    """Its pods have the former key as long as their calls last, for all the operator knows a day."""
    await with_guests(world, keyRotation={"id": "winter", "graceSeconds": 60})
    world.say(world.agent_pods()[0], jobs={"AJ_1": "guests/call"})
    allow(world, allowedPoolNamespaces=[])
    rotation = {"keyRotation": {"id": "spring", "graceSeconds": 60}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": rotation})
    for _ in range(6):
        await world.settle()
        await world.pass_check()
        await world.settle()
        world.run_server()
        world.clock.advance(61)
    await world.settle()
    assert world.get("LiveKitServer", "voice")["status"]["keys"]["accepted"] == 1
    assert len(world.agent_pods(leaving=True)) == 1, "the call goes on"


async def test_nobody_learns_which_servers_another_namespace_has(world: World) -> None:
    """A name that is there and one that is not get the same reason and, but for the name, the same words."""
    await world.with_server()
    for name in ("voice", "nowhere"):
        reference = {"name": name, "namespace": NAMESPACE}
        world.kubernetes.put(manifests.pool(f"pool-{name}", "guests", serverRef=reference))
        world.kubernetes.put(manifests.room(f"room-{name}", "guests", serverRef=reference))
    await world.settle()
    for kind, prefix in (("VoiceAgentPool", "pool"), ("MeetingRoom", "room")):
        told = {
            name: (
                world.ready(kind, f"{prefix}-{name}", "guests"),
                world.message(kind, f"{prefix}-{name}", "guests").replace(name, "…"),
                len(world.get(kind, f"{prefix}-{name}", "guests")["status"]["conditions"]) if prefix == "room" else 0,
            )
            for name in ("voice", "nowhere")
        }
        assert told["voice"][0] == ("False", "ServerNotAllowed")
        if kind == "MeetingRoom":
            assert told["voice"] == told["nowhere"]
        else:
            # What a pool without anything says beside that is no more than that.
            assert told["nowhere"][1] == told["voice"][1]


async def with_guest_room(world: World, **spec: Any) -> None:
    await world.with_server(allowedNamespaces=["guests"])
    await world.with_pool(**spec)
    world.kubernetes.put(manifests.room(namespace="guests", serverRef=THERE, agents=[{"poolRef": POOL}]))
    await world.settle()


async def call(world: World, room: str, who: str = "alice") -> None:
    world.livekit.join(room, who)
    await world.reconcile("LiveKitServer", "voice")
    await world.settle()


async def test_a_pool_serves_rooms_of_another_namespace_only_when_it_says_so(world: World) -> None:
    await with_guest_room(world, replicas=1)
    await call(world, "guests/support-42")
    assert world.ready("MeetingRoom", "support-42", "guests") == ("False", "PoolNotAllowed")
    assert "adds guests to its spec.allowedNamespaces" in world.message("MeetingRoom", "support-42", "guests")
    assert world.livekit.dispatched("guests/support-42") == []
    let_call(world, "guests")
    await world.settle()
    assert world.livekit.dispatched("guests/support-42") == ["front-desk"]
    assert world.ready("MeetingRoom", "support-42", "guests") == ("True", "Ready")


async def test_nobody_learns_which_pools_another_namespace_has(world: World) -> None:
    await with_guest_room(world)
    nowhere = [{"poolRef": {"name": "nowhere", "namespace": NAMESPACE}}]
    world.kubernetes.put(manifests.room("other", "guests", serverRef=THERE, agents=nowhere))
    await world.settle()
    assert world.ready("MeetingRoom", "other", "guests") == world.ready("MeetingRoom", "support-42", "guests")
    assert world.message("MeetingRoom", "other", "guests") == world.message(
        "MeetingRoom", "support-42", "guests"
    ).replace("front-desk", "nowhere")
    told = [world.get("MeetingRoom", name, "guests")["status"]["agents"][0] for name in ("other", "support-42")]
    assert told[0]["agentName"] == told[1]["agentName"] == ""


async def test_a_room_that_a_pool_does_not_serve_any_more_is_no_demand_of_it(world: World) -> None:
    await with_guest_room(world, replicas=0, allowedNamespaces=["guests"])
    await call(world, "guests/support-42")
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 1
    let_call(world)
    await world.settle()
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 0
    let_call(world, "guests")
    await world.settle()
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 1
    allow(world, allowedNamespaces=[])
    await world.settle()
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 0


@pytest.mark.parametrize(
    "spec",
    [
        {"agentDispatches": [{"agentName": "front-desk"}]},
        {"tokens": [{"identity": "a", "roomConfiguration": {"agents": [{"agentName": "front-desk"}]}}]},
        {"generateTokens": {"count": 1, "roomConfiguration": {"agents": [{"agentName": "front-desk"}]}}},
    ],
    ids=["dispatch", "token", "tokens"],
)
async def test_an_agent_is_not_called_by_its_name_either(world: World, spec: dict[str, Any]) -> None:
    await world.with_server(allowedNamespaces=["guests"])
    await world.with_pool()
    for name, agent in (("there", "front-desk"), ("nowhere", "nowhere"), ("ours", "guests/mine")):
        text = repr(spec).replace("front-desk", agent)
        world.kubernetes.put(manifests.room(name, "guests", serverRef=THERE, **eval(text)))  # noqa: S307 - our own
    world.kubernetes.put(manifests.room("at-home", **spec))
    await world.settle()
    assert world.ready("MeetingRoom", "there", "guests") == ("False", "AgentNotAllowed")
    words = world.message("MeetingRoom", "there", "guests")
    assert "gentName: rooms of this namespace call agents whose names begin with guests/" in words
    assert world.message("MeetingRoom", "nowhere", "guests") == words
    assert world.ready("MeetingRoom", "ours", "guests") == ("True", "Ready")
    assert world.ready("MeetingRoom", "at-home") == ("True", "Ready")
    let_call(world, "guests")
    await world.settle()
    assert world.ready("MeetingRoom", "there", "guests") == ("True", "Ready")
    assert world.ready("MeetingRoom", "nowhere", "guests") == ("False", "AgentNotAllowed")


async def test_a_crowd_of_another_namespace_leaves_places_to_the_pools_own(world: World) -> None:
    await world.with_server(allowedNamespaces=["guests"])
    await world.with_pool(replicas=1, sessionsPerPod=10, allowedNamespaces=["guests"])
    for number in range(20):
        world.kubernetes.put(manifests.room(f"room-{number}", "guests", serverRef=THERE, agents=[{"poolRef": POOL}]))
    world.kubernetes.put(manifests.room("ours", agents=[{"poolRef": {"name": "front-desk"}}]))
    await world.settle()
    for number in range(20):
        world.livekit.join(f"guests/room-{number}", "someone")
    await world.reconcile("LiveKitServer", "voice")
    for number in range(20):
        await world.reconcile("MeetingRoom", f"room-{number}", "guests")
    called = [number for number in range(20) if world.livekit.dispatched(f"guests/room-{number}")]
    assert len(called) == 9
    waiting = next(number for number in range(20) if number not in called)
    assert world.ready("MeetingRoom", f"room-{waiting}", "guests") == ("False", "ShareReached")
    assert "namespace guests has its share" in world.message("MeetingRoom", f"room-{waiting}", "guests")
    world.livekit.join("ours", "bob")
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", "ours")
    assert world.livekit.dispatched("ours") == ["front-desk"]


@pytest.mark.parametrize("there", [True, False], ids=["it has that room", "it has not"])
async def test_the_servers_namespace_takes_no_name_that_is_for_another_one(world: World, there: bool) -> None:
    """And does not learn whether the other one has that room."""
    await world.with_server(allowedNamespaces=["guests"])
    if there:
        world.kubernetes.put(manifests.room("call", "guests", serverRef=THERE))
        await world.settle()
    world.kubernetes.put(manifests.room("x", roomName="guests/call", adopt=True))
    world.kubernetes.put(manifests.room("free", roomName="strangers/call"))
    await world.settle()
    assert world.ready("MeetingRoom", "x") == ("False", "RoomNameNotAllowed")
    assert world.message("MeetingRoom", "x") == (
        "spec.roomName: names that begin with guests/ are for MeetingRooms of that namespace; choose another one."
    )
    assert world.ready("MeetingRoom", "free") == ("True", "Ready"), "nobody else can have it"
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "x")
    await world.settle()
    assert ("guests/call" in world.livekit.rooms) == there
    if not there:
        world.kubernetes.put(manifests.room("call", "guests", serverRef=THERE))
        await world.settle()
    assert world.ready("MeetingRoom", "call", "guests") == ("True", "Ready")
    assert room_name(models.room("call")) == "call"
