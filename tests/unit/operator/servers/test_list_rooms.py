"""The one listing of a server's rooms: who is asked for it, what it wakes, and what comes of it when one is lost."""

import asyncio
from dataclasses import replace

import pytest

from livekit_operator.errors import ServerUnreachable
from livekit_operator.outside import MOST_COUNT
from livekit_operator.servers import list_rooms
from livekit_operator.views import RoomSettings, RoomView, ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import SHARED, address, settled, started, status


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


async def test_a_server_that_its_service_leads_to_no_more_is_found_out(world: World) -> None:
    """Its pod goes on telling the operator everything."""
    await world.with_server()
    world.livekit.cut = {world.get("LiveKitServer", "voice")["status"]["internalUrl"]}
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice")[0] == "True"
    world.clock.advance(30)
    for _ in range(2):
        await world.reconcile("LiveKitServer", "voice")
        assert world.ready("LiveKitServer", "voice") == ("False", "ServerUnreachable")
    world.livekit.cut.clear()
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice")[0] == "True"


async def test_a_server_that_only_its_pod_answers_for_is_not_ready(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.settle()
    world.run_server()
    world.livekit.cut = {f"ws://voice-livekit.{NAMESPACE}.svc:7880"}
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")


def use_other_keys(world: World) -> None:
    """Have the next pass connect anew."""
    connection = world.context.servers[NAMESPACE, "voice"]
    connection.keys = replace(connection.keys, api_key="APIformer")


@pytest.mark.parametrize("when", ["before they no longer believe in it", "afterwards"])
async def test_a_loss_is_not_forgotten_when_keys_change(world: World, when: str) -> None:
    await started(world, **SHARED)
    world.kubernetes.put(manifests.room())
    await settled(world)
    del world.loads.answers[address(world, world.server_pods()[1])]
    await world.reconcile("LiveKitServer", "voice")
    if when == "afterwards":
        world.clock.advance(5)
        await world.reconcile("LiveKitServer", "voice")
    use_other_keys(world)
    await world.reconcile("LiveKitServer", "voice")
    world.clock.advance(5)
    await world.reconcile("LiveKitServer", "voice")
    assert world.context.servers[NAMESPACE, "voice"].rooms.unverified == {"support-42"}


async def test_what_uses_a_server_is_woken_when_it_is_connected_to_anew(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    former = world.context.servers[NAMESPACE, "voice"]
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert (world.woken, world.context.servers[NAMESPACE, "voice"]) == (set(), former)
    before = world.livekit.closed
    use_other_keys(world)
    await world.reconcile("LiveKitServer", "voice")
    assert world.woken == {("MeetingRoom", (NAMESPACE, "support-42"))}
    assert world.livekit.closed == before + 1, "the former connection is closed"


async def test_rooms_full_of_people_are_no_more_than_a_status_can_hold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crowds() -> list[RoomView]:
        return [RoomView(f"RM_{n}", RoomSettings(f"room-{n}", 0, 300, 20, ""), MOST_COUNT) for n in range(2)]

    await world.with_server()
    monkeypatch.setattr(world.livekit, "list_rooms", crowds)
    await world.reconcile("LiveKitServer", "voice")
    assert status(world)["participants"] == MOST_COUNT
    monkeypatch.undo()


async def test_a_server_that_is_away_has_no_rooms(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.stop_server()
    await world.reconcile("LiveKitServer", "voice")
    assert not world.context.servers[NAMESPACE, "voice"].rooms.listed
    assert "rooms" not in status(world)
    world.run_server()
    world.woken.clear()
    await world.reconcile("LiveKitServer", "voice")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken, "its first listing is about all"
