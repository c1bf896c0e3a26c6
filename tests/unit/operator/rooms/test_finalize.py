"""A MeetingRoom that is deleted closes its room, or is let go where that cannot be."""

from typing import Any

import pytest

from livekit_operator.clients.decoding import UNREAD
from livekit_operator.constants import ROOM_FINALIZER
from livekit_operator.errors import NotFound, ServerRefused, ServerUnreachable
from livekit_operator.reconciling.kept import NO_SPACE
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.rooms.steps import opened


async def test_deleting_closes_the_room_first(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    world.forget()
    await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.rooms == {}
    assert world.written() == ["merge MeetingRoom/support-42"]
    assert world.kubernetes.names("MeetingRoom") == []
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"]
    assert len(world.context.resources["MeetingRoom"]) == 0


async def test_a_resource_that_is_gone_already_is_no_failure(world: World) -> None:
    await opened(world)
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    world.kubernetes.fail("merge", "MeetingRoom", NotFound(404, "NotFound", "gone"), once=True)
    assert await world.reconcile("MeetingRoom", "support-42") is None
    assert "support-42" not in world.livekit.rooms


async def test_a_finalizer_of_somebody_else_is_kept(world: World) -> None:
    await opened(world)
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"metadata": {"finalizers": [ROOM_FINALIZER, "x/y"]}})
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    await world.reconcile("MeetingRoom", "support-42")
    assert world.get("MeetingRoom", "support-42")["metadata"]["finalizers"] == ["x/y"]


async def test_a_room_whose_server_is_gone_is_let_go_at_once(world: World) -> None:
    await opened(world)
    world.kubernetes.ask_to_delete("LiveKitServer", NAMESPACE, "voice")
    await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    await world.reconcile("MeetingRoom", "support-42")
    assert world.kubernetes.names("MeetingRoom") == []


@pytest.mark.parametrize("problem", [ServerUnreachable("refused"), ServerRefused("unauthenticated", "no key")])
async def test_a_room_whose_server_does_not_answer_is_let_go_after_a_minute(world: World, problem: Any) -> None:
    await opened(world)
    world.livekit.problem = problem
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    again = await world.reconcile("MeetingRoom", "support-42")
    assert again == 2.0
    assert world.ready("MeetingRoom", "support-42") == ("False", "Deleting")
    world.clock.advance(59)
    await world.reconcile("MeetingRoom", "support-42")
    assert world.kubernetes.names("MeetingRoom") == ["support-42"]
    world.clock.advance(1)
    await world.reconcile("MeetingRoom", "support-42")
    assert world.kubernetes.names("MeetingRoom") == []
    assert ("Warning", "RoomNotDeleted") in [event[:2] for event in world.events()]


async def test_a_server_that_does_not_answer_is_not_asked_once_for_each_of_its_rooms(world: World) -> None:
    await opened(world)
    world.livekit.problem = ServerUnreachable("no answer")
    await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    world.forget()
    assert await world.reconcile("MeetingRoom", "support-42") == 2.0
    assert world.livekit.requests == []
    assert world.ready("MeetingRoom", "support-42") == ("False", "Deleting")
    world.livekit.problem = None
    await world.reconcile("LiveKitServer", "voice")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken
    await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.rooms == {}
    assert world.kubernetes.names("MeetingRoom") == []


async def test_a_room_that_was_never_made_is_let_go(world: World) -> None:
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []


def is_not_understood(world: World) -> None:
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": "many"}}, checked=False)


def has_no_space(world: World) -> None:
    """Keep the stub that is kept of a server where the memory of its namespace is full."""
    server = world.get("LiveKitServer", "voice")
    world.context.resources["LiveKitServer"].doubt()
    world.context.resources["LiveKitServer"].put(
        {"kind": "LiveKitServer", "metadata": server["metadata"], UNREAD: NO_SPACE}
    )


@pytest.mark.parametrize("becomes", [is_not_understood, has_no_space])
async def test_a_room_whose_server_is_not_understood_is_closed_all_the_same(world: World, becomes: Any) -> None:
    await opened(world)
    becomes(world)
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.rooms == {}
    assert world.kubernetes.names("MeetingRoom") == []
    assert ("Warning", "RoomNotDeleted") not in [event[:2] for event in world.events()]
