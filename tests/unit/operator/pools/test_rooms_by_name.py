"""Rooms that no MeetingRoom declares, as the pool that serves their names sees them."""

from typing import Any

import pytest

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.pools.decisions.room_prefixes import Prefix
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.rooms_by_name import describe, forget_former, prefixes_of, wake_dirty_rooms
from livekit_operator.servers.access import rooms_of
from livekit_operator.servers.links import UNDECLARED_ROOM, undeclared_room
from livekit_operator.views import RoomSettings
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

SERVER = (NAMESPACE, "voice")
DESK = (NAMESPACE, "front-desk")
THERE = {"serverRef": {"name": "voice", "namespace": NAMESPACE}}


async def with_rooms(*names: str, **spec: Any) -> tuple[World, VoiceAgentPool]:
    """Return a world where a server has these rooms, as it was just listed, and the pool `front-desk`."""
    world = World()
    await world.with_server(allowedPoolNamespaces=["guests"])
    pool = VoiceAgentPool.model_validate(world.kubernetes.put(manifests.pool(**spec)))
    for name in names:
        world.livekit.start_room(RoomSettings(name, 0, 300, 20, ""))
    await world.reconcile("LiveKitServer", "voice")
    world.woken.clear()
    return world, pool


def woken(world: World) -> set[str]:
    """Return the names of the rooms without a resource that are woken."""
    found = {key for kind, key in world.woken if kind == UNDECLARED_ROOM}
    assert {key[0] for key in found} <= {"/".join(SERVER)}
    return {name for _, name in found}


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("phone-", {"phone-1", "phone-2"}),
        ("phone-1", {"phone-1"}),
        ("", {"phone-1", "phone-2", "other"}),
        (None, set()),
    ],
)
async def test_rooms_where_somebody_came_or_went_are_woken(prefix: str | None, expected: set[str]) -> None:
    world, pool = await with_rooms(**({} if prefix is None else {"roomPrefix": prefix}))
    world.kubernetes.put(manifests.room("phone-3"))
    world.kubernetes.put(manifests.pool("french", roomPrefix="phone-fr-"))
    rooms = rooms_of(world.context, SERVER)
    rooms.dirty |= {"phone-1", "phone-2", "phone-3", "phone-fr-1", "other", "guests/phone-1"}
    world.woken.clear()
    wake_dirty_rooms(world.context, pool, rooms)
    assert woken(world) == expected, "none that a MeetingRoom declares, or another pool serves"


async def test_rooms_that_are_no_more_the_pools_are_forgotten_and_woken() -> None:
    world, pool = await with_rooms("phone-1", "phone-2", "other", roomPrefix="phone-")
    world.kubernetes.put(manifests.room("phone-2"))
    memory = PoolMemory(NAMESPACE)
    names = ("phone-1", "phone-2", "other", "phone-gone")
    for name in names:
        memory.wait(undeclared_room(SERVER, name), world.clock())
    memory.wait((NAMESPACE, "support-42"), world.clock())
    world.woken.clear()
    forget_former(world.context, pool, rooms_of(world.context, SERVER), memory)
    assert memory.rooms == {undeclared_room(SERVER, "phone-1"), (NAMESPACE, "support-42")}
    assert woken(world) == {"phone-2", "other", "phone-gone"}


async def test_whose_prefixes_count() -> None:
    world, _ = await with_rooms(roomPrefix="phone-")
    for manifest in (
        manifests.pool("without-one"),
        manifests.pool("elsewhere", roomPrefix="call-", serverRef={"name": "other"}),
        manifests.pool("desk", "guests", roomPrefix="call-", **THERE),
        manifests.pool("desk", "not-allowed", roomPrefix="call-", **THERE),
        manifests.pool("leaving", roomPrefix="call-"),
        manifests.pool("every-room", roomPrefix=""),
    ):
        world.kubernetes.put(manifest)
    leaving = {"metadata": {"finalizers": ["a/b"]}}
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "leaving", leaving)
    world.kubernetes.ask_to_delete("VoiceAgentPool", NAMESPACE, "leaving")
    wrong = manifests.pool("not-understood", roomPrefix="call-")
    world.kubernetes.put({**wrong, "spec": {**wrong["spec"], "replicas": "many"}}, checked=False)
    found = prefixes_of(world.context, SERVER)
    assert {(prefix.pool, prefix.text) for prefix in found} == {
        (("guests", "desk"), "call-"),
        (DESK, "phone-"),
        ((NAMESPACE, "every-room"), ""),
    }
    assert all(prefix.created for prefix in found)


OLD, NEW = "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"


@pytest.mark.parametrize(
    ("namespace", "others", "expected", "words"),
    [
        (NAMESPACE, [], (True, "Accepted"), ["names begin with phone- get an agent."]),
        ("guests", [], (True, "Accepted"), ["names begin with guests/phone- get an agent."]),
        (
            NAMESPACE,
            [("longer", "phone-fr-", NEW), ("shorter", "p", OLD)],
            (True, "Accepted"),
            ["begin with phone-fr- are VoiceAgentPool longer's."],
        ),
        (NAMESPACE, [("older", "phone-", OLD)], (False, "RoomPrefixTaken"), ["VoiceAgentPool older is older"]),
    ],
)
def test_whose_rooms_they_are_is_told(
    namespace: str, others: list[tuple[str, str, str]], expected: tuple[bool, str], words: list[str]
) -> None:
    pool = models.pool(namespace, roomPrefix="phone-", **THERE)
    pool = pool.model_copy(update={"metadata": pool.metadata.model_copy(update={"creation_timestamp": NEW})})
    [told] = describe(pool, [Prefix((namespace, name), text, created) for name, text, created in others])
    assert (told.type, told.status, told.reason) == ("RoomPrefixAccepted", *expected)
    assert all(word in told.message for word in words)
    assert "shorter" not in told.message


@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        (NAMESPACE, "Rooms without a MeetingRoom, whatever their names without a /, get an agent."),
        ("guests", "Rooms without a MeetingRoom whose names begin with guests/ get an agent."),
    ],
)
def test_that_every_room_is_served_is_told(namespace: str, words: str) -> None:
    others = [Prefix((namespace, "phones"), "phone-", NEW), Prefix(("third", "other"), "x", NEW)]
    [told] = describe(models.pool(namespace, roomPrefix="", **THERE), others)
    assert told.message == f"{words} Those that begin with phone- are VoiceAgentPool phones's."


def test_a_pool_without_a_prefix_says_nothing_of_it() -> None:
    assert describe(models.pool(), [Prefix(DESK, "phone-", OLD)]) == []
