"""Which versions of a pool run: a pure decision on its history.

    rollbackTo names a known version                -> that one, whatever else is said
    the wanted version failed                       -> the one that served last and did not fail; and if no pod of the
                                                       wanted one has served yet, one is tried beside it
    a canary is asked for and another version serves -> both: that one, and the wanted one as the canary
    anything else                                   -> the wanted version

Easiest to get wrong:

- A version is proven when a rollout of it to all calls has finished, or its canary was judged good enough: not when
  its canary pods are ready, or a canary would promote itself. Going back to a proven version needs no canary.
- `promote` names a revision: what was meant for the former canary must not promote the one that came after it.
- If nothing is proven there is nothing to roll back to, and no canary: the first version simply runs.
- A version that a failure would roll back to must not be pruned, even if it has no pods.
- What kept a version from starting may end at any time: a registry that was down, a node too small. So one pod keeps
  trying, as a Deployment's do; but it takes no place of the proven version. One whose calls failed is not retried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import Rollout as RolloutSpec
from livekit_operator.errors import Problem


@dataclass(frozen=True)
class Version:
    """A version of a pool: when it appeared, when it last served all calls, why it failed.

    `served` is whether any pod of it ever did.
    """

    revision: str
    created: datetime
    proven: datetime | None = None
    failed: str | None = None
    served: bool = False


@dataclass(frozen=True)
class Rollout:
    """The revisions that are to run; `problem` is a reason and a message when that is not what was asked for.

    `retried` failed to start: one pod of it is tried, to which no calls are sent.
    """

    stable: str
    canary: str | None = None
    problem: Problem | None = None
    retried: str | None = None


def choose(rollout: RolloutSpec, wanted: str, known: Sequence[Version]) -> Rollout:
    """Return which revisions are to run where the spec is the revision `wanted`."""
    by_revision = {version.revision: version for version in known}
    pinned, problem = rollout.rollback_to, None
    if pinned in by_revision:
        return Rollout(pinned)
    if pinned is not None:
        message = (
            f"spec.rollout.rollbackTo: status.versions has no revision {pinned}; nothing is rolled back. Name one of "
            f"these, or remove it."
        )
        problem = Problem(reasons.REVISION_NOT_FOUND, message)
    version = by_revision.get(wanted)
    fallback = _fallback(known, wanted)
    if version is not None and version.failed is not None:
        return _fall_back(version, fallback, problem)
    proven = version is not None and version.proven is not None
    if rollout.canary is None or rollout.canary.promote == wanted or proven or fallback is None:
        return Rollout(wanted, None, problem)
    return Rollout(fallback.revision, wanted, problem)


def failed_to_progress(
    version: Version, *, first_pod: datetime | None, ready: int, now: datetime, deadline_seconds: int
) -> bool:
    """Return whether a version that never served has had no ready pod for too long; `first_pod` is its oldest one's
    creation, None while it has none."""
    if version.proven is not None or ready or first_pod is None:
        return False
    return now - first_pod >= timedelta(seconds=deadline_seconds)


def prune(known: Sequence[Version], keep: set[str], limit: int) -> list[str]:
    """Return the revisions to forget, oldest first: all but those to keep and the `limit` newest others."""
    former = [version for version in known if version.revision not in keep]
    former.sort(key=lambda version: (version.proven or version.created, version.revision))
    needed = _fallback(known)
    return [version.revision for version in former[: max(0, len(former) - limit)] if version is not needed]


def _fallback(known: Sequence[Version], wanted: str | None = None) -> Version | None:
    """Return the version that served last and did not fail, other than the wanted one."""
    proven = [v for v in known if v.proven is not None and v.failed is None and v.revision != wanted]
    return max(proven, key=lambda version: (version.proven, version.created, version.revision), default=None)


def _fall_back(version: Version, fallback: Version | None, problem: Problem | None) -> Rollout:
    what = f"Revision {version.revision} failed: {version.failed}"
    if fallback is None:
        message = f"{what} There is no version that served before to fall back to: change the spec."
        return Rollout(version.revision, None, problem or Problem(reasons.ROLLOUT_FAILED, message))
    retried = None if version.served else version.revision
    if retried:
        again = "One pod is still tried: once it is ready for a while, the rollout goes on."
    else:
        again = "Change the spec, or name it in spec.rollout.rollbackTo to try it all the same."
    message = f"{what} Revision {fallback.revision} runs instead. {again}"
    return Rollout(fallback.revision, None, problem or Problem(reasons.ROLLED_BACK, message), retried)
