"""Everything of a LiveKitServer that its servers share."""

import base64
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.errors import Blocked, CutOff, NotFound, Problem
from livekit_operator.manifests.metadata import COMPONENT_REDIS, digest
from livekit_operator.manifests.permits import Part, Refusal, server_refusals
from livekit_operator.reconciling import children
from livekit_operator.reconciling.foreign_secrets import read_value
from livekit_operator.reconciling.ownership import identity, is_owned
from livekit_operator.reconciling.refusals import blocked_if_refused
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.key_rotation import KeyState
from livekit_operator.servers.load_balancers import missing_address
from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests import managed_redis, media
from livekit_operator.servers.manifests import names as build
from livekit_operator.servers.manifests.keys import keys_digest
from livekit_operator.servers.manifests.names import CHILD_KINDS, OPTIONAL_KINDS, child_name, keys_secret_name
from livekit_operator.servers.manifests.pod import ServerInputs, SlotInputs, revision
from livekit_operator.servers.manifests.policies import (
    build_disruption_budget,
    build_network_policies,
    build_service_account,
)
from livekit_operator.servers.manifests.secret_inputs import require_quotable, secret_inputs
from livekit_operator.servers.manifests.service import has_address
from livekit_operator.servers.manifests.signalling import (
    build_http_route,
    build_ingress,
    build_signal_service,
    signal_service_type,
)
from livekit_operator.servers.manifests.turn import (
    build_certificates,
    build_turn_service,
    signal_certificate_name,
    turn_certificate_name,
)
from livekit_operator.servers.pods import component_of
from livekit_operator.servers.routes import told_by_its_controller
from livekit_operator.servers.slots import ensure_slot_service, find_slot_inputs, slot_service

# Which field asks for objects of an optional kind, and which project has its CustomResourceDefinitions.
_MISSING = {
    "HTTPRoute": (reasons.GATEWAY_API_MISSING, "spec.signal.gateway", "the Gateway API"),
    "Certificate": (reasons.CERT_MANAGER_MISSING, "issuerRef", "cert-manager"),
}


Ensure = Callable[[Manifest | None], Awaitable[Manifest | None]]


@dataclass(frozen=True)
class Surroundings:
    """What stands around the servers: their Services, and what is wrong with any of it."""

    signal_service: Manifest
    slots: dict[int, SlotInputs]
    problems: list[Problem]
    slot_problems: dict[int, Problem]


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
    for secret in secret_inputs(server):
        for key in secret.keys:
            value = await read_value(context, server.metadata.namespace, secret.name, key, secret.field)
            if secret.quoted:
                require_quotable(secret, key, base64.b64decode(value))
            values.append(value)
    inputs = ServerInputs(
        image=build.image(server, context.settings.server_image),
        config=config,
        keys_digest=keys_digest(keys),
        secrets_digest=digest(values, 8, salt=keys.salt) if values else "",
        unsalted=(keys_digest(replace(keys, salt="")), digest(values, 8) if values else ""),
        omit_ids=context.settings.omit_ids,
    )
    revision(server, inputs)  # says now what is wrong with overrides, before anything waits for it
    return inputs


def pods_are_allowed(context: Context, server: LiveKitServer) -> bool:
    """Return whether the chart's values allow what servers' pods ask for."""
    refusals = server_refusals(server, signal_service_type(server), context.settings.allowed)
    return all(item.part != "Pod" for item in refusals)


async def ensure_surroundings(
    context: Context, server: LiveKitServer, slots: Iterable[int], *, settled: bool
) -> Surroundings:
    """Make everything but pods as desired; what cannot be made is among the problems and stops nothing else.

    What an earlier spec wanted, or what is allowed no more, goes when all is `settled`: no server of that spec is left
    to need it. A Service that clients may be on stays as it is when it is allowed no more.
    """
    refusals = server_refusals(server, signal_service_type(server), context.settings.allowed)
    refused = {item.part for item in refusals}
    problems = [_not_allowed(server, item) for item in refusals]
    account = build_service_account(server)  # made before anything was observed
    wanted = {(account["kind"], key_of(account))}

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
            with blocked_if_refused():
                return await children.ensure(context, server, manifest)
        except Blocked as blocked:
            problems.append(blocked.problem)
        except NotFound:
            if manifest["kind"] not in _MISSING:
                raise
            problems.append(_missing(server, manifest))
        return None

    signal_service = await ensure(build_signal_service(server))
    if signal_service is None:
        # Without it nothing can be reached.
        denied = [_not_allowed(server, item) for item in refusals if item.part == "SignalService"]
        raise Blocked((denied or problems[-1:])[0])
    await ensure(build_disruption_budget(server))
    for manifest in (
        build_ingress(server),
        build_http_route(server),
        build_turn_service(server),
        *build_certificates(server),
    ):
        problems += await told_by_its_controller(context, server, await ensure(manifest))
    slot_inputs, slot_problems = await _ensure_slots(context, server, slots, ensure)
    if settled:
        await _prune(context, server, wanted)
    return Surroundings(signal_service, slot_inputs, problems, slot_problems)


async def _ensure_slots(
    context: Context, server: LiveKitServer, slots: Iterable[int], ensure: Ensure
) -> tuple[dict[int, SlotInputs], dict[int, Problem]]:
    """Make what each slot has for itself; return what its server is started with, or why that is not known."""
    slot_inputs: dict[int, SlotInputs] = {}
    slot_problems: dict[int, Problem] = {}
    kept: set[int] = set()
    for slot in sorted(slots):
        try:
            service = await ensure_slot_service(context, server, slot, ensure, kept)
            slot_inputs[slot] = await find_slot_inputs(server, slot, service)
        except Blocked as blocked:
            waits = slot_service(context, server, slot)
            unaddressed = server.spec.media.exposure == "LoadBalancer" and waits is not None and not has_address(waits)
            missing = await missing_address(context, server, waits) if unaddressed and waits else None
            slot_problems[slot] = missing or blocked.problem
    ports = {slot: inputs.ports for slot, inputs in slot_inputs.items() if inputs.ports}
    for manifest in build_network_policies(server, context.settings.namespace, ports):
        if manifest["metadata"]["name"] not in {media.slot_name(server, slot) for slot in kept}:
            await ensure(manifest)
    return slot_inputs, slot_problems


def _missing(server: LiveKitServer, manifest: Manifest) -> Problem:
    """Return what to do about an object of a kind that the cluster does not have."""
    reason, field, project = _MISSING[manifest["kind"]]
    message = (
        f"{field} asks for {project}, whose CustomResourceDefinitions this cluster does not have: "
        f"install them, or leave it out."
    )
    # Clients have no other way in, unless the user provides one.
    cut = manifest["metadata"]["name"] != turn_certificate_name(server)
    kind = CutOff if cut and not server.spec.signal.external_url else Problem
    return kind(reason, message, retry_after=30.0)


def _not_allowed(server: LiveKitServer, item: Refusal) -> Problem:
    leads = item.part in ("Ingress", "HTTPRoute") and not server.spec.signal.external_url
    return (CutOff if leads else Problem)(reasons.NOT_ALLOWED, item.message)


def _part_of(server: LiveKitServer, manifest: Manifest) -> Part | None:
    """Return what is to be allowed of an object; None when nothing is."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    own = child_name(server)
    match kind:
        case "Ingress" | "HTTPRoute":
            return "Ingress" if kind == "Ingress" else "HTTPRoute"
        case "Certificate":
            signal = signal_certificate_name(server)
            return "SignalCertificate" if name == signal else "TurnCertificate"
        case "Service":
            others: dict[str, Part] = {own: "SignalService", f"{own}-turn": "TurnService"}
            return others.get(name, "MediaService")
    return None


def _own(context: Context, server: LiveKitServer, manifest: Manifest) -> Manifest | None:
    """Return an object as it is, None when it is not there or somebody else's."""
    known = context.children[manifest["kind"]].get(key_of(manifest))
    return known if known is not None and is_owned(server, known) else None


def webhook_url(context: Context, key: Key) -> str | None:
    """Return where a server sends its webhooks, None when this operator cannot be reached."""
    root = context.settings.webhook_url
    return f"{root.rstrip('/')}/webhooks/{key[0]}/{key[1]}" if root else None


async def _prune(context: Context, server: LiveKitServer, wanted: set[tuple[str, Key]]) -> None:
    """Delete what an earlier spec wanted."""
    keys = (server.metadata.namespace, keys_secret_name(server))
    managed = bool(server.spec.redis and server.spec.redis.managed)
    for kind in CHILD_KINDS:
        for manifest in context.children[kind].owned_by(identity(server)):
            key = key_of(manifest)
            spared = kind == "Pod" or (kind == "Secret" and key == keys)
            spared = spared or (managed and component_of(manifest) == COMPONENT_REDIS)
            if (kind, key) not in wanted and not spared:
                await children.remove(context, kind, manifest)
    await _prune_optional(context, server, wanted)


async def _prune_optional(context: Context, server: LiveKitServer, wanted: set[tuple[str, Key]]) -> None:
    """Delete optional objects that an earlier spec wanted; for want of a cache only after the spec changed."""
    pruned_for = (server.metadata.uid, server.spec)
    if context.pruned.get(server.key) == pruned_for:
        return
    names = [
        ("HTTPRoute", child_name(server)),
        ("Certificate", signal_certificate_name(server)),
        ("Certificate", turn_certificate_name(server)),
    ]
    assert {kind for kind, _ in names} == set(OPTIONAL_KINDS)
    for kind, name in names:
        key = (server.metadata.namespace, name)
        if (kind, key) in wanted:
            continue
        found = await children.find(context, kind, *key)
        if found is not None and is_owned(server, found):
            await children.remove(context, kind, found)
    context.pruned[server.key] = pruned_for
