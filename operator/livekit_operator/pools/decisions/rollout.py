"""Which pods of a pool to create and which to terminate: a pure decision.

Pods are owned directly, as Agones owns GameServers, because a Deployment chooses its victims itself. A draining pod
takes no new calls and ends when its calls end. Pods have a version and a track: `stable` ones get the
calls that name no deployment, `canary` ones those that name theirs. For each wanted version (a target):

    missing pods                              -> created, at most `max_surge` above what is there while versions change
    pods of other versions, on cordoned nodes -> drained as soon as ready new ones replace them, idle ones first
    canary pods where no canary is wanted     -> drained while enough stable ones are ready; they replace none
    pods of other versions that never served  -> deleted at once
    too many pods                             -> only idle ones are deleted; a busy one stays until its calls end
    pods that finished (evicted, failed)      -> deleted
    pods whose worker ends by itself          -> replaced at once, while their calls go on

Easiest to get wrong:

- Only ready new pods replace old ones; and as long as none is ready, no busy pod of any version is drained, not even
  if fewer are wanted: the old version is then the one that serves.
- Old pods that nothing replaces yet must not use up the surge, or the first new pod could never come: it counts from
  what is there, not only from what is wanted.
- Idle before busy holds across all old versions and cordoned nodes. A ready pod that never reported how many calls it
  holds counts as the busiest.
- Where quotas are tight, deletions must precede creations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from livekit_operator.constants import TRACK_CANARY, TRACK_STABLE
from livekit_operator.percentages import resolve
from livekit_operator.reconciling.decisions.brakes import Held, PodHistory

STABLE, CANARY = TRACK_STABLE, TRACK_CANARY
# Pods created in one pass, so that a wrong number cannot flood the cluster before somebody sees it.
MAX_CREATED = 20


@dataclass(frozen=True)
class PodView:
    """What deciding needs of a pod; `sessions` is what its worker said last, None before it spoke."""

    name: str
    revision: str
    ready: bool
    leaving: bool
    finished: bool
    sessions: int | None
    created: datetime
    track: str = STABLE
    unwanted: bool = False
    """Whether its node is cordoned."""
    inputs: str = ""
    """Digest of what it was started with beside its version: server, keys."""
    failing: bool = False
    """Whether it cannot start."""
    ending: bool = False
    """Whether its worker drains by itself, without having been told to."""

    @property
    def stays(self) -> bool:
        """Return whether it is there for future calls."""
        return not (self.leaving or self.finished or self.ending)

    @property
    def version(self) -> str:
        """Return what decides whether it is as one created now would be."""
        return f"{self.revision}/{self.inputs}"

    @property
    def idle(self) -> bool:
        """Return whether no call can be on it: its worker said so last, or never spoke and is not ready for calls."""
        return self.sessions == 0 or (self.sessions is None and not self.ready)

    @property
    def useless(self) -> bool:
        """Return whether it cannot start, or has not reported anything yet.

        One that has reported and is not ready may only have lost its server for a moment.
        """
        return not self.ready and (self.failing or self.sessions is None)


@dataclass(frozen=True)
class Target:
    """So many pods of a version (`PodView.version`) on a track."""

    version: str
    desired: int
    track: str


@dataclass(frozen=True)
class Plan:
    """The tracks of the pods to create, and the names of those to delete; deleting comes first."""

    create: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    held: Held | None = None
    """What keeps more pods from being created now."""


@dataclass(frozen=True)
class Brake:
    """What the brake of a pool's pods knows at a moment."""

    history: PodHistory
    now: datetime


def plan(
    pods: Sequence[PodView], targets: Sequence[Target], *, max_surge: int | str, brake: Brake | None = None
) -> Plan:
    """Return what to do now to reach the targets, at most one a track, without cutting a call.

    `max_surge` is a number of pods or a percentage (`"25%"`) of a target's desired ones, at least one.
    """
    versions = {(target.track, target.version) for target in targets}
    delete = [pod.name for pod in pods if (pod.finished or pod.ending) and not pod.leaving]
    staying = [pod for pod in pods if pod.stays]
    # It serves nobody, so it need not wait for its replacement.
    useless = [pod for pod in staying if (pod.track, pod.version) not in versions and pod.useless]
    names = {pod.name for pod in useless}
    delete += [pod.name for pod in useless]
    staying = [pod for pod in staying if pod.name not in names]

    create: list[str] = []
    wanted = {target.track: target for target in targets}
    for track in sorted({STABLE, *wanted, *(pod.track for pod in staying)}, key=lambda name: (name != STABLE, name)):
        ours = [pod for pod in staying if pod.track == track]
        if track in wanted:
            created, deleted = _approach(ours, wanted[track], max_surge)
            create += [track] * created
        else:
            deleted = _dismiss(ours, [pod for pod in staying if pod.track == STABLE != track], wanted.get(STABLE))
        delete += [pod.name for pod in deleted]
    asked = allowed = min(len(create), MAX_CREATED)
    held = None
    if brake is not None:
        desired = sum(target.desired for target in targets)
        allowed, held = brake.history.allow(asked, wanted=desired, now=brake.now)
    # Pods that ended are kept for people to read their logs until one may take their place.
    kept = {pod.name for pod in pods if pod.finished} if asked and not allowed else set()
    return Plan(tuple(create[:allowed]), tuple(name for name in delete if name not in kept), held)


def _approach(pods: Sequence[PodView], target: Target, max_surge: int | str) -> tuple[int, list[PodView]]:
    """Return how many pods of a track to create and which to delete, to reach its target."""
    current = [pod for pod in pods if pod.version == target.version and not pod.unwanted]
    older = [pod for pod in pods if pod.version != target.version or pod.unwanted]
    create = max(0, target.desired - len(current))
    if older:
        most = max(target.desired, len(older)) + max(1, resolve(max_surge, target.desired))
        create = max(0, min(create, most - len(current) - len(older)))
    replaced = sum(pod.ready for pod in current)
    leaving = [pod for pod in _victims(older) if replaced or pod.idle]
    spare = replaced + sum(pod.ready for pod in older) - target.desired
    # One that is not ready may come back: it keeps a place that no ready new one has taken yet, and no more than that.
    unready = [pod for pod in leaving if not pod.ready]
    released = unready if spare >= 0 else unready[: max(0, len(older) + replaced - target.desired)]
    released += [pod for pod in leaving if pod.ready][: max(0, spare)]
    return create, [*released, *_surplus(current, target.desired)]


def _surplus(current: Sequence[PodView], desired: int) -> list[PodView]:
    """Return the pods of the wanted version that are too many: idle ones, and ready ones only beyond the number."""
    idle = [pod for pod in _victims(current) if pod.idle]
    spare = max(0, sum(pod.ready for pod in current) - desired)
    leaving = [pod for pod in idle if not pod.ready] + [pod for pod in idle if pod.ready][:spare]
    return leaving[: max(0, len(current) - desired)]


def _dismiss(pods: Sequence[PodView], stable: Sequence[PodView], target: Target | None) -> list[PodView]:
    """Return the pods to drain of a track that is no longer wanted: all once there are enough stable ones."""
    desired = target.desired if target else 0
    ready = sum(pod.ready for pod in stable)
    return [pod for pod in _victims(pods) if ready >= (desired if pod.idle else max(1, desired))]


def _victims(pods: Sequence[PodView]) -> list[PodView]:
    """Return the pods in the order in which they should be drained."""
    unknown = float("inf")
    return sorted(
        pods,
        key=lambda pod: (
            not pod.useless,
            not pod.idle,
            not pod.unwanted,
            unknown if pod.sessions is None else pod.sessions,
            -pod.created.timestamp(),
            pod.name,
        ),
    )
