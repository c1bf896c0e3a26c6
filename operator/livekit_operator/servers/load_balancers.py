"""Load balancers without an address: what the cloud says of them, in the Events of their Services."""

from collections.abc import Mapping
from datetime import datetime

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Problem
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling.hanging_pods import last_warning
from livekit_operator.reconciling.ownership import identity
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.rollout import ADDRESS_PATIENCE
from livekit_operator.servers.manifests import media, signalling
from livekit_operator.servers.manifests import service as server_service

_NO_WORDS = "check that this cluster has a controller for load balancers."
_MIXED = " A cloud that takes no Service with both UDP and TCP needs spec.media.loadBalancer.iceTcp: false."


async def missing_address(context: Context, server: LiveKitServer, service: Manifest) -> Problem:
    """Return what to say of a Service of type LoadBalancer that has no address, in the words of its Events."""
    name = service["metadata"]["name"]
    words = await last_warning(context, service)
    protocols = {port.get("protocol") for port in service["spec"].get("ports") or ()}
    hint = _MIXED if words and len(protocols) > 1 and media.has_ice_tcp(server) else ""
    why = f"{words.rstrip('. ')}. See `kubectl describe service {name}`." if words else _NO_WORDS
    message = (
        f"Service {name} has no address yet: {why}{hint} Each Service of type LoadBalancer has one of its own: the "
        f"signalling's, unless spec.signal.service.type is ClusterIP, and each server's."
    )
    return Problem(reasons.NO_EXTERNAL_ADDRESS, message)


async def signal_without_address(context: Context, server: LiveKitServer, service: Manifest) -> Problem | None:
    """Return that the signalling's Service waits for a load balancer, None when it needs none or has not long."""
    if signalling.signal_service_type(server) != "LoadBalancer" or server_service.has_address(service):
        return None
    if context.now() - parse_timestamp(service["metadata"]["creationTimestamp"]) < ADDRESS_PATIENCE:
        return None
    return await missing_address(context, server, service)


def slots_without_address(context: Context, server: LiveKitServer) -> Mapping[int, datetime]:
    """Return slot -> since when its Service waits for a load balancer's address, where servers need one."""
    if server.spec.media.exposure != "LoadBalancer":
        return {}
    waiting = {}
    for service in context.children["Service"].owned_by(identity(server)):
        slot = media.slot_in(server, service["metadata"]["name"])
        if slot is not None and not server_service.has_address(service):
            waiting[slot] = parse_timestamp(service["metadata"]["creationTimestamp"])
    return waiting
