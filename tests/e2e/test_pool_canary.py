"""A new version gets some of the calls before it gets all of them, and none of them is lost by that."""

import random
import time

import pytest

from livekit_operator.pools.decisions.canary import goes_to_canary
from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.pools import on_track, rolled_out, version_of
from tests.e2e.switchboard import DOUBLED_SECONDS, Switchboard, enter, meet, switchboard
from tests.harness.agents import AGENT
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL
from tests.harness.watching import Seen, Watched

pytestmark = pytest.mark.one_server("canary")

WEIGHT = 20
# A pod has places for those that call and for those before them, whose agents may still be leaving.
ROOMS, AT_ONCE, PLACES = 100, 10, 20
DEADLINE_SECONDS = 20
# Nothing listens there.
NO_IMAGE = "127.0.0.1:9/agent:v2"
RAISES = light_agents.code(session='await ctx.connect()\n    raise RuntimeError("this version is wrong")')


@pytest.mark.timeout(420)
async def test_a_canary_gets_its_share_of_the_calls_and_takes_over_when_it_is_promoted(story: Story) -> None:
    names = random.Random(20).sample([f"{a}-{b}" for a in ("blue", "green", "red") for b in range(100)], ROOMS)
    await light_agents.serve(story, light_agents.pool(story, sessionsPerPod=PLACES))
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        stable = pool.last.status["revision"]
        canary = await _begin_canary(story, pool, {"weight": WEIGHT})
        versions: list[str] = []
        for first in range(0, ROOMS, AT_ONCE):
            batch = names[first : first + AT_ONCE]
            versions += await _call(story, board, batch)
            if first + AT_ONCE < ROOMS:
                await pools.delete_rooms(story, batch)
        share = versions.count("2")
        print(f"{share} of {ROOMS} calls went to the canary")
        assert dict(zip(names, versions, strict=True)) == {name: _expected(name) for name in names}
        assert set(versions) == {"1", "2"}
        assert max(board.doubled.values(), default=0.0) <= DOUBLED_SECONDS, "two agents stayed in one room"
        counted = await pool.until("the canary's calls to be counted", lambda s: _sessions(s) >= share and s)
        assert counted.status["canary"]["sessions"] == share
        assert on_track(counted, "Stable") == stable

        # The last batch stays: promotion ends no call.
        before = await board.served(*batch)
        busy = [str(pod["metadata"]["name"]) for pod in await pools.pods(story, track="canary")]
        old = [str(pod["metadata"]["name"]) for pod in await pools.pods(story, track="stable")]
        assert any(agent.version == "2" for agent in before), "none of the last calls went to the canary"
        await pools.change(story, {"rollout": {"canary": {"promote": canary}}})
        await pool.until("the new version to take over", lambda s: on_track(s, "Stable") == canary and rolled_out(s))
        await pools.delete_rooms(story, batch[:1])
        for name in old:
            await pools.draining(story, name)
        assert {*(await _call(story, board, ["later-1", "later-2", "later-3"]))} == {"2"}
        assert [agent.identity for agent in await board.served(*batch[1:])] == [a.identity for a in before[1:]]
        assert set(busy) & {pod["metadata"]["name"] for pod in await _all(story)}, "a canary with calls was ended"
        left = time.monotonic()
        await pools.delete_rooms(story, batch[1:])
        for name in busy:
            await pools.gone(story, name)
        await pool.until(
            "the old version to have left", lambda s: not version_of(s, stable).get("replicas"), since=left
        )
        assert not pool.last.status.get("canary")


@pytest.mark.timeout(300)
async def test_a_canary_that_does_not_start_gets_no_call_and_is_taken_back(story: Story) -> None:
    rollout = {"progressDeadlineSeconds": DEADLINE_SECONDS}
    await light_agents.serve(story, light_agents.pool(story, rollout=rollout, sessionsPerPod=8), pools.room("before"))
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        stable = pool.last.status["revision"]
        async with enter(story, "before") as guest:
            agent = await meet(board, guest)
            await pools.change(
                story, {"agent": light_agents.agent(story, image=NO_IMAGE), "rollout": {"canary": {"weight": 99}}}
            )
            wanted = await pool.until("another version", lambda s: _other(s, stable))
            assert set(await _call(story, board, [f"while-{number}" for number in range(5)])) == {"1"}
            # The kubelet may tell what is wrong with the image only after the deadline.
            await pool.until(
                "the canary to have failed for its image",
                lambda s: (
                    (line := version_of(s, wanted)).get("track") == "Failed" and NO_IMAGE in line.get("message", "")
                ),
                seconds=DEADLINE_SECONDS + 40,
            )
            message = await story.reason("voiceagentpool", POOL, "RolledBack")
            assert wanted in message
            assert stable in message
            assert set(await _call(story, board, [f"after-{number}" for number in range(2)])) == {"1"}
            assert version_of(pool.last, wanted)["replicas"] == 1, "one pod of it goes on trying"
            assert guest.agents == {agent.identity}
        assert not pool.last.status.get("canary")
        assert max(board.most.values()) == 1


@pytest.mark.timeout(300)
async def test_a_canary_whose_calls_fail_is_taken_back_and_they_are_served_after_all(story: Story) -> None:
    code = light_agents.code_map(agent=light_agents.code(), raises=RAISES)
    await light_agents.serve(story, light_agents.pool(story, sessionsPerPod=8), code=code)
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        stable = pool.last.status["revision"]
        analysis = {"minSessions": 3, "maxFailedPercent": 20}
        canary = await _begin_canary(story, pool, {"weight": 90, "analysis": analysis}, file="raises")
        names = [f"try-{number}" for number in range(6)]
        await story.kubectl.apply(*(pools.room(name, dispatch="OnCreate") for name in names))
        failed = await pool.until(
            "the canary to be judged",
            lambda s: (line := version_of(s, canary)).get("track") == "Failed" and line,
            seconds=90,
        )
        assert failed["failedSessions"] >= 1
        assert canary in await story.reason("voiceagentpool", POOL, "RolledBack")

        async def served_by_the_first() -> bool:
            found = [await board.agents(name) for name in names]
            # Connected, too: one whose room is deleted while it connects takes its worker with it.
            return all([bool(agent.state) and agent.version for agent in room] == ["1"] for room in found)

        await until("every room to be served by the version before", served_by_the_first, seconds=90)
        assert on_track(pool.last, "Stable") == stable


@pytest.mark.timeout(300)
async def test_a_canary_that_serves_well_is_promoted_by_itself(story: Story) -> None:
    await light_agents.serve(story, light_agents.pool(story, sessionsPerPod=8))
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        analysis = {"minSessions": 3, "maxFailedPercent": 20}
        canary = await _begin_canary(story, pool, {"weight": 90, "analysis": analysis})
        names = [f"try-{number}" for number in range(6)]
        assert (await _call(story, board, names)).count("2") >= analysis["minSessions"]
        agents_before = await board.served(*names)
        old = [str(pod["metadata"]["name"]) for pod in await pools.pods(story, track="stable")]
        await pools.delete_rooms(story, names[:5])
        await pool.until("it to take over", lambda s: on_track(s, "Stable") == canary and rolled_out(s), seconds=90)
        assert [a.identity for a in await board.served(names[5])] == [agents_before[5].identity]
        for name in old:
            await pools.draining(story, name)
        assert set(await _call(story, board, ["later-1", "later-2"])) == {"2"}


async def _begin_canary(story: Story, pool: Watched, canary: Manifest, *, file: str = "agent") -> str:
    """Change the pool's version as a canary, wait until a pod of it serves, and return its revision."""
    before = pool.last.status["revision"]
    change = {"agent": light_agents.agent(story, "2", file), "rollout": {"canary": canary}}
    await pools.change(story, change)

    def serves(state: Seen) -> str:
        found = str((state.status.get("canary") or {}).get("revision", ""))
        return found if found != before and version_of(state, found).get("readyReplicas") else ""

    revision: str = await pool.until("the canary to serve", serves, seconds=90)
    line = version_of(pool.last, revision)
    assert line["track"] == "Canary"
    assert pool.last.status["canary"]["weight"] == canary["weight"]
    assert on_track(pool.last, "Stable") == before
    return revision


async def _call(story: Story, board: Switchboard, names: list[str]) -> list[str]:
    """Make rooms that call an agent at once, and return which version came to each."""
    await story.kubectl.apply(*(pools.room(name, dispatch="OnCreate") for name in names))
    return [agent.version for agent in await board.served(*names)]


async def _all(story: Story) -> list[Manifest]:
    return await story.kubectl.find("pods", AGENT)


def _sessions(state: Seen) -> int:
    return int((state.status.get("canary") or {}).get("sessions") or 0)


def _other(state: Seen, revision: str) -> str:
    found = str(state.status.get("revision", ""))
    return found if found != revision else ""


def _expected(room: str) -> str:
    """Return which version a room's first call goes to; that the share is right is shown by test_history.py."""
    return "2" if goes_to_canary(WEIGHT, f"{room}/0") else "1"
