"""Errors that reconcilers raise and the engine understands."""

from dataclasses import dataclass, field

from livekit_operator import reasons
from livekit_operator.outside import MOST_MESSAGE, said
from livekit_operator.reasons import Reason

# A server that does not answer is asked again after this many seconds; its own watch usually comes first.
_SERVER_RETRY_SECONDS = 5.0


class OperatorError(Exception):
    """Base of every error of this package."""


@dataclass(frozen=True)
class Problem:
    """Why a resource is not as its spec says, in a reason and a sentence that says what to do.

    `retry_after` is in seconds; None means that a watch will bring the change (an object of a kind that is watched).
    Two problems are the same whenever each is looked at again.
    """

    reason: Reason
    message: str
    retry_after: float | None = field(default=None, compare=False)


class CutOff(Problem):
    """Clients outside the cluster cannot come in by the URL they are told, whatever the servers do."""


class Blocked(OperatorError):
    """The desired state cannot be reached until something outside this object changes.

    The problem becomes the condition `Ready=False`.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class ServerNotAllowed(Blocked):
    """The LiveKitServer is there and does not list the namespace of a resource that refers to it."""


class NotOwned(Blocked):
    """An object with the name of a wanted child exists and belongs to somebody else: it is left alone.

    `why` says how that is known, `instead` what else may be done than to remove it.
    """

    def __init__(self, kind: str, namespace: str, name: str, why: str, instead: str = "choose another name") -> None:
        message = (
            f"{kind} {namespace}/{name} exists and is not owned by this resource: {why}. It is left untouched. "
            f"Remove it or {instead}."
        )
        super().__init__(Problem(reasons.NOT_OWNED, message, retry_after=5.0))


class ServerUnreachable(OperatorError):
    """The LiveKit server did not answer, or answered with a failure of its own.

    `retry_after` is in seconds, None when there is nothing to know about it. The words are bounded whoever said them.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(said(message))
        self.retry_after = retry_after

    @property
    def problem(self) -> Problem:
        """Return what a resource that needs the server says."""
        message = f"The LiveKit server does not answer: {self}. See the conditions of the LiveKitServer."
        return Problem(reasons.SERVER_UNREACHABLE, message, retry_after=self.retry_after or _SERVER_RETRY_SECONDS)


class ServerTimedOut(ServerUnreachable):
    """The LiveKit server took the request, or let the connection wait, and said nothing in time."""


class ServerNonsense(ServerUnreachable):
    """What answers is no LiveKit server, or none that anybody could use: it talks nonsense, or without end."""


class RoomUnanswered(ServerUnreachable):
    """The server answers, but no node of it answers for this room: the room is being closed, or its node is lost."""


class RoomUnplaced(ServerUnreachable):
    """The server has the room listed, and its Redis has forgotten on which of its nodes that is."""


class NodesUnavailable(ServerUnreachable):
    """The server answers, but none of its nodes takes a room now: each drains, or was too busy to report itself."""


class ServerRefused(OperatorError):
    """The LiveKit server refused a request; `code` is its twirp error code (https://twitchtv.github.io/twirp/docs/spec_v7.html)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(said(message))
        self.code = said(code, 64)

    @property
    def problem(self) -> Problem:
        """Return what a resource that needs the server says."""
        message = f"The LiveKit server refused: {self.code}: {self}. Change what it names in the spec, or see its log."
        return Problem(reasons.SERVER_REFUSED, message, retry_after=_SERVER_RETRY_SECONDS)


class KubernetesError(OperatorError):
    """The API server answered with an error; `status` is the HTTP status, `reason` the Status object's reason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(said(f"{status} {reason}: {message}", MOST_MESSAGE // 2))
        self.status = status
        self.reason = reason


class NotFound(KubernetesError):
    """The object does not exist."""


class Conflict(KubernetesError):
    """The object changed in between, or exists already."""


class NamespaceTerminating(KubernetesError):
    """The namespace is being deleted and takes nothing new."""
