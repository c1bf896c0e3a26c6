"""What the API server refuses: what to say of it, and that it is not tried again at once."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from livekit_operator import reasons
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import KubernetesError, Problem
from livekit_operator.manifests.pod_refusals import explain_refusal

# What the API server refused is tried again after this time: a policy or a quota changes when people change it.
REFUSED_SECONDS = 30.0


@dataclass(frozen=True)
class Refusal:
    """A write that the API server refused: what it was to become, until when it is not tried again, and the problem."""

    wanted: str
    until: datetime | None
    problem: Problem


@dataclass
class Refusals:
    """What was refused at this pass, and at the one before, by what it was about."""

    current: dict[str, Refusal] = field(default_factory=dict)
    former: dict[str, Refusal] = field(default_factory=dict)

    @property
    def problem(self) -> Problem | None:
        """Return reason and message of the first one of this pass."""
        return next((refusal.problem for refusal in self.current.values()), None)

    def begin(self) -> None:
        """Begin a pass."""
        self.former, self.current = self.current, {}

    def holds(self, what: str, wanted: str, now: datetime) -> bool:
        """Return whether the same was refused a moment ago: that is then told of this pass as well."""
        refusal = self.former.get(what)
        if refusal is None or refusal.wanted != wanted or refusal.until is None or now >= refusal.until:
            return False
        self.current[what] = refusal
        return True

    def put(self, what: str, wanted: str, now: datetime, problem: Problem) -> None:
        """Note what was refused, and is not tried again for a while."""
        self.current[what] = Refusal(wanted, now + timedelta(seconds=REFUSED_SECONDS), problem)

    def tell(self, what: str, problem: Problem) -> None:
        """Note what cannot be now, and is tried at the next pass."""
        self.current[what] = Refusal("", None, problem)


def refusal(error: KubernetesError, pod: Manifest | None = None) -> Problem:
    """Return what to say of a request that the API server refuses: a quota, a policy, a port that is taken.

    Of a `pod` the containers are named that were refused.
    Raises the error itself when it is none: the pass is tried again.
    """
    if not error.refused:
        raise error
    return Problem(reasons.KUBERNETES_REFUSED, explain_refusal(str(error), pod), retry_after=10.0)
