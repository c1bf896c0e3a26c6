"""Keeps the versions of a pool, and notes which of them served and which failed, as far as that is accepted.

Each note is decided on what was accepted before it: what the API server refused to keep is not built upon.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import ANNOTATION_FAILED, ANNOTATION_PROVEN, ANNOTATION_SERVED
from livekit_operator.engine.cache import key_of
from livekit_operator.errors import Blocked, NotFound, Problem
from livekit_operator.moments import read_moment, timestamp
from livekit_operator.pools.context import Context
from livekit_operator.pools.decide import Plan, decide_versions
from livekit_operator.pools.decisions.canary import judge_canary
from livekit_operator.pools.decisions.history import Rollout, failed_to_progress, prune
from livekit_operator.pools.decisions.rollout import STABLE
from livekit_operator.pools.manifests import records as pool_records
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.manifests.records import Record
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.observe import Observation
from livekit_operator.pools.pods import Pods
from livekit_operator.pools.versions import Kept, judged, judged_version, known_versions
from livekit_operator.pools.writes import remove
from livekit_operator.reconciling import children, status

Notes = dict[str, str | None]
"""Name of a note of a version (served, proven, failed) -> its text, None to remove it."""
_WITHOUT_CAUSE = re.compile(r"no pod became ready within \d+ s\.")
# Of the text of a note.
_MOST_LETTERS = 1024


async def keep_versions(context: Context, pool: VoiceAgentPool, memory: PoolMemory, observed: Observation) -> Kept:
    """Keep the wanted version, note what became of all of them, and return them; raises Blocked when there is none."""
    wanted, known = observed.wanted, dict(observed.known)
    await _remember(context, pool, memory, observed.template, known)
    if wanted not in known:
        known = await known_versions(context, pool, memory)
    known = await _note_proven(context, pool, memory, known, observed.pods)
    revision = _revision_to_run(memory, known, wanted)
    # Those that have a part in the rollout are judged; what runs is chosen once that is noted.
    concerned = decide_versions(pool, revision, known)
    known = await _note_failed(context, pool, known, observed.pods, memory, concerned, away=observed.away)
    return Kept(known, revision)


async def _remember(
    context: Context,
    pool: VoiceAgentPool,
    memory: PoolMemory,
    template: versions.Template,
    known: Mapping[str, PoolVersion],
) -> None:
    """Keep the wanted version beside the others, if that is accepted."""
    revision = versions.revision(template)
    name = versions.version_map_name(pool, revision)

    async def write() -> None:
        desired = versions.build_version_map(pool, template)
        there = context.children["ConfigMap"].get(key_of(desired))
        content = versions.content_digest(desired)
        if there and there.get("immutable") and versions.content_digest(there) != content:
            message = f"ConfigMap {'/'.join(key_of(there))} is not what the operator wrote for revision {revision}."
            raise Blocked(
                Problem(
                    reasons.NOT_OWNED, f"{message} It is left untouched: remove it, and it is made as it should be."
                )
            )
        await children.ensure(context, pool, desired)
        record = known[revision].record if revision in known else Record(content, context.now())
        records = {name: version.record for name, version in known.items()}
        await children.ensure(context, pool, pool_records.build_records(pool, {**records, revision: record}))

    await memory.refusals.attempt(f"ConfigMap {name}", revision, write, context.now())


def _revision_to_run(memory: PoolMemory, known: Mapping[str, PoolVersion], wanted: str) -> str:
    """Return the version that is asked for, or if that could not be kept, the one that served last.

    Raises Blocked when there is none.
    """
    if wanted in known:
        return wanted
    refused = memory.refusals.problem or Problem(
        reasons.PROGRESSING, "Waiting for the ConfigMap of the wanted version."
    )
    if not known:
        raise Blocked(refused)
    return max(
        known.values(),
        key=lambda version: (not version.failed, bool(version.proven), version.proven or version.created),
    ).revision


async def _note_proven(
    context: Context,
    pool: VoiceAgentPool,
    memory: PoolMemory,
    known: dict[str, PoolVersion],
    pods: Pods,
) -> dict[str, PoolVersion]:
    """Note which version serves all calls now; return what is known then."""
    newest = max((version.proven for version in known.values() if version.proven), default=None)
    for version in known.values():
        if _has_come(pods, version.revision) and (version.proven is None or version.proven != newest):
            # Not before what was noted last, whatever the clock says.
            moment = max(context.now(), newest + timedelta(seconds=1)) if newest else context.now()
            return await _note(context, pool, memory, known, version.revision, proven=timestamp(moment), failed=None)
    return known


async def _note_failed(
    context: Context,
    pool: VoiceAgentPool,
    known: dict[str, PoolVersion],
    pods: Pods,
    memory: PoolMemory,
    rollout: Rollout,
    *,
    away: bool,
) -> dict[str, PoolVersion]:
    """Note a version that fails to serve, or serves at last, and how a canary's calls went; return what is known.

    While the server is down (`away`), or no other version is ready either, it is not the version's fault.
    """
    now = context.now()
    for revision in (rollout.canary, rollout.stable, rollout.retried):
        version = known.get(revision or "")
        if version and (notes := _progress(pool, version, pods, now, away=away)):
            known = await _note(context, pool, memory, known, version.revision, **notes)
    if rollout.canary and not known[rollout.canary].failed:
        started, failed = pods.calls_of(rollout.canary, memory.gone)
        # Those that go on have not proved anything yet.
        ended = started - sum(p.view.sessions or 0 for p in pods.every if p.view.revision == rollout.canary)
        if notes := _canary_verdict(pool, ended, failed, now):
            known = await _note(context, pool, memory, known, rollout.canary, **notes)
    return known


def _progress(pool: VoiceAgentPool, version: PoolVersion, pods: Pods, now: datetime, *, away: bool) -> Notes | None:
    """Return what to note of a version whose pods have served, or have had no chance left to; None for nothing."""
    if version.served:
        return None
    ours = [pod for pod in pods.staying if pod.view.revision == version.revision]
    if any(pod.serves and pod.has_served(now) for pod in ours):
        # From now on it may be unready for a moment, as when the server is down.
        return {"served": "true", "failed": None}
    words = " ".join(word for pod in ours[:1] for word in (pod.trouble, pod.crash, pod.unready) if word)
    if version.failed:
        # What a busy kubelet says of it only after the deadline.
        is_told = not (words and _WITHOUT_CAUSE.fullmatch(version.failed))
        return None if is_told else {"failed": f"{version.failed} {words}"[:_MOST_LETTERS]}
    others = [pod for pod in pods.staying if pod.view.revision != version.revision]
    blameless = away or (others and not any(pod.view.ready for pod in others)) or any(pod.view.ready for pod in ours)
    first = min((pod.view.created for pod in ours), default=None)
    deadline = pool.spec.rollout.progress_deadline_seconds
    late = failed_to_progress(judged_version(version), first_pod=first, ready=0, now=now, deadline_seconds=deadline)
    if blameless or not late:
        return None
    return {"failed": f"no pod became ready within {deadline} s. {words}".strip()[:_MOST_LETTERS]}


def _canary_verdict(pool: VoiceAgentPool, ended: int, failed: int, now: datetime) -> Notes | None:
    """Return what to note of a canary that had so many calls, None while that is open."""
    canary = pool.spec.rollout.canary
    if canary is None:
        return None
    match judge_canary(canary.analysis, sessions=max(0, ended), failed=failed):
        case "Promote":
            return {"proven": timestamp(now)}
        case "Fail":
            return {"served": "true", "failed": f"{failed} of its {ended} calls failed."}
        case "Wait":
            return None


def _has_come(pods: Pods, revision: str) -> bool:
    """Return whether a version serves all calls: a rollout to it is complete."""
    staying = [pod.view for pod in pods.staying]
    return any(view.ready for view in staying) and all(
        (view.revision, view.track) == (revision, STABLE) for view in staying
    )


async def _note(
    context: Context,
    pool: VoiceAgentPool,
    memory: PoolMemory,
    known: dict[str, PoolVersion],
    revision: str,
    **notes: str | None,
) -> dict[str, PoolVersion]:
    """Record `served`, `proven` or `failed` of a version, if that is accepted; None removes a note."""
    version = known[revision]
    record = replace(
        version.record,
        served=version.served or "served" in notes,
        proven=read_moment(notes["proven"]) if "proven" in notes else version.proven,
        failed=notes.get("failed", version.failed),
    )
    after = {**known, revision: replace(version, record=record)}
    records = pool_records.build_records(pool, {name: version.record for name, version in after.items()})

    async def write() -> None:
        await children.ensure(context, pool, records)

    # The same whatever their texts, which contain times.
    what = f"the notes {', '.join(sorted(notes))} of revision {revision} in Secret {pool_records.records_name(pool)}"
    if not await memory.refusals.attempt(what, "", write, context.now()):
        return known
    await _show_notes(context, pool, memory, revision, notes)
    if notes.get("failed"):
        await status.emit(
            context, pool, "Warning", reasons.ROLLOUT_FAILED, f"Revision {revision}: {notes['failed']} Change the spec."
        )
    return after


async def _show_notes(
    context: Context, pool: VoiceAgentPool, memory: PoolMemory, revision: str, notes: Mapping[str, str | None]
) -> None:
    """Write into a version's ConfigMap, for people and older operators, what became of it."""
    annotations = {"served": ANNOTATION_SERVED, "proven": ANNOTATION_PROVEN, "failed": ANNOTATION_FAILED}
    name = versions.version_map_name(pool, revision)
    patch = {"metadata": {"annotations": {annotations[note]: text for note, text in notes.items()}}}

    async def write() -> None:
        with suppress(NotFound):
            await children.patch(context, pool, "ConfigMap", name, patch)

    await memory.refusals.attempt(f"the annotations of ConfigMap {name}", "", write, context.now())


async def forget_former(
    context: Context, pool: VoiceAgentPool, memory: PoolMemory, observed: Observation, plan: Plan
) -> None:
    """Delete versions beyond the history's limit that have no pods."""
    rollout = plan.rollout
    keep = {observed.wanted, rollout.stable, *(pod.view.revision for pod in observed.pods.every)}
    keep |= {revision for revision in (rollout.canary, rollout.retried) if revision}
    for revision in prune(judged(plan.known), keep, pool.spec.rollout.history_limit):
        key = (pool.metadata.namespace, versions.version_map_name(pool, revision))
        memory.gone.pop(revision, None)
        if manifest := context.children["ConfigMap"].get(key):
            await remove(context, memory, "ConfigMap", manifest)
