"""Finalizers are put on a resource once, beside those of others, and taken off alone."""

from typing import Any

import pytest

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.errors import Conflict
from livekit_operator.reconciling.finalizers import add_finalizer, remove_finalizer
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

OURS, THEIRS = "livekit-operator.dev/room", "example.com/backup"
NOTE = {"livekit-operator.dev/note": "server voice"}


def with_room(world: World, **metadata: Any) -> MeetingRoom:
    """Put a room there, and return it as a pass has it."""
    room = manifests.room()
    made = world.kubernetes.put({**room, "metadata": {**room["metadata"], **metadata}})
    return MeetingRoom.model_validate(made)


def metadata_of(world: World) -> Manifest:
    metadata: Manifest = world.get("MeetingRoom", "support-42")["metadata"]
    return metadata


@pytest.mark.parametrize(
    ("has", "annotated", "wanted", "added", "finalizers"),
    [
        pytest.param([], {}, None, True, [OURS], id="none"),
        pytest.param([THEIRS], {}, None, True, [THEIRS, OURS], id="beside another's"),
        pytest.param([OURS], {}, None, False, [OURS], id="it is there"),
        pytest.param([OURS], {}, NOTE, True, [OURS], id="without its annotation"),
        pytest.param([OURS], NOTE, NOTE, False, [OURS], id="with its annotation"),
    ],
)
async def test_a_finalizer_is_put_where_it_is_lacking(
    has: list[str], annotated: dict[str, str], wanted: dict[str, str] | None, added: bool, finalizers: list[str]
) -> None:
    world = World()
    room = with_room(world, finalizers=has, annotations=annotated)
    world.kubernetes.listeners.clear()  # the watch is late
    assert await add_finalizer(world.context, room, OURS, wanted) is added
    assert metadata_of(world)["finalizers"] == finalizers
    assert NOTE.items() <= metadata_of(world)["annotations"].items() or not wanted
    assert world.written() == (["merge MeetingRoom/support-42"] if added else [])
    cached = world.context.resources["MeetingRoom"].get((NAMESPACE, "support-42"))
    assert cached is not None
    assert cached["metadata"]["finalizers"] == finalizers


async def test_a_finalizer_goes_alone_with_its_annotation() -> None:
    world = World()
    room = with_room(world, finalizers=[OURS, THEIRS], annotations={**NOTE, "mine": "stays"})
    await remove_finalizer(world.context, room, OURS, dict.fromkeys(NOTE))
    assert (metadata_of(world)["finalizers"], metadata_of(world)["annotations"]) == ([THEIRS], {"mine": "stays"})


@pytest.mark.parametrize("change", [add_finalizer, remove_finalizer])
async def test_a_finalizer_that_somebody_added_meanwhile_is_not_lost(change: Any) -> None:
    world = World()
    room = with_room(world, finalizers=[] if change is add_finalizer else [OURS])
    before = [*room.metadata.finalizers, THEIRS]
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"metadata": {"finalizers": before}})
    with pytest.raises(Conflict):
        await change(world.context, room, OURS)
    assert metadata_of(world)["finalizers"] == before


async def test_without_its_last_finalizer_what_is_being_deleted_is_gone_from_the_cache() -> None:
    world = World()
    with_room(world, finalizers=[OURS])
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    room = MeetingRoom.model_validate(world.get("MeetingRoom", "support-42"))
    world.kubernetes.listeners.clear()  # the watch is late
    await remove_finalizer(world.context, room, OURS)
    assert len(world.context.resources["MeetingRoom"]) == 0
    await remove_finalizer(world.context, room, OURS)  # it is gone already
