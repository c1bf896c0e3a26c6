"""The versions of a pool: which are the pool's own, and what their pods need.

The records are in a Secret beside the versions' ConfigMaps: an operator that starts goes on from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.errors import Blocked, NotOwned
from livekit_operator.manifests.metadata import COMPONENT_AGENT, digest, labels
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.history import Rollout, Version
from livekit_operator.pools.manifests import children as build
from livekit_operator.pools.manifests import records as pool_records
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.manifests.pod import PodInputs
from livekit_operator.pools.manifests.records import Record
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.pods import Pods
from livekit_operator.reconciling import children
from livekit_operator.reconciling.foreign_secrets import find_value, read_secret, read_value
from livekit_operator.reconciling.ownership import adopt, identity, is_owned, take_over, why_foreign
from livekit_operator.servers.manifests.keys import key_digest
from livekit_operator.servers.memory import Credentials


@dataclass(frozen=True)
class Kept:
    """Revision -> version, as they are kept and noted now, and the revision to run."""

    known: Mapping[str, PoolVersion]
    revision: str


async def known_versions(context: Context, pool: VoiceAgentPool, memory: PoolMemory) -> dict[str, PoolVersion]:
    """Return revision -> version of all versions that are remembered, by ConfigMaps that are as they were recorded.

    Those that a former pool of the same name left are taken over.
    """
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
    told = {version.revision for version in pool.last.versions}
    maps = context.children["ConfigMap"].owned_by(identity(pool)) if told else []
    former = [found for manifest in maps if (found := versions.record_of_former(pool, manifest))]
    return {revision: record for revision, record in former if revision in told}


def judged(known: Mapping[str, PoolVersion]) -> list[Version]:
    """Return versions as deciding sees them."""
    return [judged_version(version) for version in known.values()]


def judged_version(version: PoolVersion) -> Version:
    return Version(version.revision, version.created, version.proven, version.failed, version.served)


async def find_inputs(
    context: Context,
    pool: VoiceAgentPool,
    credentials: Credentials,
    known: Mapping[str, PoolVersion],
    pods: Pods,
    rollout: Rollout,
) -> tuple[Rollout, dict[str, PodInputs], float]:
    """Return what runs, revision -> what its pods need from outside, and when the next pass is due (seconds).

    A version whose Secrets are missing does not replace one that serves, and goes on if it serves itself. Raises
    Blocked when there is no other.
    """
    inputs: dict[str, PodInputs] = {}
    again = float("inf")
    try:
        inputs[rollout.stable] = await _inputs_of(context, pool, credentials, known[rollout.stable])
    except Blocked as blocked:
        others = [v for v in known.values() if v.proven and not v.failed and v.revision != rollout.stable]
        if not others or any(pod.view.revision == rollout.stable for pod in pods.serving):
            raise
        former = max(others, key=lambda version: (version.proven, version.revision)).revision
        inputs[former] = await _inputs_of(context, pool, credentials, known[former])
        return Rollout(former, None, blocked.problem), inputs, blocked.problem.retry_after or again
    if rollout.canary:
        try:
            inputs[rollout.canary] = await _inputs_of(context, pool, credentials, known[rollout.canary])
        except Blocked as blocked:
            problem = blocked.problem
            return Rollout(rollout.stable, None, problem), inputs, blocked.problem.retry_after or again
    if rollout.retried:
        try:
            inputs[rollout.retried] = await _inputs_of(context, pool, credentials, known[rollout.retried])
        except Blocked as blocked:
            return replace(rollout, retried=None), inputs, blocked.problem.retry_after or again
    return rollout, inputs, again


async def _inputs_of(
    context: Context, pool: VoiceAgentPool, credentials: Credentials, version: PoolVersion
) -> PodInputs:
    """Return what pods of a version need; raises Blocked naming a Secret or key of a provider that is missing.

    One that a variable names may be missing: the kubelet says so, or it is optional.
    """
    then = versions.with_template(pool, version.template)
    digests: dict[str, str | None] = {}
    for part, _, reference in sorted(build.agent_secrets(then), key=lambda secret: secret[0]):
        field = f"spec.agent.{part}"
        value = await read_value(context, pool.metadata.namespace, reference.name, reference.key, field)
        digests[part.removesuffix(".apiKeySecretRef")] = digest(value, 8)
    for variable, reference in sorted(build.secret_variables(then).items()):
        found = await find_value(context, pool.metadata.namespace, reference.name, reference.key)
        digests[f"env.{variable}"] = None if found is None else digest(found, 8)
    for name in build.secret_sources(then):
        secret = await read_secret(context, (pool.metadata.namespace, name), may_miss=True)
        digests[f"envFrom.{name}"] = None if secret is None else digest(secret.get("data") or {}, 8)
    keys = credentials.keys
    return PodInputs(
        server_url=keys.internal_url,
        secrets_digest=digest([digests, keys.api_key, keys.api_secret], 8),
        key_digest=key_digest(keys.api_key, keys.api_secret),
        omit_ids=context.settings.omit_ids,
        shown_key=key_digest(keys.api_key, keys.api_secret, credentials.salt),
    )
