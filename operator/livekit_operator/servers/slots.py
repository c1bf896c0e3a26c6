"""Slots: the Service, the ports and the address that each server has for itself."""

import asyncio
import ipaddress
import socket
from typing import Any

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked, Problem
from livekit_operator.reconciling.ownership import is_owned
from livekit_operator.servers.context import Context
from livekit_operator.servers.manifests import media
from livekit_operator.servers.manifests.media import SlotPorts
from livekit_operator.servers.manifests.pod import SlotInputs
from livekit_operator.servers.pods import pods_of


async def ensure_slot_service(
    context: Context, server: LiveKitServer, slot: int, ensure: Any, kept: set[int]
) -> Manifest | None:
    """Make the Service of a slot as desired; one in use keeps its ports."""
    current = slot_service(context, server, slot)
    desired = media.build_slot_service(server, slot, current)
    moves = current is not None and desired is not None and media.moves_ports(current, desired)
    if current is not None and moves and _is_used(context, server, current):
        kept.add(slot)  # the server in this slot would be cut off: it gives way to one in another slot first
        return current
    service: Manifest | None = await ensure(desired)
    if service is not None and current is None:
        # The cluster has chosen the node ports just now: the containers' ports follow them.
        service = await ensure(media.build_slot_service(server, slot, service))
    return service


async def known_slot_inputs(
    context: Context, server: LiveKitServer, slot: int, advertised: str | None = None
) -> SlotInputs:
    """Return what a server of this slot should have for itself, by what is known before anything is written.

    Raises Blocked while it has no ports or no address.
    """
    current = slot_service(context, server, slot)
    desired = media.build_slot_service(server, slot, current)
    if current is not None and desired is not None:
        desired = {**desired, "status": current.get("status")}
    return await find_slot_inputs(server, slot, desired, advertised)


def slot_service(context: Context, server: LiveKitServer, slot: int) -> Manifest | None:
    """Return the Service of a slot, None when there is none of this server's."""
    found = context.children["Service"].get((server.metadata.namespace, media.slot_name(server, slot)))
    return found if found and is_owned(server, found) else None


async def find_slot_inputs(
    server: LiveKitServer, slot: int, service: Manifest | None, advertised: str | None = None
) -> SlotInputs:
    """Return what a server has for itself, by its Service; raises Blocked while it has no ports or no address.

    A load balancer's name may have several addresses, in any order: the one that a server advertises stays right.
    """
    exposure = server.spec.media.exposure
    if exposure != "HostNetwork" and service is None:
        raise Blocked(Problem(reasons.PROGRESSING, f"Waiting for Service {media.slot_name(server, slot)}."))
    ports: SlotPorts | None = media.slot_ports(server, service)
    if ports is None:
        raise Blocked(Problem(reasons.PROGRESSING, f"Waiting for the node ports of {media.slot_name(server, slot)}."))
    if exposure != "LoadBalancer":
        return SlotInputs(slot, ports)
    address = media.slot_address(server, service)
    if address is None:
        name = media.slot_name(server, slot)
        message = f"Service {name} has no address yet: see `kubectl describe service {name}`."
        raise Blocked(Problem(reasons.NO_EXTERNAL_ADDRESS, message))
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
        raise Blocked(Problem(reasons.NO_EXTERNAL_ADDRESS, message, retry_after=10.0)) from error
    return sorted({str(entry[4][0]) for entry in found})


def _is_used(context: Context, server: LiveKitServer, manifest: Manifest) -> bool:
    """Return whether an object belongs to a pod that still exists: it has the pod's name."""
    return any(pod["metadata"]["name"] == manifest["metadata"]["name"] for pod in pods_of(context, server))
