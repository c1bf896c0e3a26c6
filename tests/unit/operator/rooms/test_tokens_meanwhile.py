"""Token Secrets that change between being looked at and being written."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World
from tests.unit.operator.rooms.entries import ROOM, opened


def meanwhile(world: World, verb: str, act: Callable[[], object]) -> None:
    """Let something happen while the API server or the LiveKit server answers the next request of this kind."""
    fake: Any = world.livekit if hasattr(world.livekit, verb) else world.kubernetes
    ask = getattr(fake, verb)

    async def asked(*values: Any, **named: Any) -> Any:
        setattr(fake, verb, ask)
        act()
        return await ask(*values, **named)

    setattr(fake, verb, asked)


async def test_a_secret_that_somebody_changes_while_another_is_written_is_put_back(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}, {"identity": "bob"}])
    before = decoded(world.get("Secret", "support-42-alice"))
    world.kubernetes.edit("Secret", NAMESPACE, "support-42-bob", {"data": {"room": "eA=="}})
    patch = {"data": {"room": "eQ=="}}
    meanwhile(world, "apply", lambda: world.kubernetes.edit("Secret", NAMESPACE, "support-42-alice", patch))
    await world.reconcile("MeetingRoom", ROOM)
    assert decoded(world.get("Secret", "support-42-alice"))["room"] == "y"
    await world.reconcile("MeetingRoom", ROOM)
    assert decoded(world.get("Secret", "support-42-alice")) == before


async def test_a_token_goes_with_a_secret_that_is_deleted_while_the_room_is_looked_at(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    before = decoded(world.get("Secret", "support-42-alice"))
    world.clock.advance(60)
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": {"metadata": "another"}})
    meanwhile(world, "update_metadata", lambda: world.kubernetes.vanish("Secret", NAMESPACE, "support-42-alice"))
    await world.reconcile("MeetingRoom", ROOM)
    assert decoded(world.get("Secret", "support-42-alice"))["token"] != before["token"]


@pytest.mark.parametrize("spec", [{"tokens": []}, {"tokens": [{"identity": "alice", "secret": {"style": "Env"}}]}])
async def test_a_secret_that_somebody_takes_over_while_the_room_is_looked_at_is_left_alone(
    world: World, spec: dict[str, Any]
) -> None:
    await opened(world, tokens=[{"identity": "alice", "revoke": True}])
    world.livekit.join(ROOM, "alice")
    theirs: list[dict[str, Any]] = []

    def take_over() -> None:
        world.kubernetes.vanish("Secret", NAMESPACE, "support-42-alice")
        theirs.append(world.kubernetes.put(manifests.secret("support-42-alice", mine="yes")))

    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": {"metadata": "another", **spec}})
    meanwhile(world, "update_metadata", take_over)
    await world.reconcile("MeetingRoom", ROOM)
    assert world.get("Secret", "support-42-alice") == theirs[0]
    assert "alice" in world.livekit.rooms[ROOM].participants


@pytest.mark.parametrize("added", [{}, {"metadata": {"ownerReferences": None}}], ids=["its own", "one to adopt"])
async def test_nothing_is_left_over_in_a_secret_that_somebody_changes_while_the_room_is_looked_at(
    world: World, added: dict[str, Any]
) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    before = decoded(world.get("Secret", "support-42-alice"))
    tokens = [{"identity": "alice"}, {"identity": "bob"}]
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": {"metadata": "another", "tokens": tokens}})
    patch = {"data": {"more": "eA=="}, **added}
    meanwhile(world, "update_metadata", lambda: world.kubernetes.edit("Secret", NAMESPACE, "support-42-alice", patch))
    await world.reconcile("MeetingRoom", ROOM)
    assert decoded(world.get("Secret", "support-42-alice")) == {**before, "more": "x"}
    await world.settle()
    assert decoded(world.get("Secret", "support-42-alice")) == before


async def test_nothing_is_left_over_in_a_secret_that_is_adopted(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    before = decoded(world.get("Secret", "support-42-alice"))
    patch = {"metadata": {"ownerReferences": None}, "data": {"more": "eA=="}}
    world.kubernetes.edit("Secret", NAMESPACE, "support-42-alice", patch)
    await world.settle()
    assert decoded(world.get("Secret", "support-42-alice")) == before
