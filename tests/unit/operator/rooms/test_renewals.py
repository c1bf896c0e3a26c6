"""When tokens are renewed, and how many at once."""

from collections import Counter
from datetime import timedelta

from livekit_operator.moments import timestamp
from tests.fakes import manifests
from tests.fakes.manifests import decoded
from tests.fakes.world import World
from tests.unit.operator.rooms.entries import ROOM, claims, opened


async def test_a_token_that_ends_with_its_room_is_not_minted_again_and_again(world: World) -> None:
    """JavaScript writes milliseconds."""
    ends = timestamp(world.clock() + timedelta(hours=1)).replace("Z", ".750Z")
    await opened(world, expiresAt=ends, tokens=[{"identity": "alice"}])
    world.forget()
    again = await world.reconcile("MeetingRoom", ROOM)
    assert again is not None
    assert 3590 < again <= 3601
    assert world.written() == []


async def test_the_next_renewal_is_the_next_look(world: World) -> None:
    await opened(world, tokens=[{"identity": "short", "ttlSeconds": 600}, {"identity": "long"}])
    short, long = (world.get("Secret", f"support-42-{name}") for name in ("short", "long"))
    again = await world.reconcile("MeetingRoom", ROOM)
    assert again is not None
    assert 340 <= again <= 400
    world.clock.advance(again)
    await world.reconcile("MeetingRoom", ROOM)
    assert decoded(world.get("Secret", "support-42-short")) != decoded(short)
    assert world.get("Secret", "support-42-long") == long


async def test_a_wave_of_renewals_is_spread_and_none_is_late(world: World) -> None:
    """1,000 tokens of one moment, each renewed when its room asked to be looked at."""
    await world.with_server()
    names = [f"room-{number}" for number in range(1000)]
    looks: list[tuple[float, str]] = []
    for name in names:
        world.kubernetes.put(manifests.room(name, tokens=[{"identity": "alice", "ttlSeconds": 3600}]))
        looks.append((await world.reconcile("MeetingRoom", name) or 0.0, name))
    made, minutes = world.clock(), Counter[int]()
    for after, name in sorted(looks):
        world.clock.now = made + timedelta(seconds=after)
        before = world.get("Secret", f"{name}-alice")
        await world.reconcile("MeetingRoom", name)
        assert decoded(world.get("Secret", f"{name}-alice")) != decoded(before), "it was looked at in vain"
        minutes[int(after // 60)] += 1
    assert max(after for after, _ in looks) <= 3600 * 2 / 3 + 1
    assert len(minutes) >= 6, "a tenth of an hour"
    assert max(minutes.values()) < len(names) / 4


async def test_tokens_that_expired_while_the_operator_was_down_are_renewed_at_the_first_look(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    world.clock.advance(7 * 86400)
    world.context.kept_tokens.clear()
    await world.reconcile("MeetingRoom", ROOM)
    claimed = claims(world, "support-42-alice")
    assert claimed["exp"] > world.clock().timestamp() + 21000


async def test_tokens_of_a_clock_that_was_ahead_are_made_again_once_it_is_right(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    world.clock.advance(5 * 3600)
    await world.reconcile("MeetingRoom", ROOM)
    assert claims(world, "support-42-alice")["nbf"] > world.clock().timestamp() - 120
    world.clock.advance(-5 * 3600)
    await world.reconcile("MeetingRoom", ROOM)
    assert claims(world, "support-42-alice")["nbf"] <= world.clock().timestamp()
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.written() == []
