"""The calls that a pool's status lists."""

from dataclasses import replace
from datetime import timedelta

import pytest

from livekit_operator.moments import timestamp
from livekit_operator.pools.pods import Pods
from livekit_operator.pools.sessions import list_sessions
from livekit_operator.views import WorkerJob, WorkerStatus
from tests.fakes import models
from tests.fakes.manifests import Manifest
from tests.fakes.world import World
from tests.unit.operator.pools.calls import pool_status
from tests.unit.operator.pools.standings import NOW, pod

POOL = models.pool()
SPOKE = NOW - timedelta(seconds=5)


def holding(*jobs: WorkerJob, name: str = "a") -> Pods:
    return Pods([pod(POOL, name, worker=WorkerStatus(True, len(jobs), jobs=jobs))])


def test_those_that_did_nothing_for_longest_come_first() -> None:
    jobs = [
        WorkerJob("1", "new"),
        WorkerJob("2", "lively", SPOKE - timedelta(seconds=60), "speaking", SPOKE),
        WorkerJob("3", "begun", SPOKE - timedelta(seconds=1)),
        WorkerJob("4", "as lively", SPOKE, last_active=SPOKE),
    ]
    pods = Pods([*holding(*jobs[:2]).every, *holding(*jobs[2:], name="b").every])
    assert [(line.room, line.pod) for line in list_sessions(pods, None, NOW).lines] == [
        ("begun", "b"),
        ("as lively", "b"),
        ("lively", "a"),
        ("new", "a"),
    ]


def test_what_a_line_says() -> None:
    begun = SPOKE - timedelta(seconds=60)
    [line] = list_sessions(holding(WorkerJob("2", "a\nroom", begun, "speaking", SPOKE)), None, NOW).lines
    assert line.model_dump() == {
        "room": "a room",
        "pod": "a",
        "state": "speaking",
        "start_time": timestamp(begun),
        "last_activity_time": timestamp(SPOKE),
    }
    [line] = list_sessions(holding(WorkerJob("2", "quiet", state="")), None, NOW).lines
    assert (line.state, line.start_time, line.last_activity_time) == (None, None, None)


def test_who_says_nothing_has_no_lines() -> None:
    silent = [pod(POOL, "a", worker=None), pod(POOL, "b", worker=WorkerStatus(True, 3))]
    assert list_sessions(Pods(silent), None, NOW).lines == []


def test_no_more_than_fifty_are_listed_and_all_are_known() -> None:
    told = list_sessions(holding(*(WorkerJob(f"AJ_{n}", f"r{n}") for n in range(60))), None, NOW)
    assert (len(told.lines), len(told.calls)) == (50, 60)


@pytest.mark.parametrize(
    ("job", "seconds", "same"),
    [
        pytest.param(WorkerJob("1", "r", state="listening"), 9, True, id="what they do changes"),
        pytest.param(WorkerJob("1", "r", state="listening"), 10, False, id="which is told now and then"),
        pytest.param(WorkerJob("2", "r", state="speaking"), 0, False, id="another call"),
    ],
)
def test_how_often_it_is_told(job: WorkerJob, seconds: float, same: bool) -> None:
    before = list_sessions(holding(WorkerJob("1", "r", state="speaking")), None, NOW)
    told = list_sessions(holding(job), before, NOW + timedelta(seconds=seconds))
    assert (told is before) is same
    assert told.lines[0].state == ("speaking" if same else replace(job).state)


async def test_what_the_calls_do_is_told_at_most_every_few_seconds(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (pod,) = world.agent_pods()
    start = world.context.now()

    async def told(*jobs: WorkerJob) -> list[Manifest]:
        world.worker.answers[pod["status"]["podIP"]] = WorkerStatus(True, len(jobs), jobs=jobs)
        await world.reconcile("VoiceAgentPool", "front-desk")
        return list(pool_status(world)["sessions"])

    assert await told() == []
    spoke = start + timedelta(seconds=5)
    lines = await told(WorkerJob("AJ_2", "lively", start, "speaking", spoke), WorkerJob("AJ_1", "quiet", start))
    name = pod["metadata"]["name"]
    lively = {"room": "lively", "pod": name, "state": "speaking", "startTime": timestamp(start)}
    assert lines == [
        {"room": "quiet", "pod": name, "startTime": timestamp(start)},
        {**lively, "lastActivityTime": timestamp(spoke)},
    ]
    world.clock.advance(9)
    writes = len(world.kubernetes.writes)
    spoke = start + timedelta(seconds=18)
    busy = WorkerJob("AJ_2", "lively", start, "listening", spoke), WorkerJob("AJ_1", "quiet", start)
    assert await told(*busy) == lines
    assert len(world.kubernetes.writes) == writes
    world.clock.advance(1)
    assert (await told(*busy))[1] == {**lively, "state": "listening", "lastActivityTime": timestamp(spoke)}
    world.clock.advance(10)
    assert len(await told(*(WorkerJob(f"AJ_{n}", f"r{n}") for n in range(60)))) == 50
