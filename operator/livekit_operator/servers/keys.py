"""A server's API keys: generated or given, rotated, in one Secret that servers, pools and tokens follow."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import KeyStatus, LiveKitServer
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import ANNOTATION_KEYS
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import Blocked, KubernetesError, NotOwned, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER, labels
from livekit_operator.moments import timestamp
from livekit_operator.reconciling import children
from livekit_operator.reconciling.foreign_secrets import RETRY_SECONDS, require_secret
from livekit_operator.reconciling.ownership import identity, is_owned, take_over, why_foreign
from livekit_operator.reconciling.references import understood
from livekit_operator.servers.access import allows
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState, Users, dropped_at, next_state, phase
from livekit_operator.servers.links import as_pool
from livekit_operator.servers.manifests.keys import (
    build_keys_secret,
    key_digest,
    keys_digest,
    parse_key,
    read_stored_keys,
)
from livekit_operator.servers.manifests.names import CHILD_KINDS, keys_secret_name
from livekit_operator.servers.pods import pods_of


@dataclass(frozen=True)
class ServerKeyring:
    """The keys of a server now, how far their rotation is, and what is wrong with those that were given."""

    state: KeyState
    status: KeyStatus
    problem: Problem | None = None


async def ensure_keys(context: Context, server: LiveKitServer) -> ServerKeyring:
    """Return the keys after one step of their rotation.

    Raises Blocked when there is none yet; when keys are missing or wrong later, the known ones stay in use.
    """
    known = await _read_state(context, server)
    given, problem = None, None
    if server.spec.keys_secret_ref:
        try:
            given = await _read_given(context, server)
        except Blocked as blocked:
            if known is None:
                raise
            problem = blocked.problem
    rotation = server.spec.key_rotation.id
    state = known or KeyState(in_use=(first := given or generate_key()), accepted=(first,), rotation=rotation)
    if not state.salt:
        state = replace(state, salt=secrets.token_urlsafe(24))
    users = _users(context, server, state)
    grace = timedelta(seconds=server.spec.key_rotation.grace_seconds)
    if problem is None:
        state = next_state(
            state, users, given=given, rotation=rotation, generate=generate_key, grace=grace, now=context.now()
        )
    if state.claims_since is None:
        state = replace(state, claims_since=context.now())
    await children.ensure(context, server, build_keys_secret(server, state))
    context.key_states[server.key] = server.metadata.uid, state
    users = _users(context, server, state)
    drop = dropped_at(state, grace) if state.users_moved else None
    status = KeyStatus(
        phase=phase(state, users),
        rotation=state.rotation or None,
        accepted=len(state.accepted),
        old_key_dropped_at=timestamp(drop) if drop else None,
    )
    return ServerKeyring(state, status, problem)


def generate_key() -> ApiKey:
    """Return a new API key in LiveKit's form, with a secret of 48 characters."""
    return ApiKey(f"API{secrets.token_hex(6)}", secrets.token_urlsafe(36))


async def _read_state(context: Context, server: LiveKitServer) -> KeyState | None:
    """Return the keys so far: as remembered, after a start of the operator from their Secret."""
    namespace, name = server.metadata.namespace, keys_secret_name(server)
    secret = context.children["Secret"].get((namespace, name))
    secret = secret or await children.find(context, "Secret", namespace, name)
    uid, remembered = context.key_states.get(server.key, ("", None))
    if secret is not None and not is_owned(server, secret):
        secret = await _take_over(context, server, secret)
    if remembered is not None and uid == server.metadata.uid:
        return remembered  # a change of the Secret by somebody else is reverted
    if secret is None:
        return None
    try:
        state = read_stored_keys(secret)
    except ValueError as error:
        message = f"Secret {name}: {error}. Delete it to have its keys made anew."
        raise Blocked(Problem(reasons.KEYS_INVALID, message, retry_after=RETRY_SECONDS)) from error
    return state


async def _take_over(context: Context, server: LiveKitServer, secret: Manifest) -> Manifest:
    """Adopt the keys that a former server of the same name left, so that its tokens stay valid.

    Whoever may only write Secrets could put keys there that they know before such a server exists, so there must be
    another object that the former one left. Raises NotOwned.
    """
    key, kinds = key_of(secret), [kind for kind in CHILD_KINDS if kind not in ("Secret", "ConfigMap")]
    desired = {"kind": "Secret", "metadata": {"labels": labels(server, COMPONENT_SERVER)}}
    why = why_foreign(server, desired, secret)
    if why is None and not any(_bears_witness(context, server, kind) for kind in kinds):
        why = "nothing else of a former server of this name is there to prove that its keys are the operator's"
    if why:
        raise NotOwned(
            "Secret", *key, why, "have its key used: copy it, name the copy in spec.keysSecretRef, remove it"
        )
    return await take_over(context, server, "Secret", secret)


def _bears_witness(context: Context, server: LiveKitServer, kind: str) -> bool:
    desired = {"kind": kind, "metadata": {"labels": labels(server, COMPONENT_SERVER)}}
    cache, owner = context.children[kind], identity(server)
    left = (manifest for manifest in cache.left_by(owner) if why_foreign(server, desired, manifest) is None)
    return bool(cache.owned_by(owner)) or any(left)


async def _read_given(context: Context, server: LiveKitServer) -> ApiKey:
    reference = server.spec.keys_secret_ref
    assert reference is not None
    secret = await require_secret(context, server.metadata.namespace, reference.name, "spec.keysSecretRef")
    try:
        return parse_key(secret)
    except Blocked:
        context.foreign_secrets.pop((server.metadata.namespace, reference.name), None)
        raise


def _users(context: Context, server: LiveKitServer, state: KeyState) -> Users:
    # Pods of an earlier operator have digests without salt.
    known = (state, replace(state, salt=""))
    wanted = {keys_digest(one) for one in known}
    servers = [pod for pod in pods_of(context, server) if "deletionTimestamp" not in pod["metadata"]]
    in_use = {key_digest(one.in_use.id, one.in_use.secret, one.salt) for one in known}
    return Users(
        servers_accept_all=all(_annotation(pod) in wanted for pod in servers),
        pools_moved=all(_annotation(pod) in in_use for pod in _pods_of_pools(context, server)),
    )


def _pods_of_pools(context: Context, server: LiveKitServer) -> Iterable[Manifest]:
    """Return the pods that a rotation waits for: only those of pools that may use the server."""
    for key in context.users.keys_of(as_pool(server.key)):
        try:
            manifest = context.resources["VoiceAgentPool"].get(key)
            pool = understood(context, VoiceAgentPool, manifest) if manifest else None
        except Blocked:
            continue  # its spec is not understood, so it does nothing
        if pool is not None and allows(server, pool):
            yield from context.children["Pod"].owned_by(identity(pool))


def _annotation(pod: Manifest) -> str | None:
    value: str | None = (pod["metadata"].get("annotations") or {}).get(ANNOTATION_KEYS)
    return value


async def key_to_ask_with(context: Context, server: LiveKitServer) -> ApiKey | None:
    """Return a key that servers accept, None when there is none any more: then they are not asked for their rooms."""
    try:
        return (await ensure_keys(context, server)).state.in_use
    except (Blocked, KubernetesError):
        uid, remembered = context.key_states.get(server.key, ("", None))
        return remembered.in_use if remembered and uid == server.metadata.uid else None
