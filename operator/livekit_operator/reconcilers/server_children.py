"""Everything of a LiveKitServer that its servers share, and what each has for itself besides its pod."""

import asyncio
import base64
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import LABEL_COMPONENT
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.errors import Blocked, CutOff, KubernetesError, NotFound
from livekit_operator.key_rotation import KeyState
from livekit_operator.permits import REASON as NOT_ALLOWED
from livekit_operator.permits import Part, Refusal, server_refusals
from livekit_operator.reconcilers import children
from livekit_operator.reconcilers.context import CHILD_KINDS, OPTIONAL_KINDS, Context
from livekit_operator.reconcilers.load_balancers import missing_address
from livekit_operator.reconcilers.ownership import identity, is_owned
from livekit_operator.reconcilers.secrets import read_value
from livekit_operator.reconcilers.server_routes import told_by_its_controller
from livekit_operator.resources import livekitserver as build
from livekit_operator.resources import managed_redis, server_config, server_network
from livekit_operator.resources.metadata import COMPONENT_REDIS, COMPONENT_SERVER, digest
from livekit_operator.resources.pod_refusals import explain_refusal
from livekit_operator.resources.server_network import SlotPorts, has_address
from livekit_operator.resources.server_pods import ServerInputs, SlotInputs, revision

# What makes the objects of an optional kind, and where its CustomResourceDefinitions come from.
_MISSING = {
    "HTTPRoute": ("GatewayApiMissing", "spec.signal.gateway", "the Gateway API"),
    "Certificate": ("CertManagerMissing", "issuerRef", "cert-manager"),
}


@dataclass(frozen=True)
class Surroundings:
    """What stands around the servers: their Services, and what is wrong with any of it."""

    signal_service: Manifest
    slots: dict[int, SlotInputs]
    problems: list[Blocked]
    slot_problems: dict[int, Blocked]
    startable: bool = True
    """Whether servers may be started: as pods that are allowed, under an account of their own."""


async def read_inputs(context: Context, server: LiveKitServer, keys: KeyState) -> ServerInputs:
    """Return what servers are started with; raises Blocked naming what is missing or wrong."""
    redis_address = None
    if server.spec.redis and server.spec.redis.managed:
        redis_address = managed_redis.redis_address(server)
    config = server_config.build_config(
        server,
        operator_webhook_url=webhook_url(context, server.key),
        redis_address=redis_address,
    )
    values = []
    for secret in server_config.secret_inputs(server):
        for key in secret.keys:
            value = await read_value(context, server.metadata.namespace, secret.name, key, secret.field)
            if secret.quoted:
                server_config.require_quotable(secret, key, base64.b64decode(value))
            values.append(value)
    inputs = ServerInputs(
        image=build.image(server, context.settings.server_image),
        config=config,
        keys_digest=build.keys_digest(keys),
        secrets_digest=digest(values, 8, salt=keys.salt) if values else "",
        unsalted=(build.keys_digest(replace(keys, salt="")), digest(values, 8) if values else ""),
        omit_ids=context.settings.omit_ids,
    )
    revision(server, inputs)  # says now what is wrong with overrides, before anything waits for it
    return inputs


async def ensure_surroundings(
    context: Context, server: LiveKitServer, slots: Iterable[int], *, settled: bool
) -> Surroundings:
    """Make everything but pods as desired; what cannot be made is among the problems and stops nothing else.

    What an earlier spec wanted, or what is allowed no more, goes when all is `settled`: no server of that spec is left
    to need it. A Service that clients may be on stays as it is when it is allowed no more.
    """
    refusals = server_refusals(server, server_network.signal_service_type(server), context.settings.allowed)
    refused = {item.part for item in refusals}
    problems = [_not_allowed(server, item) for item in refusals]
    wanted: set[tuple[str, Key]] = set()

    async def ensure(manifest: Manifest | None) -> Manifest | None:
        if manifest is None:
            return None
        if (part := _part_of(server, manifest)) in refused:
            if part not in ("SignalService", "MediaService"):
                return None
            wanted.add((manifest["kind"], key_of(manifest)))
            return _own(context, server, manifest)
        wanted.add((manifest["kind"], key_of(manifest)))
        try:
            return await children.ensure(context, server, manifest)
        except Blocked as blocked:
            problems.append(blocked)
        except NotFound:
            if manifest["kind"] not in _MISSING:
                raise
            reason, field, project = _MISSING[manifest["kind"]]
            message = (
                f"{field} asks for {project}, whose CustomResourceDefinitions this cluster does not have: "
                f"install them, or leave it out."
            )
            # Nothing else leads clients here, unless the user does.
            cut = manifest["metadata"]["name"] != server_network.turn_certificate_name(server)
            kind = CutOff if cut and not server.spec.signal.external_url else Blocked
            problems.append(kind(reason, message, retry_after=30.0))
        except KubernetesError as error:
            problems.append(refusal(error))
        return None

    signal_service = await ensure(server_network.build_signal_service(server))
    if signal_service is None:
        # Without it nothing can be reached.
        told = [_not_allowed(server, item) for item in refusals if item.part == "SignalService"]
        raise (told or problems[-1:])[0]
    account = server_network.build_service_account(server)
    # Under somebody else's a server would have the rights of that one: whoever may write servers names the account.
    has_account = await ensure(account) is not None or _own(context, server, account) is not None
    await ensure(server_network.build_disruption_budget(server))
    for manifest in (
        server_network.build_ingress(server),
        server_network.build_http_route(server),
        server_network.build_turn_service(server),
        *server_network.build_certificates(server),
    ):
        problems += await told_by_its_controller(context, server, await ensure(manifest))
    slot_inputs: dict[int, SlotInputs] = {}
    slot_problems: dict[int, Blocked] = {}
    kept: set[int] = set()
    for slot in sorted(slots):
        try:
            service = await _ensure_slot_service(context, server, slot, ensure, kept)
            slot_inputs[slot] = await find_slot_inputs(server, slot, service)
        except Blocked as blocked:
            waits = _slot_service(context, server, slot)
            unaddressed = server.spec.media.exposure == "LoadBalancer" and waits is not None and not has_address(waits)
            slot_problems[slot] = await missing_address(context, server, waits) if unaddressed and waits else blocked
    ports = {slot: inputs.ports for slot, inputs in slot_inputs.items() if inputs.ports}
    for manifest in server_network.build_network_policies(server, context.settings.namespace, ports):
        if manifest["metadata"]["name"] not in {server_network.slot_name(server, slot) for slot in kept}:
            await ensure(manifest)
    if settled:
        await _prune(context, server, wanted)
    startable = has_account and "Pod" not in refused
    return Surroundings(signal_service, slot_inputs, problems, slot_problems, startable)


def _not_allowed(server: LiveKitServer, item: Refusal) -> Blocked:
    leads = item.part in ("Ingress", "HTTPRoute") and not server.spec.signal.external_url
    return (CutOff if leads else Blocked)(NOT_ALLOWED, item.message)


def _part_of(server: LiveKitServer, manifest: Manifest) -> Part | None:
    """Return what is to be allowed of an object; None when nothing is."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    own = build.child_name(server)
    match kind:
        case "Ingress" | "HTTPRoute":
            return "Ingress" if kind == "Ingress" else "HTTPRoute"
        case "Certificate":
            signal = server_network.signal_certificate_name(server)
            return "SignalCertificate" if name == signal else "TurnCertificate"
        case "Service":
            others: dict[str, Part] = {own: "SignalService", f"{own}-turn": "TurnService"}
            return others.get(name, "MediaService")
    return None


def _own(context: Context, server: LiveKitServer, manifest: Manifest) -> Manifest | None:
    """Return an object as it is, None when it is not there or somebody else's."""
    known = context.children[manifest["kind"]].get(key_of(manifest))
    return known if known is not None and is_owned(server, known) else None


def refusal(error: KubernetesError, pod: Manifest | None = None) -> Blocked:
    """Return what to say of a request that the API server refuses: a quota, a policy, a port that is taken.

    Of a `pod` the containers are named that were refused.
    Raises the error itself when it is none: the pass is tried again.
    """
    if not error.refused:
        raise error
    return Blocked("KubernetesRefused", explain_refusal(str(error), pod), retry_after=10.0)


def pods_of(context: Context, server: LiveKitServer, component: str = COMPONENT_SERVER) -> list[Manifest]:
    """Return the pods of a server's component, by name; a server is only what is called as one of a slot."""
    pods = [pod for pod in context.children["Pod"].owned_by(identity(server)) if _component(pod) == component]
    return [pod for pod in pods if component != COMPONENT_SERVER or slot_of(server, pod) is not None]


def slot_of(server: LiveKitServer, pod: Manifest) -> int | None:
    """Return the slot of a server by its name, which nobody can change; None for a pod with another name."""
    return server_network.slot_in(server, pod["metadata"]["name"])


def _component(manifest: Manifest) -> str | None:
    found: str | None = (manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT)
    return found


def webhook_url(context: Context, key: Key) -> str | None:
    """Return where a server sends its webhooks, None when this operator cannot be reached."""
    root = context.settings.webhook_url
    return f"{root.rstrip('/')}/webhooks/{key[0]}/{key[1]}" if root else None


async def _ensure_slot_service(
    context: Context, server: LiveKitServer, slot: int, ensure: Any, kept: set[int]
) -> Manifest | None:
    current = _slot_service(context, server, slot)
    desired = server_network.build_slot_service(server, slot, current)
    moves = current is not None and desired is not None and server_network.moves_ports(current, desired)
    if current is not None and moves and _is_used(context, server, current):
        kept.add(slot)  # the server in this slot would be cut off: it gives way to one in another slot first
        return current
    service: Manifest | None = await ensure(desired)
    if service is not None and current is None:
        # The cluster has chosen the node ports just now: the containers' ports follow them.
        service = await ensure(server_network.build_slot_service(server, slot, service))
    return service


async def known_slot_inputs(
    context: Context, server: LiveKitServer, slot: int, advertised: str | None = None
) -> SlotInputs:
    """Return what a server of this slot should have for itself, by what is known before anything is written.

    Raises Blocked while it has no ports or no address.
    """
    current = _slot_service(context, server, slot)
    desired = server_network.build_slot_service(server, slot, current)
    if current is not None and desired is not None:
        desired = {**desired, "status": current.get("status")}
    return await find_slot_inputs(server, slot, desired, advertised)


def _slot_service(context: Context, server: LiveKitServer, slot: int) -> Manifest | None:
    found = context.children["Service"].get((server.metadata.namespace, server_network.slot_name(server, slot)))
    return found if found and is_owned(server, found) else None


async def find_slot_inputs(
    server: LiveKitServer, slot: int, service: Manifest | None, advertised: str | None = None
) -> SlotInputs:
    """Return what a server has for itself, by its Service; raises Blocked while it has no ports or no address.

    A load balancer's name may have several addresses, in any order: the one that a server advertises stays right.
    """
    exposure = server.spec.media.exposure
    if exposure != "HostNetwork" and service is None:
        raise Blocked("Progressing", f"Waiting for Service {server_network.slot_name(server, slot)}.")
    ports: SlotPorts | None = server_network.slot_ports(server, service)
    if ports is None:
        raise Blocked("Progressing", f"Waiting for the node ports of {server_network.slot_name(server, slot)}.")
    if exposure != "LoadBalancer":
        return SlotInputs(slot, ports)
    address = server_network.slot_address(server, service)
    if address is None:
        name = server_network.slot_name(server, slot)
        message = f"Service {name} has no address yet: see `kubectl describe service {name}`."
        raise Blocked("NoExternalAddress", message)
    addresses = await _resolve(address)
    return SlotInputs(slot, ports, advertised if advertised in addresses else addresses[0])


async def _resolve(address: str) -> list[str]:
    """Return the IP addresses of a load balancer's host name: ICE candidates hold addresses, not names."""
    try:
        return [str(ipaddress.ip_address(address))]
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        message = f"The load balancer's name {address} cannot be resolved: {error}. Check the operator's DNS."
        raise Blocked("NoExternalAddress", message, retry_after=10.0) from error
    return sorted({str(entry[4][0]) for entry in found})


async def ensure_redis(context: Context, server: LiveKitServer) -> None:
    """Make the small Redis of `spec.redis.managed`: before anything else, for servers read its password."""
    if not (server.spec.redis and server.spec.redis.managed):
        return
    key = (server.metadata.namespace, server_config.managed_redis_secret_name(server))
    secret = context.children["Secret"].get(key) or await children.find(context, "Secret", *key)
    try:
        password = base64.b64decode((secret or {})["data"]["password"], validate=True).decode()
    except (KeyError, TypeError, ValueError):
        password = secrets.token_urlsafe(24)
    account = server_network.build_service_account(server)  # Redis' pod has it too
    image, omit_ids = context.settings.redis_image, context.settings.omit_ids
    known = context.children["Deployment"].get((server.metadata.namespace, managed_redis.redis_name(server)))
    wanted = managed_redis.build_managed_redis(server, password, image, omit_ids=omit_ids)
    try:
        for manifest in (account, *wanted):
            runs = manifest["kind"] == "Deployment"
            await children.ensure(context, server, managed_redis.keep_running(manifest, known) if runs else manifest)
    except KubernetesError as error:
        raise refusal(error) from error


async def _prune(context: Context, server: LiveKitServer, wanted: set[tuple[str, Key]]) -> None:
    """Delete what an earlier spec wanted."""
    keys = (server.metadata.namespace, build.keys_secret_name(server))
    managed = bool(server.spec.redis and server.spec.redis.managed)
    for kind in CHILD_KINDS:
        for manifest in context.children[kind].owned_by(identity(server)):
            key = key_of(manifest)
            spared = kind == "Pod" or (kind == "Secret" and key == keys)
            spared = spared or (managed and _component(manifest) == COMPONENT_REDIS)
            if (kind, key) not in wanted and not spared:
                await children.remove(context, kind, manifest)
    await _prune_optional(context, server, wanted)


def _is_used(context: Context, server: LiveKitServer, manifest: Manifest) -> bool:
    """Return whether an object belongs to a pod that still exists: it has the pod's name."""
    return any(pod["metadata"]["name"] == manifest["metadata"]["name"] for pod in pods_of(context, server))


async def _prune_optional(context: Context, server: LiveKitServer, wanted: set[tuple[str, Key]]) -> None:
    """Delete optional objects that an earlier spec wanted; for want of a cache only after the spec changed."""
    looked = (server.metadata.uid, server.spec)
    if context.pruned.get(server.key) == looked:
        return
    names = [
        ("HTTPRoute", build.child_name(server)),
        ("Certificate", server_network.signal_certificate_name(server)),
        ("Certificate", server_network.turn_certificate_name(server)),
    ]
    assert {kind for kind, _ in names} == set(OPTIONAL_KINDS)
    for kind, name in names:
        key = (server.metadata.namespace, name)
        if (kind, key) in wanted:
            continue
        found = await children.find(context, kind, *key)
        if found is not None and is_owned(server, found):
            await children.remove(context, kind, found)
    context.pruned[server.key] = looked
