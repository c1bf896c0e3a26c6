"""VoiceAgentPool: configuration, credentials and pods; sessions decide how many."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.autoscaling import desired_replicas
from livekit_operator.conditions import Observed, holds, parse_timestamp
from livekit_operator.constants import AGENT_STATUS_PORT, CONDITION_READY, LABEL_REVISION
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.errors import ServerNotAllowed
from livekit_operator.reconcilers import children
from livekit_operator.reconcilers.context import Context, ServerAccess
from livekit_operator.reconcilers.reconcile import reconcile
from livekit_operator.reconcilers.references import find_access, find_server
from livekit_operator.reconcilers.secrets import read_value
from livekit_operator.reconcilers.status import Outcome
from livekit_operator.resources import voiceagentpool as build
from livekit_operator.resources.livekitserver import key_digest
from livekit_operator.resources.metadata import digest
from livekit_operator.rollout import Plan, PodView, plan
from livekit_operator.views import ProviderError, WorkerStatus

CONDITION_PROVIDERS = "ProvidersAccepted"
REASON_REJECTED = "ProviderRejected"
REASON_FAILING = "ProviderFailing"
REFUSED_CODES = (401, 403)


@dataclass(frozen=True)
class Observation:
    """The pool's pods, what their workers say, and why a pod cannot start."""

    pods: Sequence[PodView]
    providers: Sequence[ProviderError] = ()
    trouble: str | None = None
    heard: bool = True
    """Whether any ready pod answered."""

    @property
    def staying(self) -> list[PodView]:
        """Return the pods that are not leaving."""
        return [pod for pod in self.pods if not pod.leaving and not pod.finished]

    def active_sessions(self, most: int) -> int:
        """Return the calls on pods that stay; a ready one that never answered may hold the most."""
        return sum(pod.sessions if pod.sessions is not None else most * pod.ready for pod in self.staying)


async def reconcile_pool(context: Context, key: Key) -> float | None:
    """Reconcile one VoiceAgentPool."""
    if context.resources["VoiceAgentPool"].get(key) is None:
        context.sessions.pop(key, None)
    return await reconcile(context, VoiceAgentPool, key, _pass)


async def _pass(context: Context, pool: VoiceAgentPool) -> Outcome | None:
    if pool.metadata.deletion_timestamp:
        return None  # everything of it is inside Kubernetes: the garbage collector does the rest
    try:
        server = find_server(context, pool, pool.spec.server_ref)
    except ServerNotAllowed:
        await children.remove_secrets(context, pool)
        raise
    access = find_access(context, pool, server)
    if access is None:
        return None
    digests = await _read_provider_secrets(context, pool)
    config = build.build_agent_config(pool, context.settings.provider_base_urls)
    inputs = build.PoolInputs(
        server_url=access.keys.internal_url,
        secrets_digest=digest([digests, access.keys.api_key, access.keys.api_secret], 8),
        key_digest=key_digest(access.keys.api_key, access.keys.api_secret),
        agent_image=context.settings.agent_image,
    )
    template = build.build_pod(pool, config, inputs, "")
    revision = template["metadata"]["labels"][LABEL_REVISION]
    observed = await observe(context, pool, revision)
    active = observed.active_sessions(pool.spec.sessions_per_pod)
    desired = desired_replicas(pool.spec, active_sessions=active)
    decided = plan(observed.pods, desired=desired, revision=revision)
    await apply(context, pool, access, config, inputs, decided)
    return decide(pool, observed, desired, revision, context.settings.pool_poll_seconds)


async def observe(context: Context, pool: VoiceAgentPool, revision: str) -> Observation:
    """Look at the pods and ask their workers, all at once."""
    pods = context.children["Pod"].owned_by(pool.metadata.uid)
    answers = await asyncio.gather(*(_ask(context, pod) for pod in pods))
    before, last = context.sessions.get(pool.key, {}), {}
    for pod, answer in zip(pods, answers, strict=True):
        uid = pod["metadata"]["uid"]
        if answer or uid in before:
            last[uid] = answer.sessions if answer else before[uid]
    context.sessions[pool.key] = last
    views = [_view(pod, last.get(pod["metadata"]["uid"])) for pod in pods]
    # Older and leaving pods may still complain of what has been put right.
    current = [
        a for view, a in zip(views, answers, strict=True) if a and view.revision == revision and not view.leaving
    ]
    errors = {(e.role, e.provider, e.code): e for answer in current for e in answer.provider_errors}
    troubles = [text for pod in pods if (text := _trouble(pod))]
    return Observation(
        views,
        tuple(errors[key] for key in sorted(errors)),
        troubles[0] if troubles else None,
        heard=any(answer for view, answer in zip(views, answers, strict=True) if view.ready)
        or not any(view.ready for view in views),
    )


async def apply(
    context: Context,
    pool: VoiceAgentPool,
    access: ServerAccess,
    config: dict[str, Any],
    inputs: build.PoolInputs,
    decided: Plan,
) -> None:
    """Make configuration and credentials as desired, then create and delete the pods that were decided on."""
    await children.ensure(context, pool, build.build_config_map(pool, config))
    await children.ensure(context, pool, build.build_credentials(pool, access.keys.api_key, access.keys.api_secret))
    # What leaves goes first: under a quota it makes the room for what comes.
    for name in decided.delete:
        manifest = context.children["Pod"].get((pool.metadata.namespace, name))
        if manifest is not None:
            await children.remove(context, "Pod", manifest)
    for _ in range(decided.create):
        pod = build.build_pod(pool, config, inputs, secrets.token_hex(3))
        context.children["Pod"].put(await context.kubernetes.create(pod))


def decide(pool: VoiceAgentPool, observed: Observation, desired: int, revision: str, poll_seconds: float) -> Outcome:
    """Return the status of what was observed."""
    staying = observed.staying
    ready = [pod for pod in staying if pod.ready]
    fields: dict[str, Any] = {
        "agentName": build.agent_name(pool),
        "selector": build.pod_selector(pool),
        "revision": revision,
        "replicas": len(staying),
        "desiredReplicas": desired,
        "readyReplicas": len(ready),
        "updatedReplicas": sum(pod.revision == revision for pod in staying),
        "drainingReplicas": sum(pod.leaving for pod in observed.pods),
        "activeSessions": sum(pod.sessions or 0 for pod in observed.pods),
        "freeSessions": sum(
            max(0, pool.spec.sessions_per_pod - pod.sessions) for pod in ready if pod.sessions is not None
        ),
    }
    conditions = [_ready(pool, observed, desired, revision), _providers(pool, observed)]
    return Outcome(conditions, fields, poll_seconds)


def _ready(pool: VoiceAgentPool, observed: Observation, desired: int, revision: str) -> Observed:
    if observed.providers:
        return Observed.not_ready(_provider_reason(observed), _provider_problems(observed.providers))
    ready = [pod for pod in observed.staying if pod.ready]
    updated = sum(pod.revision == revision for pod in ready)
    # A pool that grows is ready all the while: only what must always be there counts.
    least = pool.spec.autoscaling.min_replicas if pool.spec.autoscaling else desired
    if updated >= least:
        return Observed.ready(f"{len(ready)} of {desired} pods are warm and registered.")
    if len(ready) >= least:
        reason, message = "RollingOut", f"{updated} of {least} pods run the wanted version; older ones serve."
    else:
        reason, message = "Progressing", f"{len(ready)} of {desired} pods are warm and registered."
    if observed.trouble:
        return Observed.not_ready("PodsFailing", f"{message} {observed.trouble}")
    return Observed.not_ready(reason, message)


def _providers(pool: VoiceAgentPool, observed: Observation) -> Observed:
    if observed.providers:
        problems = _provider_problems(observed.providers)
        return Observed(CONDITION_PROVIDERS, False, _provider_reason(observed), problems)
    if not observed.heard:
        message = f"No agent pod answers on port {AGENT_STATUS_PORT}: does a NetworkPolicy keep the operator out?"
        return Observed(CONDITION_PROVIDERS, None, "WorkersUnreachable", message)
    if not any(pod.ready for pod in observed.pods):
        return Observed(CONDITION_PROVIDERS, None, "NotAsked", "No agent is ready to ask the providers.")
    roles = ", ".join(sorted(build.provider_secrets(pool)))
    return Observed(CONDITION_PROVIDERS, True, "Accepted", f"Every provider answers ({roles}).")


def _provider_reason(observed: Observation) -> str:
    refused = any(error.code in REFUSED_CODES for error in observed.providers)
    return REASON_REJECTED if refused else REASON_FAILING


def _provider_problems(errors: Sequence[ProviderError]) -> str:
    return " ".join(_provider_problem(error) for error in errors)


def _provider_problem(error: ProviderError) -> str:
    if error.code in REFUSED_CODES:
        return (
            f"{error.provider} refuses the key for {error.role} (HTTP {error.code}): "
            f"check the Secret of spec.agent.{error.role}.apiKeySecretRef."
        )
    if error.code == 0:
        hint = f"check the network and spec.agent.{error.role}.baseUrl."
        return f"{error.provider} cannot be reached for {error.role}: {hint}"
    return f"{error.provider} fails for {error.role} (code {error.code}): check spec.agent.{error.role}."


async def _ask(context: Context, pod: Manifest) -> WorkerStatus | None:
    address = (pod.get("status") or {}).get("podIP")
    if not address or (pod["status"].get("phase") != "Running"):
        return None
    return await context.worker.status(address)


def _view(pod: Manifest, sessions: int | None) -> PodView:
    metadata, status = pod["metadata"], pod.get("status") or {}
    ready = holds(status.get("conditions"), CONDITION_READY)
    return PodView(
        name=metadata["name"],
        revision=(metadata.get("labels") or {}).get(LABEL_REVISION, ""),
        ready=ready,
        leaving="deletionTimestamp" in metadata,
        finished=status.get("phase") in ("Succeeded", "Failed"),
        sessions=sessions,
        created=parse_timestamp(metadata["creationTimestamp"]),
    )


def _trouble(pod: Manifest) -> str | None:
    """Return why a pod does not start, in the kubelet's or the scheduler's words."""
    status = pod.get("status") or {}
    name = pod["metadata"]["name"]
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            # The agent leaves its last words where the kubelet finds them.
            ended = (container.get("lastState") or {}).get("terminated") or {}
            words = (ended.get("message") or waiting.get("message") or "").strip()
            return f"Pod {name}: {waiting['reason']}: {words}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"Pod {name}: {condition.get('reason')}: {condition.get('message', '')}"
    return None


async def _read_provider_secrets(context: Context, pool: VoiceAgentPool) -> dict[str, str]:
    """Return role -> digest of the provider's key; raises Blocked naming a Secret or key that is missing."""
    digests = {}
    for role, reference in sorted(build.provider_secrets(pool).items()):
        field = f"spec.agent.{role}.apiKeySecretRef"
        value = await read_value(context, pool.metadata.namespace, reference.name, reference.key, field)
        digests[role] = digest(value, 8)
    return digests
