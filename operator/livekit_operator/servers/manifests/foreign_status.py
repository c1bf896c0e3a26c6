"""What controllers of other projects report of routes, gateways and certificates.

Sources: https://gateway-api.sigs.k8s.io/reference/spec/ (RouteParentStatus, GatewayStatus) and
https://cert-manager.io/docs/reference/api-docs/#cert-manager.io/v1.CertificateStatus
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.conditions import find, holds
from livekit_operator.errors import CutOff, Problem
from livekit_operator.manifests.metadata import Manifest
from livekit_operator.moments import parse_timestamp
from livekit_operator.outside import moment, said
from livekit_operator.reasons import Reason
from livekit_operator.servers.manifests.turn import signal_certificate_name

# How long a controller may take to say anything: one that is there does within seconds, an authority takes longer.
_PATIENCE = timedelta(seconds=120)
_MOST_PARENTS = 4
_ROUTE = "Check spec.signal.gateway, and the Gateway's listeners and allowed routes."
_NEVER = datetime.min.replace(tzinfo=UTC)


def route_problem(server: LiveKitServer, route: Manifest, now: datetime) -> Problem | None:
    """Return why an HTTPRoute leads nobody here, in its Gateways' words; None when one of them has taken it."""
    name, generation = route["metadata"]["name"], route["metadata"].get("generation", 0)
    parents = ((route.get("status") or {}).get("parents") or ())[:_MOST_PARENTS]
    refused = [words for parent in parents for words in _refusals(parent, generation)]
    accepted = any(_accepted(parent, generation) for parent in parents)
    if refused:
        message = f"HTTPRoute {name} does not lead clients here: {'; '.join(refused)} {_ROUTE}"
        return _cut(server, reasons.ROUTE_NOT_ACCEPTED, message, rest=accepted)
    if accepted:
        return None
    if now - parse_timestamp(route["metadata"]["creationTimestamp"]) < _PATIENCE:
        return _cut(server, reasons.PROGRESSING, f"Waiting until a Gateway takes HTTPRoute {name}.")
    gateway = server.spec.signal.gateway
    names = ", ".join(ref.name for ref in gateway.parent_refs[:_MOST_PARENTS]) if gateway else ""
    message = (
        f"No Gateway has taken HTTPRoute {name}: check that there is a Gateway {names}, and that its controller runs."
    )
    return _cut(server, reasons.ROUTE_NOT_ACCEPTED, message)


def taken_by(route: Manifest) -> list[tuple[str | None, str]]:
    """Return namespace, None for the route's own, and name of the Gateways that have accepted a route."""
    generation = route["metadata"].get("generation", 0)
    parents = ((route.get("status") or {}).get("parents") or ())[:_MOST_PARENTS]
    refs = [parent.get("parentRef") or {} for parent in parents if _accepted(parent, generation)]
    return [(ref.get("namespace"), ref["name"]) for ref in refs if ref.get("kind", "Gateway") == "Gateway"]


def gateway_problem(server: LiveKitServer, gateways: list[Manifest]) -> Problem | None:
    """Return why none or only some of the Gateways listen, in their controller's words; None when all do."""
    refused = [
        f"Gateway {gateway['metadata']['name']}: {words}"
        for gateway in gateways
        for words in _denied(gateway.get("status") or {}, gateway["metadata"].get("generation", 0), "Programmed")
    ]
    if not refused:
        return None
    message = f"The signalling's Gateway does not listen: {'; '.join(refused)} See `kubectl describe gateway`."
    return _cut(server, reasons.ROUTE_NOT_ACCEPTED, message, rest=len(refused) < len(gateways))


def certificate_problem(server: LiveKitServer, certificate: Manifest, now: datetime) -> Problem | None:
    """Return why a Certificate is not there, in cert-manager's words; None when it is."""
    name, status = certificate["metadata"]["name"], certificate.get("status") or {}
    ready, issuing = find(status.get("conditions"), "Ready"), find(status.get("conditions"), "Issuing")
    if ready.get("status") == "True":
        return None
    told = issuing if issuing.get("reason") == "Failed" else ready
    words = _words(told) if told else "cert-manager has said nothing of it; check that it runs."
    # The former one may be valid for a while, and TURN is not the only way in.
    rest = name != signal_certificate_name(server) or _is_valid(status, now)
    made, turned = certificate["metadata"].get("creationTimestamp"), ready.get("lastTransitionTime")
    since = max(moment(made) or now, moment(turned) or _NEVER)
    if told is not issuing and now - since < _PATIENCE:
        return _cut(server, reasons.PROGRESSING, f"Waiting for Certificate {name}: {words}", rest=rest)
    message = f"Certificate {name} is not ready: {words} See `kubectl describe certificate {name}`."
    return _cut(server, reasons.CERTIFICATE_NOT_READY, message, rest=rest)


def _cut(server: LiveKitServer, reason: Reason, message: str, *, rest: bool = False) -> Problem:
    """Return a problem that cuts clients off, unless `rest` is left to come in by or the user leads them here."""
    kind = Problem if rest or server.spec.signal.external_url else CutOff
    return kind(reason, message, retry_after=5.0)


def _refusals(parent: Mapping[str, Any], generation: int) -> Iterator[str]:
    name = said((parent.get("parentRef") or {}).get("name", ""))
    for kind in ("Accepted", "ResolvedRefs"):
        for words in _denied(parent, generation, kind):
            yield f"Gateway {name}: {words}"


def _denied(status: Mapping[str, Any], generation: int, kind: str) -> Iterator[str]:
    """Yield the words of a condition that is False and speaks of this generation."""
    found = find(status.get("conditions"), kind)
    if found.get("status") == "False" and found.get("observedGeneration", generation) >= generation:
        yield f"{kind} is False, {_words(found)}"


def _accepted(parent: Mapping[str, Any], generation: int) -> bool:
    """Return whether a Gateway has accepted the route, even if it has not seen the newest generation yet."""
    return holds(parent.get("conditions"), "Accepted") and not list(_refusals(parent, generation))


def _words(condition: Mapping[str, Any]) -> str:
    return f"{said(condition.get('reason', ''), 64)}: {said(condition.get('message') or '').rstrip('.')}."


def _is_valid(status: Mapping[str, Any], now: datetime) -> bool:
    return (moment(status.get("notAfter")) or _NEVER) > now
