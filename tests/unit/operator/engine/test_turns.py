"""Namespaces and servers take turns, and none of them keeps more workers than its share."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.engine.controller import Controller, share_of
from livekit_operator.engine.turns import Line, Share, Turns
from livekit_operator.metrics import Metrics
from tests.fakes.waiting import eventually

Key = tuple[str, str, str]  # namespace, server, name


def line_of(key: Key) -> Line:
    return Line(key[0], key[1])


def keys(namespace: str, server: str, number: int) -> list[Key]:
    return [(namespace, server, f"{n:04}") for n in range(number)]


def filled(share: Share, *given: Sequence[Key]) -> Turns[Key]:
    turns = Turns(line_of, share)
    for some in given:
        for key in some:
            turns.put(key)
    return turns


def taken(turns: Turns[Key], most: int = 10_000) -> list[Key]:
    found: list[Key] = []
    while len(found) < most and (key := turns.take()) is not None:
        found.append(key)
    return found


def test_one_line_goes_in_order() -> None:
    assert taken(filled(Share(99, 99), keys("a", "s", 5))) == keys("a", "s", 5)


def test_namespaces_take_turns_however_much_one_has() -> None:
    turns = filled(Share(99, 99), keys("mallory", "m", 50), keys("alice", "s", 2), keys("bob", "s", 2))
    assert [key[0] for key in taken(turns, 6)] == ["mallory", "alice", "bob", "mallory", "alice", "bob"]


def test_in_a_namespace_servers_take_turns() -> None:
    turns = filled(Share(99, 99), keys("a", "s", 9), keys("a", "t", 9))
    assert [key[1] for key in taken(turns, 4)] == ["s", "t", "s", "t"]


def test_a_server_keeps_its_share_of_workers_whoever_refers_to_it() -> None:
    turns = filled(Share(99, 2), keys("a", "hangs", 9), keys("b", "hangs", 9), keys("b", "well", 3))
    assert sorted(key[1] for key in taken(turns)) == ["hangs", "hangs", "well", "well"]
    turns.done(("b", "well", "0000"))
    assert taken(turns) == [("b", "well", "0002")]
    turns.done(("a", "hangs", "0000"))
    assert [key[1] for key in taken(turns)] == ["hangs"]


def test_a_namespace_keeps_its_share_of_workers_however_many_servers_it_has() -> None:
    turns = filled(Share(3, 2), *(keys("mallory", f"m{n}", 5) for n in range(20)), keys("alice", "s", 1))
    assert Counter(key[0] for key in taken(turns)) == {"mallory": 3, "alice": 1}


def test_a_line_that_waits_for_its_server_does_not_keep_others_waiting_when_that_is_free_again() -> None:
    """Two lines wait for one server; the first one's namespace has no worker left, so the second one goes."""
    turns = filled(Share(1, 1), [("x", "s", "1")])
    first = taken(turns)
    turns.put(("a", "other", "1"))
    assert taken(turns) == [("a", "other", "1")]  # now a may have no more
    turns.put(("a", "s", "2"))
    turns.put(("b", "s", "3"))
    assert taken(turns) == []
    turns.done(first[0])
    assert taken(turns) == [("b", "s", "3")]


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["put", "take", "done"]), st.integers(0, 40)), max_size=200),
)
def test_nobody_has_more_than_a_share_nothing_is_lost_and_nobody_waits_for_nothing(
    of_namespace: int, of_server: int, steps: list[tuple[str, int]]
) -> None:
    turns, ready, busy = Turns(line_of, Share(of_namespace, of_server)), set[Key](), list[Key]()

    def may_go() -> set[Key]:
        namespaces, servers = Counter(key[0] for key in busy), Counter(key[1] for key in busy)
        return {key for key in ready if namespaces[key[0]] < of_namespace and servers[key[1]] < of_server}

    for step, number in steps:
        key = ("abc"[number % 3], "stu"[number // 3 % 3], str(number // 9))
        if step == "put" and key not in ready and key not in busy:
            turns.put(key)
            ready.add(key)
        elif step == "take":
            allowed, found = may_go(), turns.take()
            assert (found in allowed) if allowed else found is None
            if found is not None:
                ready.discard(found)
                busy.append(found)
        elif step == "done" and busy:
            turns.done(busy.pop(number % len(busy)))
    while ready or busy:
        if (found := turns.take()) is not None:
            ready.discard(found)
            busy.append(found)
        else:
            assert busy, f"{ready} wait for nothing"
            turns.done(busy.pop())


def test_finding_the_next_key_takes_no_longer_beside_thousands_that_wait() -> None:
    crowd = [(f"ns-{n}", "hangs", "room") for n in range(5000)]
    turns = filled(Share(32, 2), crowd, keys("alice", "well", 5000))
    began = time.process_time()
    for _ in range(5000):
        key = turns.take()
        assert key is not None
        if key[1] == "well":
            turns.done(key)
    assert time.process_time() - began < 1.0


async def test_others_wait_no_longer_beside_a_server_that_hangs() -> None:
    """A thousand rooms of a server that hangs come before another one's, whose passes take as long as alone."""

    async def measure(hanging: int) -> list[float]:
        began: dict[Key, float] = {}
        seconds: list[float] = []

        async def reconcile(key: tuple[str, str]) -> None:
            if key[1].startswith("hangs"):
                await asyncio.sleep(0.5)
                return
            await asyncio.sleep(0.002)
            seconds.append(time.monotonic() - began[("", *key)])

        controller = Controller(
            "MeetingRoom", reconcile, Metrics(), 32, lambda key: Line(key[0], key[1].partition("/")[0])
        )
        task = asyncio.create_task(controller.run())
        for n in range(hanging):
            controller.queue.add(("mallory", f"hangs/{n}"))
        await asyncio.sleep(0)
        for n in range(40):
            key = ("alice", f"well/{n}")
            began[("", *key)] = time.monotonic()
            controller.queue.add(key)
            await asyncio.sleep(0.005)
        await eventually(lambda: len(seconds) == 40, "all rooms of the other one")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return sorted(seconds)

    alone, beside = await measure(0), await measure(1000)
    assert beside[37] < max(2 * alone[37], 0.1), f"p95 {alone[37]:.3f} s alone, {beside[37]:.3f} s beside"


def test_the_stated_parts() -> None:
    assert [share_of(workers) for workers in (64, 32, 3, 1)] == [Share(32, 16), Share(16, 8), Share(1, 1), Share(1, 1)]
