"""The versions of a pool: which are kept, which served or failed, and what their pods need.

The records are in a Secret beside the versions' ConfigMaps: an operator that starts goes on from there.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import ANNOTATION_FAILED, ANNOTATION_PROVEN, ANNOTATION_SERVED
from livekit_operator.engine.cache import key_of
from livekit_operator.errors import Blocked, NotFound, NotOwned, Problem
from livekit_operator.manifests.metadata import COMPONENT_AGENT, digest, labels
from livekit_operator.moments import read_moment, timestamp
from livekit_operator.pools import status as pool_status
from livekit_operator.pools.apply import remove
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.history import Rollout, Version, failed_to_progress, judge_canary, prune
from livekit_operator.pools.decisions.rollout import STABLE
from livekit_operator.pools.manifests import children as build
from livekit_operator.pools.manifests import records as pool_records
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.manifests.pod import PodInputs
from livekit_operator.pools.manifests.records import Record
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.observe import Observation
from livekit_operator.reconciling import children, status
from livekit_operator.reconciling.foreign_secrets import find_value, read_value
from livekit_operator.reconciling.ownership import adopt, identity, is_owned, take_over, why_foreign
from livekit_operator.reconciling.references import target
from livekit_operator.servers.manifests.keys import key_digest
from livekit_operator.servers.memory import ServerAccess


async def known_versions(context: Context, pool: VoiceAgentPool, memory: PoolMemory) -> dict[str, PoolVersion]:
    """Return revision -> version of all versions that are remembered, by ConfigMaps that are as they were recorded."""
    found = {}
    for revision, record in (await _records(context, pool, memory)).items():
        key = (pool.metadata.namespace, versions.version_map_name(pool, revision))
        manifest = context.children["ConfigMap"].get(key)
        version = versions.parse_version(manifest, revision, record) if manifest else None
        if manifest is None or version is None:
            continue
        if not is_owned(pool, manifest):
            # Its content has been verified.
            desired = {"kind": "ConfigMap", "metadata": {"labels": labels(pool, COMPONENT_AGENT)}}
            if why_foreign(pool, {**desired, "data": manifest["data"]}, manifest):
                continue
            await take_over(context, pool, "ConfigMap", manifest)
        found[revision] = version
    return found


async def _records(context: Context, pool: VoiceAgentPool, memory: PoolMemory) -> dict[str, Record]:
    """Return revision -> what was noted of a version."""
    key = (pool.metadata.namespace, pool_records.records_name(pool))
    secret = context.children["Secret"].get(key) or await children.find(context, "Secret", *key)
    if secret is None:
        return _former_records(context, pool)
    if not is_owned(pool, secret):
        try:
            secret = await adopt(context, pool, pool_records.build_records(pool, {}), secret)
        except NotOwned as blocked:
            memory.refusals.tell(f"Secret {key[1]}", blocked.problem)
            return {}
    return pool_records.read_records(secret)


def _former_records(context: Context, pool: VoiceAgentPool) -> dict[str, Record]:
    """Return the records of versions kept by an operator that had no records yet, as the status lists them."""
    told = {version.get("revision") for version in pool.status.get("versions") or ()}
    maps = context.children["ConfigMap"].owned_by(identity(pool)) if told else []
    former = [found for manifest in maps if (found := versions.record_of_former(pool, manifest))]
    return {revision: record for revision, record in former if revision in told}


async def remember(
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


def kept_version(memory: PoolMemory, known: Mapping[str, PoolVersion], wanted: str) -> str:
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


def judged(known: Mapping[str, PoolVersion]) -> list[Version]:
    """Return versions as deciding sees them."""
    return [_judged_version(version) for version in known.values()]


def _judged_version(version: PoolVersion) -> Version:
    return Version(version.revision, version.created, version.proven, version.failed, version.served)


async def note_proven(
    context: Context,
    pool: VoiceAgentPool,
    memory: PoolMemory,
    known: dict[str, PoolVersion],
    observed: Observation,
) -> dict[str, PoolVersion]:
    """Note which version serves all calls now; return what is known then."""
    newest = max((version.proven for version in known.values() if version.proven), default=None)
    for version in known.values():
        if _has_come(observed, version.revision) and (version.proven is None or version.proven != newest):
            # Not before what was noted last, whatever the clock says.
            moment = max(context.now(), newest + timedelta(seconds=1)) if newest else context.now()
            return await _note(context, pool, memory, known, version.revision, proven=timestamp(moment), failed=None)
    return known


async def note_failed(
    context: Context,
    pool: VoiceAgentPool,
    known: dict[str, PoolVersion],
    observed: Observation,
    memory: PoolMemory,
    rollout: Rollout,
    *,
    away: bool,
) -> dict[str, PoolVersion]:
    """Note a version that fails to serve, or serves at last, and how a canary's calls went; return what is known.

    While the server is down (`away`), or no other version is ready either, it is not the version's fault.
    """
    now = context.now()
    deadline = pool.spec.rollout.progress_deadline_seconds
    for revision in (rollout.canary, rollout.stable, rollout.retried):
        version = known.get(revision or "")
        if version is None or version.served:
            continue
        pods = [pod for pod in observed.staying if pod.view.revision == revision]
        if any(pod.serves and pod.has_served(now) for pod in pods):
            # From now on it may be unready for a moment, as when the server is down.
            known = await _note(context, pool, memory, known, version.revision, served="true", failed=None)
            continue
        if version.failed:
            continue
        others = [pod for pod in observed.staying if pod.view.revision != revision]
        blameless = away or (others and not any(pod.view.ready for pod in others)) or any(p.view.ready for p in pods)
        first = min((pod.view.created for pod in pods), default=None)
        late = failed_to_progress(
            _judged_version(version), first_pod=first, ready=0, now=now, deadline_seconds=deadline
        )
        if late and not blameless:
            words = [word for pod in pods[:1] for word in (pod.trouble, pod.crash) if word]
            reason = " ".join([f"no pod became ready within {deadline} s.", *words])
            known = await _note(context, pool, memory, known, version.revision, failed=reason[:1024])
    canary = pool.spec.rollout.canary
    if rollout.canary and canary and not known[rollout.canary].failed:
        started, failed = pool_status.version_sessions(observed, memory, rollout.canary)
        # Those that go on have not proved anything yet.
        ended = started - sum(p.view.sessions or 0 for p in observed.pods if p.view.revision == rollout.canary)
        match judge_canary(canary.analysis, sessions=max(0, ended), failed=failed):
            case "Promote":
                known = await _note(context, pool, memory, known, rollout.canary, proven=timestamp(now))
            case "Fail":
                reason = f"{failed} of its {ended} calls failed."
                known = await _note(context, pool, memory, known, rollout.canary, served="true", failed=reason)
            case "Wait":
                pass
    return known


def _has_come(observed: Observation, revision: str) -> bool:
    """Return whether a version serves all calls: a rollout to it is complete."""
    staying = [pod.view for pod in observed.staying]
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


async def find_inputs(
    context: Context,
    pool: VoiceAgentPool,
    access: ServerAccess,
    known: Mapping[str, PoolVersion],
    observed: Observation,
    rollout: Rollout,
) -> tuple[Rollout, dict[str, PodInputs], float]:
    """Return what runs, revision -> what its pods need from outside, and when to look again (seconds).

    A version whose Secrets are missing does not replace one that serves, and goes on if it serves itself. Raises
    Blocked when there is no other.
    """
    inputs: dict[str, PodInputs] = {}
    again = float("inf")
    try:
        inputs[rollout.stable] = await _inputs_of(context, pool, access, known[rollout.stable])
    except Blocked as blocked:
        others = [v for v in known.values() if v.proven and not v.failed and v.revision != rollout.stable]
        if not others or any(pod.view.revision == rollout.stable for pod in observed.serving):
            raise
        former = max(others, key=lambda version: (version.proven, version.revision)).revision
        inputs[former] = await _inputs_of(context, pool, access, known[former])
        return Rollout(former, None, blocked.problem), inputs, blocked.problem.retry_after or again
    if rollout.canary:
        try:
            inputs[rollout.canary] = await _inputs_of(context, pool, access, known[rollout.canary])
        except Blocked as blocked:
            problem = blocked.problem
            return Rollout(rollout.stable, None, problem), inputs, blocked.problem.retry_after or again
    if rollout.retried:
        try:
            inputs[rollout.retried] = await _inputs_of(context, pool, access, known[rollout.retried])
        except Blocked as blocked:
            return replace(rollout, retried=None), inputs, blocked.problem.retry_after or again
    return rollout, inputs, again


async def _inputs_of(context: Context, pool: VoiceAgentPool, access: ServerAccess, version: PoolVersion) -> PodInputs:
    """Return what pods of a version need; raises Blocked naming a Secret or key of a provider that is missing.

    One that a variable names may be missing: the kubelet says so, or it is optional.
    """
    then = versions.with_template(pool, version.template)
    digests: dict[str, str | None] = {}
    for role, reference in sorted(build.provider_secrets(then).items()):
        field = f"spec.agent.{role}.apiKeySecretRef"
        value = await read_value(context, pool.metadata.namespace, reference.name, reference.key, field)
        digests[role] = digest(value, 8)
    for variable, reference in sorted(build.secret_variables(then).items()):
        found = await find_value(context, pool.metadata.namespace, reference.name, reference.key)
        digests[f"env.{variable}"] = None if found is None else digest(found, 8)
    keys = access.keys
    _, state = context.key_states.get(target(pool, pool.spec.server_ref), ("", None))
    return PodInputs(
        server_url=keys.internal_url,
        secrets_digest=digest([digests, keys.api_key, keys.api_secret], 8),
        key_digest=key_digest(keys.api_key, keys.api_secret),
        omit_ids=context.settings.omit_ids,
        shown_key=key_digest(keys.api_key, keys.api_secret, state.salt if state else ""),
    )


async def forget_former(
    context: Context,
    pool: VoiceAgentPool,
    memory: PoolMemory,
    known: Mapping[str, PoolVersion],
    observed: Observation,
    rollout: Rollout,
    wanted: str,
) -> None:
    """Delete versions beyond the history's limit that have no pods."""
    keep = {wanted, rollout.stable, *(pod.view.revision for pod in observed.pods)}
    keep |= {revision for revision in (rollout.canary, rollout.retried) if revision}
    for revision in prune(judged(known), keep, pool.spec.rollout.history_limit):
        key = (pool.metadata.namespace, versions.version_map_name(pool, revision))
        memory.gone.pop(revision, None)
        if manifest := context.children["ConfigMap"].get(key):
            await remove(context, memory, "ConfigMap", manifest)
