"""Whether a pool's agents fail in their calls, whoever makes these: pure, over how the last ones ended.

Each room counts for itself (rooms/decisions/former_agents.py); here are those that failed in a row in any room. A call
that has lasted, or ended well, ends the row, and so does time in which nobody calls. One that was cut off, with its
server or its pod, says nothing of the agent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from livekit_operator.views import EndedCall, WorkerJob

# A call that lasted so long has not failed as the one before did.
LASTED_SECONDS = 60.0
# So many in a row are no chance: rooms tell of the second.
FAILING_AFTER = 3
# What has not been tried again for so long may be over: rooms whose agents fail call them every two minutes.
FORGOTTEN_SECONDS = 600.0


@dataclass(frozen=True)
class Failing:
    """Calls that failed in a row: how many, in how many rooms, and the last one."""

    number: int
    rooms: int
    last: EndedCall

    @property
    def words(self) -> str:
        """Return how often, where and why, as part of a sentence."""
        rooms = f"{self.rooms} room{'' if self.rooms == 1 else 's'}"
        error = self.last.job.error.rstrip(". ") or "it did not say why"
        return (
            f"The last {self.number} calls failed before one had lasted {LASTED_SECONDS:.0f} s, in {rooms}, the last "
            f"one on pod {self.last.pod}: {error}"
        )


def count_failing(ended: Iterable[EndedCall], running: Iterable[WorkerJob], now: datetime) -> Failing | None:
    """Return the calls that failed in a row, None while that may be chance; `running` are those that go on."""
    lasted = timedelta(seconds=LASTED_SECONDS)
    calls: list[tuple[datetime, bool, EndedCall | None]] = [
        (job.started + lasted, True, None) for job in running if job.started and job.started + lasted <= now
    ]
    for one in ended:
        if one.job.failed and not one.job.cut:
            calls.append((one.at, False, one))
        if not one.job.failed or (one.job.seconds or 0) >= LASTED_SECONDS:
            # One that fails after it has lasted is the first of another row.
            calls.append((one.at - timedelta(seconds=1) if one.job.failed else one.at, True, None))
    row: list[EndedCall] = []
    # What ended in one look at a worker is in no order: the better is believed.
    for _, _, failed in sorted(calls, key=lambda call: call[:2]):
        row = [*row, failed] if failed else []
    if len(row) < FAILING_AFTER or now - row[-1].at > timedelta(seconds=FORGOTTEN_SECONDS):
        return None
    return Failing(len(row), len({one.job.room for one in row}), row[-1])
