"""Who leads works: on servers first, and on everything again when the clock was moved."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from livekit_operator.engine.cache import Key
from livekit_operator.metrics import Metrics
from livekit_operator.process.leader import Leader
from livekit_operator.process.wiring import TABLE
from livekit_operator.reconciling.foreign_secrets import read_secret
from livekit_operator.rooms.context import Context
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.world import World
from tests.unit.operator.process.operators import QUIET, Operator


async def test_what_is_due_is_done_when_the_clock_was_moved() -> None:
    """A machine that sleeps stops the clock that timers go by, not the one that tokens go by."""
    world = World()
    settings = QUIET.model_copy(update={"clock_look_seconds": 0.01})
    async with running(world.kubernetes, world.worker, world.livekit.connect, settings) as runtime:
        runtime.context.now = world.clock
        operator = Operator(world, runtime)
        await operator.with_server()
        lives = {"hours": 6 * 3600, "days": 6 * 86400}
        tokens = [{"identity": identity, "ttlSeconds": seconds} for identity, seconds in lives.items()]
        world.kubernetes.put(manifests.room(tokens=tokens))
        await operator.ready("MeetingRoom", "support-42")
        before = _tokens(world, *lives)
        world.clock.advance(4 * 3600)
        await eventually(lambda: _tokens(world, "hours") != before[:1], "the renewal")
        assert _tokens(world, "days") == before[1:]


async def test_a_secret_of_somebody_elses_is_read_again_when_the_clock_was_set_back() -> None:
    world, looks = World(), Counter[str]()
    settings = QUIET.model_copy(update={"clock_look_seconds": 0.01})

    def ahead() -> datetime:
        looks["ahead"] += 1
        return world.clock() + timedelta(hours=9)

    async with running(world.kubernetes, world.worker, world.livekit.connect, settings) as runtime:
        runtime.context.now = ahead
        await eventually(lambda: looks["ahead"] >= 10, "the operator to look at the clock")
        world.kubernetes.put(manifests.providers_secret())
        assert await read_secret(runtime.context, (NAMESPACE, "providers"))
        world.kubernetes.vanish("Secret", NAMESPACE, "providers")
        runtime.context.now = world.clock
        await eventually(lambda: runtime.context.foreign_secrets == {}, "what was read to be forgotten")
        assert await read_secret(runtime.context, (NAMESPACE, "providers")) is None


def _tokens(world: World, *identities: str) -> list[str]:
    return [decoded(world.get("Secret", f"support-42-{identity}"))["token"] for identity in identities]


async def test_servers_come_before_what_waits_for_them() -> None:
    world = World()
    await world.with_server()
    for number in range(20):
        world.kubernetes.put(manifests.room(f"room-{number}"))
    await world.settle()
    metrics = Metrics()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET, metrics):
        await eventually(lambda: _passes(metrics) >= 20)
        assert _passes(metrics) == 20, "rooms were looked at before their server, in vain"


def _passes(metrics: Metrics) -> float:
    labels = {"kind": "MeetingRoom", "result": "ok"}
    return metrics.registry.get_sample_value("livekit_operator_reconcile_total", labels) or 0.0


SERVER, ROOM = ("LiveKitServer", (NAMESPACE, "voice")), ("MeetingRoom", (NAMESPACE, "support-42"))


def a_leader(reconcile: Callable[[str, Key], Awaitable[None]]) -> Leader:
    """Return who is to lead beside a server and a room, whose passes are these."""

    async def one_pass(kind: str, _context: Context, key: Key) -> float | None:
        await reconcile(kind, key)
        return 3600

    world = World()
    world.kubernetes.put(manifests.server())
    world.kubernetes.put(manifests.room())
    table = {kind: replace(row, reconcile=partial(one_pass, kind)) for kind, row in TABLE.items()}
    return Leader(world.context, table)


async def test_what_wakes_a_key_while_nobody_leads_is_dropped() -> None:
    done: list[tuple[str, Key]] = []

    async def note(kind: str, key: Key) -> None:
        for _ in range(20 if kind == "LiveKitServer" else 0):
            await asyncio.sleep(0)  # others could overtake it
        done.append((kind, key))

    leader = a_leader(note)
    gone = ("MeetingRoom", (NAMESPACE, "gone-since"))
    leader.wake(*gone)
    await leader.start()
    assert [leader.leading] == [True]
    await eventually(lambda: len(done) == 2, "a pass of everything")
    assert done == [SERVER, ROOM]
    leader.wake(*ROOM)
    await eventually(lambda: len(done) == 3, "the pass of what was woken")
    await leader.stop()
    assert [leader.leading] == [False]
    leader.wake(*ROOM)
    queues = [vars(controller.queue) for controller in leader.controllers.values()]
    assert [(queue["_queued"], queue["_due"]) for queue in queues] == [(set(), {})] * len(queues)
    assert (leader.failed, done[2:]) == (False, [ROOM])


async def test_servers_that_hang_keep_the_others_waiting_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livekit_operator.process.leader._SERVERS_FIRST_SECONDS", 0.01)
    done: list[str] = []

    async def hang(kind: str, _key: Key) -> None:
        if kind == "LiveKitServer":
            await asyncio.Event().wait()
        done.append(kind)

    leader = a_leader(hang)
    await asyncio.wait_for(leader.start(), 10)
    await eventually(lambda: done == ["MeetingRoom"], "the room")
    await leader.stop()


async def test_what_is_gone_is_due_no_more() -> None:
    done: list[tuple[str, Key]] = []

    async def note(kind: str, key: Key) -> None:
        done.append((kind, key))

    leader = a_leader(note)
    await leader.start()
    await eventually(lambda: len(done) == 2, "a pass of everything")
    due = vars(leader.controllers["MeetingRoom"].queue)["_due"]
    await eventually(lambda: list(due) == [ROOM[1]], "the next pass to be set")
    leader.drop(*ROOM)
    assert due == {}
    await leader.stop()
