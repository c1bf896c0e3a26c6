"""Pods that hang before their containers start: a volume, a network, a sandbox. Only Events say why.

Events are read of one such pod at a time, and never watched: a cluster has more of them than of anything else.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from livekit_operator.conditions import find, holds
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import KubernetesError
from livekit_operator.moments import parse_timestamp
from livekit_operator.outside import said
from livekit_operator.reconciling.context import Context, HangingPod

# The kubelet reports a volume that cannot be mounted within a second or two, and repeats that.
_HANGS_AFTER = timedelta(seconds=10)
_ASKED_AGAIN_AFTER = timedelta(seconds=15)
# Entries of pods that are gone or have started are dropped.
_FORGOTTEN_AFTER = timedelta(minutes=5)
# Sources: pkg/kubelet/events/event.go, pkg/controller/volume/events/event.go
_REASONS = frozenset(
    {
        "FailedMount",
        "FailedMapVolume",
        "FailedAttachVolume",
        "FailedCreatePodSandBox",
        "FailedCreatePodContainer",
        "FailedPodSandBoxStatus",
        "FailedToCreateContainer",
        "NetworkNotReady",
        "FailedPrepareDynamicResources",
        "CNIError",
    }
)


async def why_it_hangs(context: Context, pods: Iterable[Manifest]) -> tuple[str, str] | None:
    """Return the name of the first of these pods that hangs, and why in the kubelet's words; None when none does.

    Of several that hang only the first is checked, every fifteen seconds.
    """
    now = context.now()
    for pod in pods:
        if not _hangs(pod, now):
            continue
        words = await last_warning(context, pod, _REASONS)
        return (pod["metadata"]["name"], words) if words else None
    return None


def _hangs(pod: Manifest, now: datetime) -> bool:
    """Return whether a pod has had a node for a while, and no container has started yet."""
    status = pod.get("status") or {}
    if status.get("phase", "Pending") != "Pending" or "deletionTimestamp" in pod["metadata"]:
        return False
    if not pod["spec"].get("nodeName") or holds(status.get("conditions"), "Ready"):
        return False
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = container.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason")
        if "running" in state or "terminated" in state or reason not in (None, "ContainerCreating", "PodInitializing"):
            return False  # it is starting, or its own status says why not
    scheduled = find(status.get("conditions"), "PodScheduled").get("lastTransitionTime")
    return now - parse_timestamp(scheduled or pod["metadata"]["creationTimestamp"]) >= _HANGS_AFTER


async def last_warning(context: Context, manifest: Manifest, given: frozenset[str] | None = None) -> str | None:
    """Return what was last said of an object in an Event of these reasons, of any when None; asked for now and then."""
    uid, now = manifest["metadata"]["uid"], context.now()
    known = context.hanging.get(uid)
    if known is not None and now - known.asked < _ASKED_AGAIN_AFTER:
        return known.words
    try:
        events = await context.kubernetes.warnings(manifest["metadata"]["namespace"], uid)
    except KubernetesError:
        events = ()  # it is for people to read, and nothing depends on it
    told = [event for event in events if given is None or event.get("reason") in given]
    last = max(told, key=_when, default=None)
    words = f"{last['reason']}: {said(last.get('message') or '')}" if last else None
    forget_old(context)
    context.hanging[uid] = HangingPod(now, words)
    return words


def forget_old(context: Context) -> None:
    """Forget what was said of pods that nobody has asked about lately."""
    now = context.now()
    for other in [key for key, item in context.hanging.items() if now - item.asked >= _FORGOTTEN_AFTER]:
        del context.hanging[other]


def _when(event: Manifest) -> str:
    """Return when an Event was last seen; RFC 3339 in UTC sorts as text."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
