"""Which servers start, serve, wait and leave."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator.servers.decisions.rollout import (
    ADDRESS_PATIENCE,
    FORCED_GRACE_SECONDS,
    Leave,
    ServerPod,
    Steps,
    Way,
    give_way,
    next_steps,
    one_to_ask,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMEOUT = timedelta(hours=1)
DEADLINE = NOW + TIMEOUT


def pod(slot: int, **fields: Any) -> ServerPod:
    """Return a server that runs and serves nobody."""
    given = {"ready": True, "serving": True, "rooms": 0, "participants": 0, **fields}
    return ServerPod(f"voice-livekit-{slot}", slot, NOW, **given)


def old(slot: int, **fields: Any) -> ServerPod:
    """Return the same of an older version."""
    return pod(slot, current=False, **fields)


def starting(slot: int, **fields: Any) -> ServerPod:
    return pod(slot, **{"ready": False, "serving": False, "rooms": None, "participants": None, **fields})


def homeless(slot: int) -> ServerPod:
    return starting(slot, stuck=True, unschedulable=True)


BUSY = {"rooms": 1, "participants": 2}


def decide(*pods: ServerPod, replicas: int = 1, shared: bool = False, after: timedelta = timedelta()) -> Steps:
    return next_steps(pods, replicas=replicas, shared=shared, drain_timeout=TIMEOUT, now=NOW + after)


def name(slot: int) -> str:
    return f"voice-livekit-{slot}"


def leave(*slots: int, grace: int | None = None) -> tuple[Leave, ...]:
    return tuple(Leave(name(slot), grace) for slot in slots)


ALONE = [
    pytest.param([], 1, Steps(start=(0,)), id="the first"),
    pytest.param([starting(0)], 1, Steps(), id="on its way"),
    pytest.param([pod(0, serving=False)], 1, Steps(serve=(name(0),)), id="ready, and led to"),
    pytest.param([pod(0)], 1, Steps(), id="at rest"),
    pytest.param([pod(0, **BUSY)], 0, Steps(leave=leave(0)), id="to zero, it drains"),
    pytest.param([old(0)], 1, Steps(start=(1,)), id="a new version starts beside the old one"),
    pytest.param([old(0), starting(1)], 1, Steps(), id="the new one starts"),
    pytest.param(
        [old(0), pod(1, serving=False)],
        1,
        Steps(serve=(name(1),), withdraw=(name(0),), leave=leave(0)),
        id="handed over when nobody is on the old one",
    ),
    pytest.param(
        [old(0, **BUSY), pod(1, serving=False)],
        1,
        Steps(waits_for=(name(0),), deadline=DEADLINE),
        id="not while somebody is",
    ),
    pytest.param(
        [old(0, **BUSY), homeless(1)], 1, Steps(waits_for=(name(0),), deadline=DEADLINE), id="nor for its ports"
    ),
    pytest.param([old(0), homeless(1)], 1, Steps(leave=leave(0)), id="its ports are free when it is empty"),
    pytest.param(
        [old(0, ready=False, stuck=True)], 1, Steps(start=(1,), leave=leave(0)), id="one that fails is replaced"
    ),
    pytest.param(
        [pod(0, leaving=True, **BUSY)], 1, Steps(start=(1,)), id="one that is evicted is replaced while it drains"
    ),
    pytest.param(
        [pod(0, leaving=True, deserted=True)],
        0,
        Steps(leave=leave(0, grace=FORCED_GRACE_SECONDS)),
        id="with the last caller it ends",
    ),
    pytest.param([pod(0, leaving=True)], 0, Steps(), id="one look without callers is not enough"),
    pytest.param([pod(0, leaving=True, deserted=True, hurried=True)], 0, Steps(), id="told so once"),
    pytest.param([pod(0, cordoned=True), homeless(1)], 1, Steps(), id="without another node it stays"),
    pytest.param([pod(0, cordoned=True, **BUSY), homeless(1)], 1, Steps(), id="with calls too"),
    pytest.param([pod(0, finished=True)], 1, Steps(start=(1,), leave=leave(0)), id="what ended is removed"),
    pytest.param([pod(0, cordoned=True)], 1, Steps(start=(1,)), id="moved off a node that is to be emptied"),
    pytest.param(
        [pod(0, cordoned=True, **BUSY), pod(1, serving=False)],
        1,
        Steps(waits_for=(name(0),), deadline=DEADLINE),
        id="when its rooms are empty",
    ),
    pytest.param(
        [old(0, unreachable=True, participants=None), pod(1, serving=False)],
        1,
        Steps(serve=(name(1),), withdraw=(name(0),), leave=leave(0)),
        id="one that does not answer is not waited for",
    ),
]


@pytest.mark.parametrize(("pods", "replicas", "expected"), ALONE)
def test_a_server_without_redis(pods: list[ServerPod], replicas: int, expected: Steps) -> None:
    assert decide(*pods, replicas=replicas) == expected


def test_when_its_time_is_over_whoever_is_left_is_disconnected() -> None:
    decided = decide(old(0, **BUSY), pod(1, serving=False), after=TIMEOUT)
    assert decided == Steps(serve=(name(1),), withdraw=(name(0),), leave=leave(0, grace=FORCED_GRACE_SECONDS))
    assert decide(old(0, **BUSY), homeless(1), after=TIMEOUT).leave == leave(0, grace=FORCED_GRACE_SECONDS)


THREE = [pod(0), pod(1), pod(2)]
OLD = [old(0, **BUSY), old(1), old(2, **BUSY)]

SHARED = [
    pytest.param(
        [old(0, shared=False, **BUSY), pod(1, serving=False)],
        2,
        Steps(start=(2,), waits_for=(name(0),), deadline=DEADLINE),
        id="Redis comes: the one without it is handed over",
    ),
    pytest.param([pod(0, cordoned=True), homeless(1)], 2, Steps(), id="without another node both stay"),
    pytest.param(
        [pod(0, unreachable=True, participants=None), pod(1, unreachable=True, participants=None)],
        2,
        Steps(),
        id="if none answers the operator may be the one that is cut off",
    ),
    pytest.param([], 3, Steps(start=(0, 1, 2)), id="all at once"),
    pytest.param(THREE, 3, Steps(), id="at rest"),
    pytest.param(THREE, 4, Steps(start=(3,)), id="one more"),
    pytest.param([pod(0, **BUSY), pod(1), pod(2, **BUSY)], 2, Steps(leave=leave(1)), id="one fewer: the emptiest"),
    pytest.param([*THREE, starting(3)], 3, Steps(leave=leave(3)), id="rather one that has not started"),
    pytest.param(OLD, 3, Steps(start=(3,)), id="a new version starts one more"),
    pytest.param([*OLD, starting(3)], 3, Steps(), id="and waits for it"),
    pytest.param([*OLD, pod(3)], 3, Steps(leave=leave(1)), id="then the emptiest drains"),
    pytest.param(
        [old(0, **BUSY), old(1, leaving=True, hurried=True), old(2, **BUSY), pod(3)],
        3,
        Steps(start=(4,)),
        id="and so on",
    ),
    pytest.param([*OLD, homeless(3)], 3, Steps(leave=leave(1)), id="without a place for it, one makes room"),
    pytest.param(
        [old(0), old(1, leaving=True, **BUSY), old(2), homeless(3)],
        3,
        Steps(),
        id="one at a time, however long it drains",
    ),
    pytest.param(
        [old(0, **BUSY), homeless(1)], 1, Steps(waits_for=(name(0),), deadline=DEADLINE), id="the only one waits"
    ),
    pytest.param(
        [pod(0), pod(1, unreachable=True, participants=None)],
        2,
        Steps(withdraw=(name(1),)),
        id="a lost one gets nobody",
    ),
    pytest.param([pod(0), pod(1, serving=False)], 2, Steps(serve=(name(1),)), id="and somebody when it is back"),
    pytest.param([old(0), old(1), pod(2, cordoned=True)], 3, Steps(start=(3,)), id="cordoned counts as old"),
]


@pytest.mark.parametrize(("pods", "replicas", "expected"), SHARED)
def test_servers_that_share_their_rooms(pods: list[ServerPod], replicas: int, expected: Steps) -> None:
    assert decide(*pods, replicas=replicas, shared=True) == expected


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("seed", range(200))
def test_any_start_comes_to_rest_without_disconnecting_anybody(shared: bool, seed: int) -> None:
    """Follow random servers to the end: no busy one is forced, enough serve, and all are as wanted."""
    chance = random.Random(seed)
    replicas = chance.randint(1, 4) if shared else 1
    count = chance.randint(0, 4) if shared else chance.randint(0, 1)
    places = chance.choice([replicas, replicas + 1, 9])
    pods = [old(slot, participants=chance.choice([0, 3])) for slot in range(count)]
    for step in range(200):
        decided = decide(*pods, replicas=replicas, shared=shared)
        assert all(item.grace_seconds is None or _find(pods, item.name).idle for item in decided.leave)
        before = sum(p.up and p.serving for p in pods if not p.leaving)
        for item in decided.leave:
            victim = _find(pods, item.name)
            pods = [replace(p, leaving=True, hurried=bool(item.grace_seconds)) if p is victim else p for p in pods]
        pods = [replace(p, serving=True) if p.name in decided.serve else p for p in pods]
        pods = [replace(p, serving=False) if p.name in decided.withdraw else p for p in pods]
        assert len({p.slot for p in pods} | set(decided.start)) == len(pods) + len(decided.start), "a slot taken twice"
        pods += [starting(slot, serving=shared) for slot in decided.start]
        after = sum(p.up and p.serving for p in pods if not p.leaving)
        if before and places > replicas:
            assert after >= min(before, replicas if shared else 1), "fewer serve than before"
        pods = _world(pods, places, step)
        if not decided.start and not decided.leave and all(p.current and p.serving for p in pods):
            break
    assert len(pods) == replicas
    assert all(p.current and p.up and p.serving for p in pods)


LOST = {"unreachable": True, "participants": None}

ASKED = [
    pytest.param([pod(0), pod(1)], False, None, id="all are there: any"),
    pytest.param([pod(0, **LOST), pod(1), pod(2)], False, 1, id="one is lost: the first of the others"),
    pytest.param([pod(0, **LOST), pod(1, **LOST)], False, None, id="all are lost: whoever comes back"),
    pytest.param([starting(0), pod(1)], False, None, id="one starts"),
    pytest.param([starting(0), pod(1)], True, 1, id="the lost one is missed by Kubernetes, too, and not yet back"),
    pytest.param([pod(0), pod(1)], True, None, id="all are back"),
    pytest.param([pod(0, **LOST), pod(1, serving=False)], False, None, id="one that serves nobody yet is not asked"),
    pytest.param([pod(0, **LOST), pod(1, leaving=True), pod(2)], False, 2, id="nor one that leaves"),
    pytest.param([pod(0), pod(1, leaving=True, **LOST)], False, None, id="a lost one that was let go is in no Service"),
    pytest.param([old(0, shared=False), pod(1, serving=False, **LOST)], False, None, id="a world of its own"),
]


@pytest.mark.parametrize(("pods", "already", "expected"), ASKED)
def test_while_a_server_is_lost_another_one_is_asked_itself(
    pods: list[ServerPod], already: bool, expected: int | None
) -> None:
    assert one_to_ask(pods, already=already) == (None if expected is None else name(expected))


def _find(pods: list[ServerPod], wanted: str) -> ServerPod:
    return next(p for p in pods if p.name == wanted)


def _world(pods: list[ServerPod], places: int, step: int) -> list[ServerPod]:
    """Let what leaves end when it is empty, callers go after a while, and what starts find a place or not."""
    if step % 5 == 4:
        pods = [replace(p, participants=0) if p.participants else p for p in pods]
    pods = [p for p in pods if not (p.leaving and p.idle)]
    placed = [p for p in pods if p.ready]
    moved = []
    for p in pods:
        if p.ready or len(placed) >= places:
            moved.append(p if p.ready else replace(p, stuck=True, unschedulable=True))
            continue
        placed.append(p)
        moved.append(replace(p, ready=True, stuck=False, unschedulable=False, participants=0, rooms=0))
    return moved


@pytest.mark.parametrize(
    ("pods", "after", "expected"),
    [
        pytest.param([], timedelta(), Way(), id="the first waits"),
        pytest.param([pod(0)], timedelta(), Way(), id="one of the same version has what it needs"),
        pytest.param([old(0)], timedelta(), Way(yields=leave(0)), id="an empty older one goes"),
        pytest.param([old(0, leaving=True)], timedelta(), Way(), id="it is going"),
        pytest.param([old(0, **BUSY)], timedelta(), Way(waits_for=(name(0),), deadline=DEADLINE), id="its rooms stay"),
        pytest.param(
            [old(0, **BUSY)], TIMEOUT, Way(yields=leave(0, grace=FORCED_GRACE_SECONDS)), id="its time is over"
        ),
        pytest.param([old(0, **BUSY), old(1)], timedelta(), Way(yields=leave(1)), id="the emptier of two"),
        pytest.param([old(0, **BUSY), pod(1)], timedelta(), Way(yields=leave(0)), id="another one serves meanwhile"),
    ],
)
def test_an_older_server_gives_way_to_one_without_an_address(
    pods: list[ServerPod], after: timedelta, expected: Way
) -> None:
    assert give_way(pods, since=NOW, drain_timeout=TIMEOUT, now=NOW + after) == expected


BEHIND_A_LOAD_BALANCER = [
    pytest.param([old(0)], {1: NOW}, Steps(start=(1,), yields=leave(0)), id="the older one has the address"),
    pytest.param([old(0)], {1: NOW + timedelta(seconds=1)}, Steps(start=(1,)), id="the cloud may yet give one"),
    pytest.param([old(0)], {0: NOW}, Steps(start=(1,)), id="the new one has its own"),
    pytest.param(
        [old(0, **BUSY)],
        {1: NOW},
        Steps(start=(1,), waits_for=(name(0),), deadline=DEADLINE),
        id="not while somebody is on it",
    ),
    pytest.param(
        [old(0), old(1, finished=True)], {2: NOW}, Steps(start=(2,), leave=leave(1)), id="another one leaves anyway"
    ),
]


@pytest.mark.parametrize(("pods", "unaddressed", "expected"), BEHIND_A_LOAD_BALANCER)
def test_behind_a_load_balancer(pods: list[ServerPod], unaddressed: dict[int, datetime], expected: Steps) -> None:
    now = NOW + ADDRESS_PATIENCE
    decided = next_steps(pods, replicas=1, shared=False, drain_timeout=TIMEOUT, now=now, unaddressed=unaddressed)
    assert decided == expected


def test_servers_that_hang_leave_at_once_and_once() -> None:
    hung = starting(0, current=False)
    decided = next_steps([hung, pod(1)], replicas=1, shared=True, drain_timeout=TIMEOUT, now=NOW, hung=[hung.name])
    assert decided == Steps(leave=leave(0, grace=FORCED_GRACE_SECONDS))
