"""Rooms by the thousand, while the operator is killed again and again."""

import time
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable

from tests.e2e import rooms
from tests.e2e.conftest import Story
from tests.harness.api import Api
from tests.harness.kubectl import until
from tests.harness.operator import kill, running_pod
from tests.harness.rooms import Rooms
from tests.soak.plan import Plan

# For as many as ten an operator makes in a second where it is killed ten times.
_SECONDS_FOR_EACH = 0.1
_LEAST_SECONDS = 90.0


async def create(story: Story, api: Api, plan: Plan, names: list[str], say: Callable[[str], None]) -> None:
    """Make these rooms, and kill the operator whenever the server has as many of them as is planned.

    Raises TimeoutError where not all of them are ready in time.
    """
    livekit, operator, began = await story.rooms(), story.platform.operator, time.monotonic()
    async with TaskGroup() as group:
        group.create_task(rooms.make(story, api, names))
        for there in plan.kills:
            await until(f"{there} rooms on the server", _at_least(livekit, there), seconds=90, every=0.05)
            await running_pod(operator)
            await kill(operator)
            say(f"operator killed at {there} rooms")
    within = max(_LEAST_SECONDS, _SECONDS_FOR_EACH * len(names))
    await rooms.all_ready(story, api, names, seconds=within)
    say(f"{len(names)} rooms ready after {time.monotonic() - began:.1f} s, the operator killed {len(plan.kills)} times")


def _at_least(livekit: Rooms, count: int) -> Callable[[], Awaitable[bool]]:
    async def counted() -> bool:
        return len(await livekit.listed()) >= count

    return counted
