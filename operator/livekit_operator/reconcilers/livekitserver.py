"""LiveKitServer: keys, configuration, Deployment, Service; and the one listing of its rooms."""

import base64
import re
import secrets
from dataclasses import dataclass, replace
from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.conditions import Observed, find, holds
from livekit_operator.constants import (
    CONDITION_READY,
    KEY_API_KEY,
    KEY_API_SECRET,
    MIN_API_SECRET_LENGTH,
)
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.errors import Blocked, NotOwned, ServerRefused, ServerUnreachable
from livekit_operator.reconcilers import children
from livekit_operator.reconcilers.context import Context, ServerAccess
from livekit_operator.reconcilers.reconcile import reconcile
from livekit_operator.reconcilers.status import Outcome
from livekit_operator.resources import livekitserver as build
from livekit_operator.resources.meetingroom import ServerKeys
from livekit_operator.resources.metadata import COMPONENT_SERVER, digest, selector

# How soon a Secret that somebody must still create is looked for again.
_SECRET_RETRY_SECONDS = 3.0
_KEY_FORM = re.compile(r"[A-Za-z0-9._~+/=-]+")


@dataclass(frozen=True)
class Observation:
    """What is there: the keys, the Deployment, the node of a ready pod, the rooms or why they cannot be listed."""

    keys: tuple[str, str]
    deployment: Manifest
    node_address: str | None
    rooms: int | None = None
    participants: int | None = None
    problem: str | None = None


async def reconcile_server(context: Context, key: Key) -> float | None:
    """Reconcile one LiveKitServer."""
    if context.resources["LiveKitServer"].get(key) is None and (access := context.servers.pop(key, None)):
        await access.client.close()
    return await reconcile(context, LiveKitServer, key, _pass)


async def _pass(context: Context, server: LiveKitServer) -> Outcome | None:
    if server.metadata.deletion_timestamp:
        return None  # everything of it is inside Kubernetes: the garbage collector does the rest
    keys = await _ensure_keys(context, server)
    deployment = await apply(context, server, keys)
    observed = await observe(context, server, keys, deployment)
    return decide(server, observed, context.settings.server_poll_seconds)


async def apply(context: Context, server: LiveKitServer, keys: tuple[str, str]) -> Manifest:
    """Make the children as desired and return the Deployment."""
    config = build.build_config(server, webhook_url(context, server.key))
    await children.ensure(context, server, build.build_config_map(server, config))
    await children.ensure(context, server, build.build_service(server))
    deployment = build.build_deployment(
        server, config, repository=context.settings.server_image, keys_digest=digest(list(keys), 8)
    )
    return await children.ensure(context, server, deployment)


async def observe(context: Context, server: LiveKitServer, keys: tuple[str, str], deployment: Manifest) -> Observation:
    """Look at the pods, and list the rooms when a pod answers."""
    observed = Observation(keys, deployment, _node_address(context, server))
    external = build.external_url(server, observed.node_address)
    # Pools can be prepared before the first server answers; they need only its keys and URL.
    access = await _connect(context, server, keys, external or "")
    # Not only ready servers: one that drains still has rooms. One that is gone must not seem to have them.
    if external is None or not (deployment.get("status") or {}).get("replicas"):
        access.rooms.forget()
        return observed
    access.rooms.start_listing()
    try:
        rooms = await access.client.list_rooms()
    except (ServerUnreachable, ServerRefused) as error:
        access.rooms.forget()
        return replace(observed, problem=str(error))
    changed = access.rooms.finish_listing(rooms)
    _wake_rooms(context, server.key, changed)
    return replace(observed, rooms=len(rooms), participants=sum(room.participants for room in rooms))


def decide(server: LiveKitServer, observed: Observation, poll_seconds: float) -> Outcome:
    """Return the status of what was observed."""
    external = build.external_url(server, observed.node_address)
    fields: dict[str, Any] = {
        "version": server.spec.version,
        "replicas": (observed.deployment.get("status") or {}).get("replicas", 0),
        "readyReplicas": _ready_replicas(observed.deployment),
        "internalUrl": build.internal_url(server),
        "externalUrl": external,
        "keysSecretName": build.keys_secret_name(server),
        "ports": build.ports(server),
        "rooms": observed.rooms,
        "participants": observed.participants,
    }
    return Outcome([_ready(server, observed, external)], fields, poll_seconds)


def webhook_url(context: Context, key: Key) -> str | None:
    """Return where a server sends its webhooks, None when this operator cannot be reached."""
    root = context.settings.webhook_url
    return f"{root.rstrip('/')}/webhooks/{key[0]}/{key[1]}" if root else None


def _ready(server: LiveKitServer, observed: Observation, external: str | None) -> Observed:
    if server.spec.replicas == 0:
        return Observed.not_ready("ScaledToZero", "spec.replicas is 0: no server runs.")
    status = observed.deployment.get("status") or {}
    generation = observed.deployment["metadata"].get("generation")
    if not _ready_replicas(observed.deployment):
        return Observed.not_ready("Progressing", _waiting(status))
    if observed.problem and _last_reason(server) not in ("Ready", "ServerUnreachable"):
        # A pod is ready a moment before its Service leads to it.
        return Observed.not_ready("Progressing", f"Waiting until the server can be reached: {observed.problem}.")
    if observed.problem:
        return Observed.not_ready("ServerUnreachable", f"The server runs but does not answer: {observed.problem}.")
    if external is None:
        return Observed.not_ready("Progressing", "Waiting for the address of the server's node.")
    if status.get("observedGeneration") != generation or status.get("updatedReplicas", 0) < server.spec.replicas:
        return Observed.not_ready("RollingOut", "A changed server takes the place of the running one.")
    return Observed.ready(f"The server answers at {external}.")


def _last_reason(server: LiveKitServer) -> str | None:
    return find(server.status.get("conditions"), CONDITION_READY).get("reason")


def _waiting(status: dict[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f"The server's pod cannot be created: {condition.get('message', '')}"
    return "Waiting for the server to answer."


def _ready_replicas(deployment: Manifest) -> int:
    return int((deployment.get("status") or {}).get("readyReplicas") or 0)


def _node_address(context: Context, server: LiveKitServer) -> str | None:
    """Return the node address of the first ready pod, by name so that it does not hop between replicas."""
    wanted = selector(server, COMPONENT_SERVER)
    addresses = {
        pod["metadata"]["name"]: pod["status"].get("hostIP")
        for pod in context.children["Pod"]
        if pod["metadata"]["namespace"] == server.metadata.namespace
        and wanted.items() <= (pod["metadata"].get("labels") or {}).items()
        and not pod["metadata"].get("deletionTimestamp")
        and _is_ready(pod)
    }
    return addresses[min(addresses)] if addresses else None


def _is_ready(pod: Manifest) -> bool:
    return holds((pod.get("status") or {}).get("conditions"), CONDITION_READY)


async def _ensure_keys(context: Context, server: LiveKitServer) -> tuple[str, str]:
    """Return API key and secret, generated at the first pass or taken from the Secret that the spec names."""
    namespace, name = server.metadata.namespace, build.keys_secret_name(server)
    if server.spec.keys_secret_ref:
        secret = await children.find(context, "Secret", namespace, name)
        if secret is None:
            raise Blocked(
                "SecretNotFound",
                f"Secret {name} of spec.keysSecretRef does not exist.",
                retry_after=_SECRET_RETRY_SECONDS,
            )
        return _read_keys(secret)
    secret = context.children["Secret"].get((namespace, name)) or await children.find(
        context, "Secret", namespace, name
    )
    if secret is not None:
        if not children.is_owned(server, secret):
            raise NotOwned("Secret", namespace, name)
        return _read_keys(secret)
    api_key, api_secret = f"API{secrets.token_hex(6)}", secrets.token_urlsafe(36)
    await children.ensure(context, server, build.build_keys_secret(server, api_key, api_secret))
    return api_key, api_secret


def _read_keys(secret: Manifest) -> tuple[str, str]:
    name, data = secret["metadata"]["name"], secret.get("data") or {}
    values = []
    for key in (KEY_API_KEY, KEY_API_SECRET):
        try:
            value = base64.b64decode(data[key], validate=True).decode()
        except (KeyError, ValueError):
            value = ""
        if not value.strip():
            raise Blocked("KeysInvalid", f"Secret {name} has no key {key}.", retry_after=_SECRET_RETRY_SECONDS)
        if not _KEY_FORM.fullmatch(value) or value.isdigit():
            raise Blocked(
                "KeysInvalid",
                f"{key} in Secret {name} must be of letters, digits and ._~+/=- only, not of digits alone and without "
                f"a line break at its end: livekit-server reads it as YAML.",
                retry_after=_SECRET_RETRY_SECONDS,
            )
        values.append(value)
    if len(values[1]) < MIN_API_SECRET_LENGTH:
        raise Blocked(
            "KeysInvalid",
            f"{KEY_API_SECRET} in Secret {name} is shorter than {MIN_API_SECRET_LENGTH} characters.",
            retry_after=_SECRET_RETRY_SECONDS,
        )
    return values[0], values[1]


async def _connect(context: Context, server: LiveKitServer, keys: tuple[str, str], external: str) -> ServerAccess:
    """Return the access to a server, a new one when keys or URLs changed, and wake who waits for it."""
    wanted = ServerKeys(keys[0], keys[1], build.internal_url(server), external)
    access = context.servers.get(server.key)
    if access is not None and access.keys == wanted:
        return access
    if access is not None:
        await access.client.close()
    access = ServerAccess(context.connect(wanted.internal_url, *keys), wanted)
    context.servers[server.key] = access
    context.wake_users(server.key)
    return access


def _wake_rooms(context: Context, server: Key, changed: set[str] | None) -> None:
    """Wake the rooms that a listing shows changed; None means all of them, after the first listing."""
    if changed is None:
        context.wake_users(server)
        return
    for name in changed:
        context.wake_room(server, name)
