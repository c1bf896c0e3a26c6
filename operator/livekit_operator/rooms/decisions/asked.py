"""How a room asked for an agent, and what came of that: what is known between two passes."""

from dataclasses import dataclass, replace
from datetime import datetime

from livekit_operator.moments import no_later
from livekit_operator.rooms.decisions.dispatching import Decision
from livekit_operator.views import EndedCall

# An agent that fails is called again at once, then after a second, two, four, and so on up to this. So is one that is
# to be there always, and leaves before its call has lasted.
MOST_FAILING_SECONDS = 120.0


@dataclass(frozen=True)
class AskedAgent:
    """How often a room asked for an agent of one name. In memory only, because LiveKit does not count."""

    attempts: int = 0
    """Requests in a row that brought nobody."""
    calls: int = 0
    """Requests in all."""
    unconnected: bool = False
    """Whether the last one that joined was not connected."""
    handled: frozenset[str] = frozenset()
    """Ids of the jobs that ended and were dealt with, of those that workers still tell of."""
    failures: int = 0
    """Jobs in a row that failed before their call had lasted; where one is always to be there, that ended before."""
    last_failure: EndedCall | None = None
    """The last one of these; one of no pod goes on, and its agent has left."""
    asked_for: tuple[tuple[str, datetime], ...] = ()
    """Who was there when the last request was made: identity, and when they had come."""
    met: bool = False
    """Whether people were there with the agent that is there."""
    left_at: datetime | None = None
    """When an agent left that is not to be called again before people ask anew."""
    failed: bool = False
    """Whether that one failed."""
    leaving: bool = False
    """Whether its job went on when it was away: whether it left on purpose is not known yet."""
    vanished_at: datetime | None = None
    """When it was first seen to be away while it was not known what became of its job."""
    awaited: bool = False
    """Whether people wait for another one, whatever becomes of those before."""
    missing_since: datetime | None = None
    """Since when somebody publishes and no agent is there, where each who does gets one."""
    request: str = ""
    """Id of the last request, empty when it is not known."""
    brought: frozenset[str] = frozenset()
    """Ids of the requests whose agents have been there, of those that are still listed."""

    def noted(self, decision: Decision, now: datetime, *, publishers: bool = False) -> "AskedAgent":
        """Return this after a decision: an agent that joins in vain makes the next pause longer, even after a wait."""
        missing = publishers and decision.state not in ("Joined", "Waiting")
        unconnected = decision.unconnected or (self.unconnected and decision.state not in ("Joined", "Waiting"))
        vain = self.attempts if unconnected and decision.state == "Unavailable" else 0
        away = decision.state in ("Finished", "Failed")
        return replace(
            self if decision.state != "Waiting" else self.unneeded(),
            attempts=max(decision.attempts, vain),
            calls=self.calls + decision.create,
            unconnected=unconnected,
            left_at=(self.left_at or now) if away or decision.leaving else None,
            leaving=decision.leaving,
            vanished_at=(self.vanished_at or now) if decision.leaving else None,
            failed=away and self.failed,
            awaited=decision.state in ("Unavailable", "Failing", "Paused"),
            missing_since=(self.missing_since or now) if missing else None,
        )

    def no_later(self, now: datetime) -> "AskedAgent":
        """Return this without a moment that lies ahead: the clock was set back to now."""
        last = self.last_failure
        return replace(
            self,
            asked_for=tuple((who, min(came, now)) for who, came in self.asked_for),
            last_failure=last and replace(last, at=min(last.at, now)),
            left_at=no_later(self.left_at, now),
            vanished_at=no_later(self.vanished_at, now),
            missing_since=no_later(self.missing_since, now),
        )

    def missing(self, now: datetime) -> float:
        """Return since when (seconds) somebody publishes and no agent is there, where each who does gets one."""
        return max(0.0, (now - self.missing_since).total_seconds()) if self.missing_since else 0.0

    def unneeded(self) -> "AskedAgent":
        """Return this once nobody needs an agent: whoever comes next asks anew."""
        return replace(self, failures=0, last_failure=None, left_at=None, leaving=False, failed=False)

    def outdated(self, versions: frozenset[str]) -> bool:
        """Return whether no pod that may be called is of the version that failed: the one that is there may do well."""
        return bool(self.last_failure and self.last_failure.version and self.last_failure.version not in versions)

    def pause(self, now: datetime, pods: frozenset[str]) -> float:
        """Return for how many seconds an agent that fails, or leaves too soon, is not called again.

        Where the pod on which it failed is not among those that may be called any more, another one may do better.
        """
        if self.last_failure is None or self.failures < 2 or (self.last_failure.pod or None) not in {None, *pods}:
            return 0.0
        longest = min(MOST_FAILING_SECONDS, 2.0 ** min(self.failures - 2, 10))
        return max(0.0, longest - (now - self.last_failure.at).total_seconds())
