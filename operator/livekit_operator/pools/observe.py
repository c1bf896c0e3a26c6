"""The pods of a pool as they are: what their workers report, which calls were lost, why a pod does not start."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import find, holds
from livekit_operator.constants import ANNOTATION_INPUTS, CONDITION_READY, LABEL_REVISION, LABEL_TRACK
from livekit_operator.containers import container, container_status, other_statuses, waiting
from livekit_operator.engine.cache import Manifest
from livekit_operator.manifests.metadata import COMPONENT_AGENT
from livekit_operator.manifests.pod_remedies import UNSCHEDULABLE, look_at, waiting_remedy
from livekit_operator.moments import parse_timestamp
from livekit_operator.outside import said
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.rollout import STABLE, PodView
from livekit_operator.pools.manifests.pod import CONTAINER
from livekit_operator.pools.memory import PoolMemory, SeenPod
from livekit_operator.reconciling import children
from livekit_operator.reconciling.hanging_pods import why_it_hangs
from livekit_operator.reconciling.ownership import identity, is_owned, relabel
from livekit_operator.views import ProviderError, WorkerStatus

_IMAGE = "spec.agent.image"
# One that is ready and then dies of its first calls has not served.
_PROBATION = timedelta(seconds=60)
# How often a pod is asked that gave no answer and whose node is not ready: the pass waits for it each time.
_SILENT = timedelta(seconds=30)


@dataclass(frozen=True)
class ObservedPod:
    """A pod, what its worker said last, and why it does not start; `answered` at this very look."""

    view: PodView
    manifest: Manifest
    worker: WorkerStatus | None
    answered: bool
    trouble: str | None = None
    crash: str | None = None
    """The last output of a worker that ended by itself."""
    ready_since: datetime | None = None

    def has_served(self, now: datetime) -> bool:
        """Return whether it has shown that its version can serve: by a call, or by being ready for a while."""
        if self.worker and self.worker.started > self.worker.failed:
            return True
        return self.ready_since is not None and now - self.ready_since >= _PROBATION

    @property
    def serves(self) -> bool:
        """Return whether new calls may come to it."""
        return self.view.ready and self.view.stays


@dataclass(frozen=True)
class Observation:
    """A pool's pods at one look."""

    pods: Sequence[ObservedPod]
    lost_rooms: frozenset[str] = field(default_factory=frozenset)
    """Names of rooms whose call died with its worker since the last look."""

    @property
    def views(self) -> list[PodView]:
        """Return the pods as deciding sees them."""
        return [pod.view for pod in self.pods]

    @property
    def staying(self) -> list[ObservedPod]:
        """Return the pods that are not leaving."""
        return [pod for pod in self.pods if pod.view.stays]

    @property
    def serving(self) -> list[ObservedPod]:
        """Return the pods that new calls may come to."""
        return [pod for pod in self.pods if pod.serves]

    @property
    def heard(self) -> bool:
        """Return whether any ready pod answered, or there is none."""
        return any(pod.answered for pod in self.serving) or not self.serving

    def active_sessions(self, track: str, most: int) -> int:
        """Return the calls on pods of a track that stay; a ready one that never answered may hold the most."""
        views = [pod.view for pod in self.staying if pod.view.track == track]
        return sum(view.sessions if view.sessions is not None else most * view.ready for view in views)

    def provider_errors(self, version: str) -> list[ProviderError]:
        """Return what providers answer to pods of a version: other pods may still report what has been fixed."""
        errors = {
            (error.role, error.provider, error.code): error
            for pod in self.staying
            if pod.worker and pod.answered and pod.view.version == version
            for error in pod.worker.provider_errors
        }
        return [errors[key] for key in sorted(errors)]


async def observe(context: Context, pool: VoiceAgentPool, memory: PoolMemory) -> Observation:
    """Read the pods and ask their workers, all at once."""
    await _find_unlabelled(context, pool, memory)
    manifests = context.children["Pod"].owned_by(identity(pool))
    answers = await asyncio.gather(*(_ask(context, memory, manifest) for manifest in manifests))
    seen: dict[str, SeenPod] = {}
    for manifest, answer in zip(manifests, answers, strict=True):
        uid = manifest["metadata"]["uid"]
        container, ended = _container_run(manifest)
        before = memory.pods.get(uid)
        # A worker that is too busy to answer keeps its last report; one that has restarted does not.
        kept = before.status if before and before.container == container and not ended else None
        revision = (manifest["metadata"].get("labels") or {}).get(LABEL_REVISION, "")
        leaving = "deletionTimestamp" in manifest["metadata"]
        seen[uid] = SeenPod(revision, leaving, container, ended, answer or kept, manifest["metadata"]["name"])
    lost = memory.see(seen, context.now())
    memory.silent = {uid: since for uid, since in memory.silent.items() if uid in seen}
    emptied = _emptied_nodes(context)
    pods = [
        _observed(manifest, seen[manifest["metadata"]["uid"]].status, answer is not None, emptied)
        for manifest, answer in zip(manifests, answers, strict=True)
    ]
    hangs = await why_it_hangs(context, [pod.manifest for pod in pods if pod.trouble is None])
    if hangs is not None:
        name, words = hangs
        # Only reported: a volume may yet be mounted, so it is no failure of the version.
        pods = [
            replace(pod, trouble=f"Pod {name} does not start: {words.rstrip('. ')}. {look_at(name)}")
            if pod.view.name == name
            else pod
            for pod in pods
        ]
    return Observation(pods, frozenset(lost))


async def _find_unlabelled(context: Context, pool: VoiceAgentPool, memory: PoolMemory) -> None:
    """Restore the labels of pods that vanished without terminating: the watch does not show pods without them."""
    there = {pod["metadata"]["uid"] for pod in context.children["Pod"].owned_by(identity(pool))}
    for uid, seen in memory.pods.items():
        if uid in there or seen.leaving:
            continue
        found = await children.find(context, "Pod", pool.metadata.namespace, seen.name)
        if found is not None and found["metadata"]["uid"] == uid and is_owned(pool, found):
            await relabel(context, pool, COMPONENT_AGENT, found)


async def _ask(context: Context, memory: PoolMemory, pod: Manifest) -> WorkerStatus | None:
    status, uid = pod.get("status") or {}, pod["metadata"]["uid"]
    address = status.get("podIP")
    if not address or status.get("phase") != "Running":
        return None
    node = context.nodes.get(("", pod["spec"].get("nodeName") or ""))
    silent_since = memory.silent.get(uid)
    if node is not None and not node["ready"] and silent_since and context.now() - silent_since < _SILENT:
        return None
    # By the pod, not the spec: it may be of a former version.
    ports = {port.get("name") for port in container(pod, CONTAINER).get("ports") or ()}
    ask = context.worker.status if "status" in ports else context.worker.plain_status
    answer = await ask(address, pod["metadata"]["namespace"])
    if answer is None:
        memory.silent[uid] = context.now()
    else:
        memory.silent.pop(uid, None)
    return answer


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


def _observed(pod: Manifest, worker: WorkerStatus | None, answered: bool, emptied: set[str]) -> ObservedPod:
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
    return ObservedPod(view, pod, worker, answered, trouble, crash, parse_timestamp(since) if since else None)


def _trouble(pod: Manifest) -> str | None:
    """Return why a pod does not start, in the kubelet's or the scheduler's words."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    agent = container_status(pod, CONTAINER)
    for item in (agent, *other_statuses(pod, CONTAINER)):
        if why := waiting(item):
            reason, message = why
            which = "" if item is agent else f", container {item.get('name')}"
            words = f"{said(reason, 64)}: {_last_words(item) or said(message)}".rstrip(":. ")
            return f"Pod {name}{which}: {words}. {waiting_remedy(name, reason, _IMAGE if item is agent else None)}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            words = f"{condition.get('reason')}: {said(condition.get('message') or '')}".rstrip(":. ")
            return f"Pod {name}: {words}. {UNSCHEDULABLE}"
    return None


def _crash(pod: Manifest) -> str | None:
    """Return how a worker ended that has not restarted yet."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    if holds(status.get("conditions"), CONDITION_READY):
        return None
    agent = container_status(pod, CONTAINER)
    if ended := _ended(agent):
        words = _last_words(agent)
        return f"Pod {name} ended with exit code {ended.get('exitCode')}{f': {words}' if words else ''}"
    return None


def _ended(status: Mapping[str, Manifest]) -> Manifest:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    ended: Manifest = state.get("terminated") or last.get("terminated") or {}
    return ended


def _last_words(status: Mapping[str, Manifest]) -> str:
    """Return what the agent left where the kubelet finds it."""
    return said(_ended(status).get("message") or "").strip()
