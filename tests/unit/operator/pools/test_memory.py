"""What is known of a pool between passes: lost calls, places and whose they are, and who waits."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from livekit_operator.pools.memory import Free, PoolMemory, PoolsMemory, SeenPod, forget
from livekit_operator.pools.told import Counts
from livekit_operator.views import WorkerJob, WorkerStatus
from tests.unit.operator.pools.decisions.rollout_values import START as NOW

ROOM, OTHER, LAST = ("team", "a"), ("team", "b"), ("team", "c")
GUESTS = [("guests", str(number)) for number in range(20)]


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def pod(
    *jobs: str, run: str = "1", leaving: bool = False, ended: bool = False, started: int = 0, answers: bool = True
) -> SeenPod:
    """Return a pod that holds these calls, each in the room of its name."""
    held = tuple(WorkerJob(job, f"room-{job}") for job in jobs)
    status = WorkerStatus(True, len(held), jobs=held, started=started, failed=1 if started else 0)
    return SeenPod("new", leaving, run, ended, status if answers else None)


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        pytest.param(pod("1"), {"a": pod("1")}, [], id="it goes on"),
        pytest.param(pod("1"), {"a": pod()}, ["1"], id="its process died, or it ended"),
        pytest.param(pod("1"), {}, ["1"], id="its pod is gone"),
        pytest.param(pod("1"), {"a": pod(run="2")}, ["1"], id="its worker started anew"),
        pytest.param(pod("1"), {"a": pod("1", run="2")}, [], id="which has it again"),
        pytest.param(pod("1", "2"), {"a": pod("1", ended=True, answers=False)}, ["1", "2"], id="its worker has ended"),
        pytest.param(pod("1"), {"a": pod(answers=False)}, [], id="its worker says nothing"),
        pytest.param(pod("1"), {"a": pod(), "b": pod("1")}, [], id="another worker has it"),
        pytest.param(pod(answers=False), {}, [], id="nobody knew of it"),
    ],
)
def test_which_calls_were_lost(before: SeenPod, after: Mapping[str, SeenPod], lost: list[str]) -> None:
    memory = PoolMemory()
    assert memory.see({"a": before}, NOW) == set()
    assert memory.see(after, NOW) == {f"room-{job}" for job in lost}
    assert memory.lost == dict.fromkeys(lost, NOW)


def test_a_lost_call_is_remembered_for_a_while_and_forgotten_when_a_worker_has_it() -> None:
    memory = PoolMemory()
    memory.see({"a": pod("1", "2")}, NOW)
    memory.see({}, NOW)
    memory.see({"b": pod("2")}, NOW + seconds(299))
    assert list(memory.lost) == ["1"]
    memory.see({}, NOW + seconds(300))
    assert list(memory.lost) == ["2"]


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        pytest.param(pod("1", started=5), {"a": pod(run="2")}, (5, 2), id="its call died with it"),
        pytest.param(pod("1", started=5), {}, (5, 2), id="as it went"),
        pytest.param(pod("1", started=5, leaving=True), {}, (5, 1), id="it was told to leave"),
        pytest.param(pod("1", started=5, ended=True), {}, None, id="it was counted before"),
        pytest.param(pod("1", started=5), {"a": pod(started=6)}, None, id="it goes on"),
    ],
)
def test_what_a_worker_that_is_gone_counted(
    before: SeenPod, after: Mapping[str, SeenPod], gone: tuple[int, int] | None
) -> None:
    memory = PoolMemory()
    memory.see({"a": before}, NOW)
    memory.see(after, NOW)
    assert memory.gone == ({"new": gone} if gone else {})


def test_who_is_heard() -> None:
    status = WorkerStatus(True, 0)
    heard = [
        SeenPod("new", False, "1", False, said, missed=missed).heard for said, missed in ((status, 1), (status, 2))
    ]
    assert [*heard, SeenPod("new", False, "1", False, None).heard] == [True, False, False]


def test_a_place_is_kept_for_who_was_promised_it() -> None:
    memory = PoolMemory(stable=Free("", 1))
    assert memory.has_place(ROOM)
    assert memory.promise(ROOM, "a", "", NOW) is None
    assert memory.has_place(ROOM), "its own"
    assert not memory.has_place(OTHER)
    before = memory.promise(ROOM, "a", "", NOW + seconds(1))
    memory.take_back(ROOM, before)
    assert memory.promised == {ROOM: ("a", "", NOW)}
    memory.take_back(ROOM, None)
    assert memory.has_place(OTHER)


@pytest.mark.parametrize(
    ("deployment", "canary", "expected"),
    [
        ("", None, True),
        ("canary-b", None, False),
        ("canary-b", Free("canary-b", 1), True),
        ("canary-b", Free("canary-b", 0), False),
        ("canary-b", Free("canary-c", 1), False),
    ],
)
def test_places_of_a_canary_are_its_own(deployment: str, canary: Free | None, expected: bool) -> None:
    memory = PoolMemory(stable=Free("", 1), canary=canary)
    memory.promise(OTHER, "b", "canary-c", NOW)
    assert memory.has_place(ROOM, deployment) is expected


@pytest.mark.parametrize(
    ("seconds_later", "taken", "kept"), [(4, set(), True), (5, set(), False), (1, {"1"}, False), (1, {"2"}, True)]
)
def test_a_promise_ends_when_it_is_kept_or_comes_to_nothing(seconds_later: float, taken: set[str], kept: bool) -> None:
    memory = PoolMemory()
    memory.promise(ROOM, "room-1", "", NOW)
    memory.see({"a": pod(*taken)}, NOW + seconds(seconds_later))
    assert (ROOM in memory.promised) is kept


def test_namespaces_that_share_a_pool_have_their_shares() -> None:
    memory = PoolMemory("team", shared=True, stable=Free("", 4))
    for room in GUESTS[:4]:
        memory.has_joined(room, room[1], frozenset({"agent"}))
        memory.wait((f"others-{room[1]}", "a"), NOW)
    guest, own = GUESTS[5], ROOM
    assert (memory.has_place(guest), memory.share_is_reached(guest)) == (False, True)
    assert (memory.has_place(own), memory.share_is_reached(own)) == (True, False)
    memory.shared = False
    assert memory.has_place(guest), "where rooms of others may not call, nobody's share counts"
    memory.shared, memory.stable = True, Free("", 0)
    assert not memory.share_is_reached(guest), "there is no place at all"


@pytest.mark.parametrize(("room", "namespace"), [(("guests", "a"), "guests"), (("team/voice", "a"), "home")])
def test_a_room_that_nothing_declares_is_the_pools_own(room: tuple[str, str], namespace: str) -> None:
    assert PoolMemory("home").namespace_of(room) == namespace


def test_who_waits_longest_is_next_as_far_as_places_go() -> None:
    memory = PoolMemory(stable=Free("", 2))
    for number, room in enumerate((OTHER, ROOM, LAST)):
        memory.wait(room, NOW + seconds(number))
    assert memory.next_in_line() == [OTHER, ROOM]
    memory.promise(("team", "d"), "d", "", NOW)
    assert memory.next_in_line() == [OTHER]
    memory.offer_nothing()
    assert memory.next_in_line() == []
    assert (memory.stable, memory.canary) == (Free("", 0), None)


def test_how_many_were_wanted_lately() -> None:
    memory = PoolMemory()
    assert memory.recent(NOW, 3, 60) == [(NOW, 3)], "an operator that starts takes what is there"
    memory.want(5, memory.recent(NOW, 3, 60), NOW)
    memory.want(2, memory.recent(NOW, 9, 60), NOW + seconds(30))
    assert sorted(memory.recent(NOW + seconds(59), 9, 60)) == [(NOW, 3), (NOW, 5), (NOW + seconds(30), 2)]
    assert memory.recent(NOW + seconds(60), 9, 60) == [(NOW + seconds(30), 2)]
    memory.want(2, memory.recent(NOW + seconds(60), 9, 60), NOW + seconds(60))
    assert memory.wanted == {2: NOW + seconds(60)}


def test_who_needs_a_place() -> None:
    memory = PoolMemory()
    assert memory.wait(ROOM, NOW)
    assert not memory.wait(ROOM, NOW + seconds(1))
    assert memory.waiting == {ROOM: NOW}, "since when it waits stays"
    memory.promise(OTHER, "b", "", NOW)
    memory.promise(LAST, "c", "canary-b", NOW)
    assert memory.needs_place() == 2, "a canary has places of its own"
    memory.asked(ROOM, again=False, now=NOW)
    assert (memory.waiting, memory.unanswered) == ({}, {})
    memory.asked(ROOM, again=True, now=NOW)
    memory.asked(ROOM, again=True, now=NOW + seconds(1))
    assert memory.unanswered == {ROOM: NOW}
    assert memory.needs_place() == 2
    assert memory.rooms == {ROOM, OTHER, LAST}
    memory.wait(ROOM, NOW)
    memory.wait(OTHER, NOW)
    assert (memory.unanswered, list(memory.promised)) == ({}, [LAST]), "who waits is promised nothing"
    for room in (ROOM, OTHER, LAST):
        memory.release(room)
    assert (memory.rooms, memory.needs_place()) == (set(), 0)


def test_a_room_whose_agent_no_worker_knows_is_woken_ever_more_seldom() -> None:
    memory = PoolMemory()
    memory.see({"a": pod("1")}, NOW)
    memory.wait(OTHER, NOW)
    memory.has_joined(ROOM, "room-1", frozenset({"agent"}))
    memory.has_joined(OTHER, "room-2", frozenset({"agent"}))
    assert memory.waiting == {}
    woken = []
    for number in range(1, 31):
        memory.has_joined(OTHER, "room-2", frozenset({"agent"}))  # the same is no news
        if found := memory.missed():
            assert found == {OTHER}
            woken.append(number)
    assert woken == [2, 5, 10, 20]
    memory.has_joined(OTHER, "room-2", frozenset({"another"}))
    assert [memory.missed() for _ in range(2)] == [set(), {OTHER}]


def test_what_is_counted() -> None:
    memory = PoolMemory(stable=Free("", 2), gone={"new": (3, 1)})
    assert memory.count() == Counts(free=2, waiting=0, unconnected=0, unanswered=None, gone={"new": (3, 1)})
    memory.canary = Free("canary-b", 3)
    memory.wait(ROOM, NOW)
    memory.unconnected[OTHER] = NOW
    memory.asked(OTHER, again=True, now=NOW + seconds(1))
    memory.asked(LAST, again=True, now=NOW)
    assert memory.count() == Counts(free=5, waiting=1, unconnected=1, unanswered=NOW, gone={"new": (3, 1)})


async def test_a_pool_has_one_memory_until_it_is_gone() -> None:
    memory = PoolsMemory()
    pool = memory.pool_memory(("team", "front-desk"))
    assert memory.pool_memory(("team", "front-desk")) is pool
    assert pool.namespace == "team"
    await forget(memory, ("team", "front-desk"))
    await forget(memory, ("team", "front-desk"))
    assert memory.pools == {}


def test_what_a_workers_jobs_are_for_is_known_when_no_pod_is_there() -> None:
    memory = PoolMemory()
    for pods, publishers in (({"a": WorkerStatus(True, 0, publishers=True)}, True), ({}, True)):
        memory.see({uid: SeenPod("r", False, "0/a", False, status) for uid, status in pods.items()}, NOW)
        assert memory.publishers is publishers
    memory.see({"b": SeenPod("r", False, "0/b", False, WorkerStatus(True, 0))}, NOW)
    assert not memory.publishers
