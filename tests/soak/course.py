"""A soak from beginning to end: rooms, faults beside calls, a calm in which memory is looked at, and what must hold."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.cluster.errors import ClusterError
from tests.e2e import light_agents, rooms
from tests.e2e.conftest import MANAGED, Story
from tests.e2e.servers import node_ports, server
from tests.harness.api import Api
from tests.harness.contents import OWN_KINDS, describe, lines_of
from tests.harness.install import RELEASE
from tests.harness.kubectl import CommandError, until
from tests.harness.operator import running_pod
from tests.harness.processes import life
from tests.harness.redis import PASSWORD_KEY, Redis, remove, run_plain
from tests.harness.resources import POOL, SERVER
from tests.soak.calling import Calls
from tests.soak.clock import operators_clock
from tests.soak.creating import create
from tests.soak.faults import Faults
from tests.soak.health import Health
from tests.soak.invariants import CHILDREN, Course, Facts, gather, judged, settled
from tests.soak.losses import Losses
from tests.soak.memory import Growth, growth, sampled
from tests.soak.plan import CHARACTERS, Kind, Plan
from tests.soak.report import Happened, Outcome

# Many calls at once need cores; who waits for an agent longer than that waits for something that is broken.
_SESSIONS, _SCALING = 10, {"minReplicas": 2, "maxReplicas": 4, "bufferSessions": 5}
_SETTLE_SECONDS = 90.0
# As long a calm as memory needs to be looked at, and its part of a long soak.
_LEAST_CALM_SECONDS, _PART_OF_CALM = 40.0, 0.2
_CHURNED = 25
_LAST_LINES = 40


def say(sentence: str) -> None:
    """Print a sentence with the time, on one line."""
    print(f"{datetime.now(UTC):%H:%M:%S} {' '.join(sentence.split())}", flush=True)


@dataclass
class Soak:
    """One soak in a story's namespace."""

    story: Story
    plan: Plan
    contradictions: Callable[[], Collection[str]]
    """What statuses have said so far that cannot be."""
    happened: list[Happened] = field(default_factory=list)
    unhealed: list[str] = field(default_factory=list)

    async def run(self) -> Outcome:
        """Do all that is planned and return what it came to; raises TimeoutError where it cannot even begin."""
        redis = await self._set_up()
        operator = self.story.platform.operator
        async with (
            rooms.administrator(self.story) as api,
            operators_clock(operator) as clock,
            sampled(operator) as samples,
        ):
            names = rooms.named("room", self.plan.sizes.rooms)
            await self._attempt("creating rooms", create(self.story, api, self.plan, names, say))
            losses = Losses()
            calls = Calls(self.story, api, losses)
            health = Health(self.story, api, calls, names)
            faults = Faults(self.story, redis, clock, losses)
            if not self.unhealed:
                async with asyncio.TaskGroup() as group:
                    calling = group.create_task(calls.make(self.plan.calls))
                    group.create_task(self._go_wrong(faults, health, calling))
            calm = time.monotonic()
            if not self.unhealed:
                await self._attempt("the calm", self._calm(api, health))
            grown = growth(samples, calm)
            facts = await self._settled(api, redis, names)
            left: list[str] = []
            await self._attempt("deleting everything", self._take_down(api, left))
            await remove(redis)
        return self._outcome(calls, facts, left, grown)

    async def _set_up(self) -> Redis:
        redis = await run_plain(self.story.kubectl)
        password = {"name": redis.password_secret, "key": PASSWORD_KEY}
        spec = node_ports(redis={"address": redis.address, "passwordSecretRef": password})
        pool = light_agents.pool(self.story, sessionsPerPod=_SESSIONS, autoscaling=_SCALING)
        await self.story.kubectl.apply(server(**spec), light_agents.code_map(), pool)
        await self.story.ready("livekitserver", SERVER)
        await self.story.ready("voiceagentpool", POOL)
        say("a server, its Redis and a pool are ready")
        return redis

    async def _attempt(self, what: str, attempt: Awaitable[None]) -> None:
        """Have something done, and note where it is not done in time: what holds then is worth telling all the same."""
        try:
            await attempt
        except (TimeoutError, CommandError) as error:
            await self._give_up(f"{what}: {error}")

    async def _give_up(self, sentence: str) -> None:
        """Note what was not done in time, and show everything as it is then."""
        self.unhealed.append(sentence)
        say(sentence)
        kubectl, operator = self.story.kubectl, self.story.platform.operator
        for manifest in await kubectl.find("nodes,livekitservers,voiceagentpools,pods"):
            print(*describe(manifest), sep="\n")
            if manifest["kind"] == "Pod":
                words = (manifest["metadata"]["name"], "--all-containers")
                print(*await lines_of(kubectl, *words, last_lines=_LAST_LINES), sep="\n")
        print(*await lines_of(operator, f"deployment/{RELEASE}", last_lines=_LAST_LINES), sep="\n", flush=True)

    async def _go_wrong(self, faults: Faults, health: Health, calling: asyncio.Task[None]) -> None:
        """Have one fault happen after the other, and wait each time until all is well; give up where it is not."""
        for fault in self.plan.faults:
            # Between two faults people just call.
            await asyncio.sleep(fault.pause)
            whom = ""
            healed: float | None = None
            before = await self._operators_life()
            try:
                async with faults.happening(fault) as whom:
                    await asyncio.sleep(fault.lasts)
                healed = await health.healed(CHARACTERS[fault.kind].heals_within)
                if fault.kind is Kind.API_SERVER:
                    assert await self._operators_life() == before, "the operator did not live through it"
            except (TimeoutError, AssertionError, CommandError, ClusterError) as error:
                calling.cancel()
                await self._give_up(f"fault {fault.number}, {fault.kind} ({whom}), not healed in time: {error}")
            self.happened.append(Happened(fault, whom, healed))
            say(str(self.happened[-1]))
            if healed is None:
                return

    async def _operators_life(self) -> tuple[str, int]:
        """Return what tells one life of the operator from the next."""
        return life(await running_pod(self.story.platform.operator))

    async def _calm(self, api: Api, health: Health) -> None:
        """Do the same again and again, and nothing goes wrong: rooms come and go, and somebody calls."""
        seconds = max(_LEAST_CALM_SECONDS, _PART_OF_CALM * self.plan.sizes.minutes * 60)
        began, times = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            times += 1
            names = rooms.named(f"churn-{times}", _CHURNED)
            await rooms.make(self.story, api, names)
            await rooms.all_ready(self.story, api, names)
            await health.healed(60)
            await rooms.delete(self.story, api, names)
        say(f"a calm of {time.monotonic() - began:.0f} s: {times * _CHURNED} rooms came and went, {times} calls")

    async def _settled(self, api: Api, redis: Redis, names: list[str]) -> Facts:
        """Return what there is once all of it is as it must be, or after a time in which it would be."""
        facts: list[Facts] = []

        async def look() -> bool:
            facts.append(await gather(self.story, api, redis, names))
            return not settled(facts[-1])

        try:
            await until("everything to be as it must", look, seconds=_SETTLE_SECONDS, every=2.0)
        except TimeoutError as error:
            say(str(error))
            if not facts:
                raise
        return facts[-1]

    async def _take_down(self, api: Api, left: list[str]) -> None:
        """Delete everything; `left` has what stays."""
        kubectl = self.story.kubectl

        async def no_room() -> bool:
            left[:] = [f"room {name} on the server" for name in await livekit.names()]
            left.extend(f"Secret {name}" for name in await rooms.secrets(self.story, api))
            return not left

        async def nothing() -> bool:
            found = await kubectl.find(CHILDREN, MANAGED)
            left[:] = [f"{child['kind']} {child['metadata']['name']}" for child in found]
            return not left

        livekit = await self.story.rooms()
        await rooms.delete(self.story, api, seconds=240)
        await until("no room to be left", no_room, seconds=60)
        await kubectl("delete", OWN_KINDS, "--all", "--wait", "--timeout", "60s")
        await until("nothing to be left", nothing, seconds=60)

    def _outcome(self, calls: Calls, facts: Facts, left: list[str], grown: Growth | None) -> Outcome:
        course = Course(calls.records, self.unhealed, sorted(self.contradictions()), grown, left)
        return Outcome(self.plan, self.happened, calls.records, grown, judged(facts, course))
