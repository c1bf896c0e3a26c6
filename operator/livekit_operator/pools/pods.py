"""The pods of a pool as they are: what their workers report, which calls were lost, why a pod does not start."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import find, holds
from livekit_operator.constants import ANNOTATION_INPUTS, CONDITION_READY, LABEL_REVISION, LABEL_TRACK
from livekit_operator.containers import container, container_status, other_statuses, waiting
from livekit_operator.engine.cache import Manifest
from livekit_operator.manifests.pod_remedies import UNSCHEDULABLE, look_at, remedy, waiting_remedy
from livekit_operator.moments import all_no_later, parse_timestamp, read_moment
from livekit_operator.outside import said
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.last_words import last_words
from livekit_operator.pools.decisions.leaving import has_not_heard, takes_calls
from livekit_operator.pools.decisions.rollout import CANARY, STABLE, PodView
from livekit_operator.pools.manifests.children import agent_name
from livekit_operator.pools.manifests.pod import CONTAINER, RUNNER_CONTAINER
from livekit_operator.pools.manifests.versions import canary_deployment
from livekit_operator.pools.memory import PoolMemory, SeenPod
from livekit_operator.pools.unready import why_unready
from livekit_operator.reconciling.hanging_pods import why_it_hangs
from livekit_operator.reconciling.ownership import identity
from livekit_operator.views import ProviderError, WorkerStatus

_IMAGE = "spec.agent.image"
# One that is ready and then dies of its first calls has not served.
_PROBATION = timedelta(seconds=60)
# How often a pod is asked that gave no answer and whose node is not ready: the pass waits for it each time.
_SILENT = timedelta(seconds=30)


@dataclass(frozen=True)
class ObservedPod:
    """A pod, what its worker said last, and why it does not start; `answered` in this pass or the one before."""

    view: PodView
    manifest: Manifest
    worker: WorkerStatus | None
    answered: bool
    trouble: str | None = None
    crash: str | None = None
    """The last output of a worker that ended by itself."""
    ready_since: datetime | None = None
    unready: str | None = None
    """Why it is not ready though it runs."""
    unheard: bool = False
    """Whether it was told to leave, and its worker does not heed it."""

    def has_served(self, now: datetime) -> bool:
        """Return whether it has shown that its version can serve: by a call, or by being ready for a while."""
        if self.worker and self.worker.started > self.worker.failed:
            return True
        return self.ready_since is not None and now - self.ready_since >= _PROBATION

    @property
    def deployment(self) -> str:
        """Return the deployment that dispatches to it ask for."""
        return canary_deployment(self.view.revision) if self.view.track == CANARY else ""

    @property
    def serves(self) -> bool:
        """Return whether new calls may come to it."""
        return self.view.ready and self.view.stays


@dataclass(frozen=True)
class Pods:
    """A pool's pods as a pass observed them."""

    every: Sequence[ObservedPod]
    seen: Mapping[str, SeenPod] = field(default_factory=dict)
    """Uid -> what is to be remembered of a pod (`remember`)."""
    silent: Mapping[str, datetime] = field(default_factory=dict)
    """Uids of pods that gave no answer when they were last asked, and when that was."""
    let_go: frozenset[str] = frozenset()
    """Uids of pods that are there with their calls, and no longer the pool's (`kubectl delete --cascade=orphan`)."""

    @property
    def views(self) -> list[PodView]:
        """Return the pods as deciding sees them."""
        return [pod.view for pod in self.every]

    @property
    def staying(self) -> list[ObservedPod]:
        """Return the pods that are not leaving."""
        return [pod for pod in self.every if pod.view.stays]

    @property
    def serving(self) -> list[ObservedPod]:
        """Return the pods that new calls may come to."""
        return [pod for pod in self.every if pod.serves]

    @property
    def heard(self) -> bool:
        """Return whether any ready pod answered, or there is none."""
        return any(pod.answered for pod in self.serving) or not self.serving

    def active_sessions(self, track: str, most: int) -> int:
        """Return the calls on pods of a track that stay; a ready one that never answered may hold the most."""
        views = [pod.view for pod in self.staying if pod.view.track == track]
        return sum(view.sessions if view.sessions is not None else most * view.ready for view in views)

    def calls_of(self, revision: str, gone: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
        """Return the calls that workers of a version have begun, and those of them that failed.

        `gone` has the same of workers that are no more (`PoolMemory.gone`).
        """
        workers = [pod.worker for pod in self.every if pod.view.revision == revision and pod.worker]
        started, failed = gone.get(revision, (0, 0))
        return started + sum(worker.started for worker in workers), failed + sum(worker.failed for worker in workers)

    def provider_errors(self, version: str) -> list[ProviderError]:
        """Return what providers answer to pods of a version: other pods may still report what has been fixed."""
        told = [
            error
            for pod in self.staying
            if pod.worker and pod.answered and pod.view.version == version
            for error in pod.worker.provider_errors
        ]
        # Where a fallback helps one pod and not another, the other counts.
        told.sort(key=lambda error: not error.covered)
        errors = {(error.role, error.provider, error.code): error for error in told}
        return [errors[key] for key in sorted(errors)]

    def mute(self, version: str) -> list[ProviderError]:
        """Return those errors for which no other provider of the role stands in: agents hear or say nothing."""
        return [error for error in self.provider_errors(version) if not error.covered]


async def observe_pods(context: Context, pool: VoiceAgentPool, memory: PoolMemory) -> Pods:
    """Read the pods and ask their workers, all at once."""
    manifests = context.children["Pod"].owned_by(identity(pool))
    answers = await asyncio.gather(*(_ask(context, memory, manifest) for manifest in manifests))
    seen: dict[str, SeenPod] = {}
    silent: dict[str, datetime] = {}
    now = context.now()
    for manifest, (answer, silent_since) in zip(manifests, answers, strict=True):
        uid = manifest["metadata"]["uid"]
        if silent_since is not None:
            silent[uid] = silent_since
        container, ended = _container_run(manifest)
        before = memory.pods.get(uid)
        # A worker that is too busy to answer keeps its last report; one that has restarted does not.
        kept = before.status if before and before.container == container and not ended else None
        revision = (manifest["metadata"].get("labels") or {}).get(LABEL_REVISION, "")
        inputs = (manifest["metadata"].get("annotations") or {}).get(ANNOTATION_INPUTS, "")
        leaving = "deletionTimestamp" in manifest["metadata"]
        missed = 0 if answer is not None else (before.missed if before else 0) + 1
        took = leaving and before is not None and before.took
        took = took or (before is not None and takes_calls(before.status, answer, _leaving_for(manifest, now)))
        status, name = answer or kept, manifest["metadata"]["name"]
        busy_at = now if status and status.sessions else before.busy_at if before and kept else None
        seen[uid] = SeenPod(revision, leaving, container, ended, status, name, missed, took, busy_at, inputs)
    emptied = _emptied_nodes(context)
    pods = [_observed(manifest, seen[manifest["metadata"]["uid"]], emptied, now) for manifest in manifests]
    hangs = await why_it_hangs(context, [pod.manifest for pod in pods if pod.trouble is None])
    if hangs is not None:
        name, words = hangs
        # Only reported: a volume may yet be mounted, so it is no failure of the version.
        pods = [
            replace(pod, trouble=f"Pod {name} does not start: {words.rstrip('. ')}. {remedy(words, look_at(name))}")
            if pod.view.name == name
            else pod
            for pod in pods
        ]
    return Pods(pods, seen, silent, _let_go(context, pool, memory, seen.keys()))


def _let_go(context: Context, pool: VoiceAgentPool, memory: PoolMemory, owned: Set[str]) -> frozenset[str]:
    """Return the uids of pods that were the pool's and are there, though it owns them no longer."""
    names = {uid: pod.name for uid, pod in memory.pods.items() if uid not in owned}
    there = {uid: context.children["Pod"].get((pool.metadata.namespace, name)) for uid, name in names.items()}
    return frozenset(uid for uid, pod in there.items() if pod is not None and pod["metadata"]["uid"] == uid)


def remember(memory: PoolMemory, pods: Pods, now: datetime) -> set[str]:
    """Have the memory take in what was observed; return the names of rooms whose call died with its worker since."""
    memory.silent = all_no_later(dict(pods.silent), now)  # the clock may have been set back meanwhile
    return memory.see(pods.seen, now, let_go=pods.let_go)


def free_sessions(pool: VoiceAgentPool, pods: Pods, deployment: str) -> int:
    """Return the calls that workers of a deployment could still take which are registered by the name rooms ask for.

    Each by its own measure: pods of another version may take more or fewer than the spec now says.
    """
    name, most = agent_name(pool), pool.spec.sessions_per_pod
    workers = [pod.worker for pod in pods.serving if pod.worker and pod.deployment == deployment]
    reached = [w for w in workers if w.registered is not False and w.agent_name in (None, name)]
    return sum(max(0, (most if worker.capacity is None else worker.capacity) - worker.sessions) for worker in reached)


async def _ask(context: Context, memory: PoolMemory, pod: Manifest) -> tuple[WorkerStatus | None, datetime | None]:
    """Return what a worker says, and when it was last asked in vain."""
    status, silent_since = pod.get("status") or {}, memory.silent.get(pod["metadata"]["uid"])
    address = status.get("podIP")
    if not address or status.get("phase") != "Running":
        return None, silent_since
    node = context.nodes.get(("", pod["spec"].get("nodeName") or ""))
    if node is not None and not node["ready"] and silent_since and context.now() - silent_since < _SILENT:
        return None, silent_since
    # By the pod, not the spec: it may be of a former version.
    ports = {port.get("name") for port in container(pod, CONTAINER).get("ports") or ()}
    ask = context.worker.status if "status" in ports else context.worker.plain_status
    answer = await ask(address, pod["metadata"]["namespace"])
    return answer, context.now() if answer is None else None


def _leaving_for(pod: Manifest, now: datetime) -> timedelta:
    """Return since when a pod is leaving: its deletionTimestamp is when it will be killed."""
    metadata = pod["metadata"]
    end = read_moment(metadata.get("deletionTimestamp"))
    if end is None:
        return timedelta()
    return now - end + timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)


def _container_run(pod: Manifest) -> tuple[str, bool]:
    """Return what tells one run of the agent's container from the next, and whether this one has ended."""
    agent = container_status(pod, CONTAINER)
    if not agent:
        return "", False
    state = agent.get("state") or {}
    run = f"{agent.get('restartCount', 0)}/{agent.get('containerID', '')}"
    return run, "terminated" in state or "waiting" in state


def _emptied_nodes(context: Context) -> set[str]:
    return {node["metadata"]["name"] for node in context.nodes if node["spec"]["unschedulable"]}


def _observed(pod: Manifest, seen: SeenPod, emptied: set[str], now: datetime) -> ObservedPod:
    worker = seen.status
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    trouble, crash = _trouble(pod), _crash(pod)
    view = PodView(
        name=metadata["name"],
        revision=labels.get(LABEL_REVISION, ""),
        ready=holds(status.get("conditions"), CONDITION_READY),
        leaving="deletionTimestamp" in metadata,
        finished=status.get("phase") in ("Succeeded", "Failed"),
        sessions=worker.sessions if worker else None,
        created=parse_timestamp(metadata["creationTimestamp"]),
        track=labels.get(LABEL_TRACK, STABLE),
        unwanted=(pod.get("spec") or {}).get("nodeName") in emptied,
        inputs=annotations.get(ANNOTATION_INPUTS, ""),
        failing=trouble is not None,
        # Without calls it ends in a moment, and restarts after a pause that the kubelet makes longer each time.
        ending=worker is not None and worker.draining and worker.sessions > 0,
    )
    since = find(status.get("conditions"), CONDITION_READY).get("lastTransitionTime")
    ready_since = parse_timestamp(since) if since else None
    unready = why_unready(pod, worker if seen.heard else None, now)
    idle_for = now - seen.busy_at if seen.busy_at else None
    unheard = has_not_heard(worker if seen.heard else None, _leaving_for(pod, now), took=seen.took, idle_for=idle_for)
    return ObservedPod(view, pod, worker, seen.heard, trouble, crash, ready_since, unready, unheard)


def _trouble(pod: Manifest) -> str | None:
    """Return why a pod does not start, in the kubelet's or the scheduler's words."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    agent = container_status(pod, CONTAINER)
    for item in (agent, *other_statuses(pod, CONTAINER)):
        if why := waiting(item):
            reason, message = why
            other = None if item is agent else str(item.get("name"))
            which = f", container {other}" if other else ""
            words = f"{said(reason, 64)}: {_last_words(pod, item) or said(message)}".rstrip(":. ")
            waits = waiting_remedy(name, reason, None if other else _IMAGE, other)
            return f"Pod {name}{which}: {words}. {remedy(words, waits)}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            words = f"{condition.get('reason')}: {said(condition.get('message') or '')}".rstrip(":. ")
            return f"Pod {name}: {words}. {remedy(words, UNSCHEDULABLE)}"
    return None


def _crash(pod: Manifest) -> str | None:
    """Return how a worker ended that has not restarted yet."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    if holds(status.get("conditions"), CONDITION_READY):
        return None
    agent = container_status(pod, CONTAINER)
    if ended := _ended(agent):
        words = _last_words(pod, agent)
        return f"Pod {name} ended with exit code {ended.get('exitCode')}{f': {words}' if words else ''}"
    return None


def _ended(status: Mapping[str, Manifest]) -> Manifest:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    ended: Manifest = state.get("terminated") or last.get("terminated") or {}
    return ended


def _last_words(pod: Manifest, status: Mapping[str, Manifest]) -> str:
    """Return what to quote of how a container ended."""
    name = str(status.get("name"))
    limits = (container(pod, name).get("resources") or {}).get("limits") or {}
    if name in (CONTAINER, RUNNER_CONTAINER):
        return said(last_words(_ended(status), limits.get("memory")))
    return said(last_words(_ended(status), limits.get("memory"), "that of the container in spec.podTemplate"))
