"""What the API server refuses, for all kinds: what to say of it, and when it is tried again.

A quota, an admission policy or a schema may refuse anything that is written. A refusal is for people to hear of; what
else goes wrong, a conflict or an API server that is away, is not, and the pass is tried again.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

from livekit_operator import reasons
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked, KubernetesError, NamespaceTerminating, Problem
from livekit_operator.manifests.pod_refusals import explain_refusal
from livekit_operator.reasons import Reason

RETRY_SECONDS = 10.0
# What was refused is not written again for this time: a policy or a quota changes when people change it.
REFUSED_SECONDS = 30.0
_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)


def problem_of(
    error: KubernetesError, *, what: str = "", pod: Manifest | None = None, part: str = ""
) -> Problem | None:
    """Return what to say of an error of the API server, None when nobody has to hear of it.

    It says `what` was refused, and of a `pod` which containers. A `part` of a name that is another one at each try is
    left out, or the message would be another one as well.
    """
    if error.status not in _REFUSED or isinstance(error, NamespaceTerminating):
        return None  # what is for a namespace that goes, goes as well
    words = str(error).replace(part, "…") if part else str(error)
    return Problem(reasons.KUBERNETES_REFUSED, explain_refusal(words, pod, what=what), retry_after=RETRY_SECONDS)


@contextmanager
def blocked_if_refused(*, pod: Manifest | None = None, part: str = "") -> Iterator[None]:
    """Raise Blocked instead of an error by which the API server refuses what is written, as `problem_of` tells it."""
    try:
        yield
    except KubernetesError as error:
        problem = problem_of(error, pod=pod, part=part)
        if problem is None:
            raise
        raise Blocked(problem) from error


@contextmanager
def blocked_if_refused_as(reason: Reason, path: str, *, what: str) -> Iterator[None]:
    """Raise Blocked likewise, with a reason of its own and the path of the field that asks for what is refused."""
    try:
        yield
    except KubernetesError as error:
        problem = problem_of(error, what=what)
        if problem is None:
            raise
        raise Blocked(Problem(reason, f"{path}: {problem.message}", retry_after=REFUSED_SECONDS)) from error


@dataclass(frozen=True)
class Refusal:
    """A write that was refused: what it was to become, until when it is not tried again, and the problem."""

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
        """Return the first one of this pass."""
        return next((refusal.problem for refusal in self.current.values()), None)

    def begin(self) -> None:
        """Begin a pass."""
        self.former, self.current = self.current, {}

    async def attempt(self, what: str, wanted: str, write: Callable[[], Awaitable[object]], now: datetime) -> bool:
        """Write `what`, to become as `wanted`; return whether that was accepted.

        What the API server refuses is kept, and the same is not written again for a while. What is blocked otherwise is
        kept as well, and tried at the next pass.
        """
        if self._holds(what, wanted, now):
            return False
        try:
            await write()
        except Blocked as blocked:
            self.tell(what, blocked.problem)
        except KubernetesError as error:
            problem = problem_of(error, what=what)
            if problem is None:
                raise
            self.current[what] = Refusal(wanted, now + timedelta(seconds=REFUSED_SECONDS), problem)
        else:
            return True
        return False

    def _holds(self, what: str, wanted: str, now: datetime) -> bool:
        """Return whether the same was refused a moment ago: that is then told of this pass as well."""
        refusal = self.former.get(what)
        if refusal is None or refusal.wanted != wanted or refusal.until is None or now >= refusal.until:
            return False
        self.current[what] = refusal
        return True

    def tell(self, what: str, problem: Problem) -> None:
        """Note what cannot be now, and is tried at the next pass."""
        self.current[what] = Refusal("", None, problem)
