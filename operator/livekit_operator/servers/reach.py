"""Whether clients can reach the URL and addresses they get, as far as spec, nodes and a connection show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import CONDITION_DEGRADED, CONDITION_READY
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Problem
from livekit_operator.servers.context import Context
from livekit_operator.servers.load_balancers import signal_without_address
from livekit_operator.servers.manifests import reach, signalling
from livekit_operator.servers.memory import Dialed
from livekit_operator.servers.pods import Replica, Replicas

# Why there is no URL for clients.
NO_URL = (reasons.EXTERNAL_URL_MISSING, reasons.NO_EXTERNAL_ADDRESS)
_MOST_NODES = 5
# kube-proxy and load balancers forward to a pod some moments after it is ready.
_LEADS_WITHIN = timedelta(seconds=30)
_DIAL_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Reach:
    """How clients reach the servers: their URL, None while there is none, and what keeps them away."""

    url: str | None
    unreached: Sequence[Problem] = ()
    awaited: Problem | None = None
    """What does not lead to servers yet that have just become ready."""


async def _find_unreachable(
    context: Context, server: LiveKitServer, replicas: Replicas, service: Manifest
) -> list[Problem]:
    """Return what keeps clients from servers that run well, by spec and nodes."""
    problems = []
    if waits := await signal_without_address(context, server, service):
        problems.append(waits)
    if reach.lacks_external_url(server):
        message = (
            "Nothing says which URL clients use: spec.signal.service.type is ClusterIP. Set spec.signal.externalUrl to "
            "that of what leads to the Service, or let spec.signal have an ingress, a gateway or another service.type."
        )
        problems.append(Problem(reasons.EXTERNAL_URL_MISSING, message))
    nodes = sorted({_node(item) for item in replicas.every if item.view.up and not item.view.leaving} - {""})
    if server.spec.media.node_ip and server.spec.media.exposure != "LoadBalancer" and len(nodes) > 1:
        message = (
            f"All servers tell clients spec.media.nodeIp {server.spec.media.node_ip}, and they run on {len(nodes)} "
            f"nodes: {', '.join(nodes[:_MOST_NODES])}. Rooms on another one than it leads to cannot be joined: leave "
            f"it out and set spec.media.discoverExternalIp, by which each tells its own node's public address."
        )
        problems.append(Problem(reasons.NODE_IP_SHARED, message))
    return problems


def _node(item: Replica) -> str:
    return str(item.pod["spec"].get("nodeName") or "")


async def find_reach(context: Context, server: LiveKitServer, replicas: Replicas, service: Manifest) -> Reach:
    """Return how clients reach the servers; `service` is that of the signalling."""
    serving = [item for item in replicas.every if item.view.up and item.view.serving and not item.view.leaving]
    first = min(serving, key=lambda item: item.view.slot, default=None)
    address = first.node_address if first else None
    # Its own address may be a private one; the node's status may have the public one.
    public = first.public if first and server.spec.media.discover_external_ip else server.spec.media.node_ip
    url = reach.external_url(server, node_address=address and (public or address), signal_service=service)
    unreached = await _find_unreachable(context, server, replicas, service)
    refused = await _find_refusal(context, server, url if serving else None, address)
    if refused and refused.reason != reasons.PROGRESSING:
        return Reach(url, [*unreached, refused])
    return Reach(url, unreached, awaited=refused)


async def _find_refusal(context: Context, server: LiveKitServer, url: str | None, node: str | None) -> Problem | None:
    """Return that what leads clients to servers that answer refuses them, None when it does not or cannot be told.

    Only where the cluster itself forwards: what answers for a URL of the user's own may be out of reach from here. A
    firewall may refuse only the operator for long, so a lasting refusal is reported and not believed.
    """
    leads = signalling.signal_service_type(server)
    own = server.spec.signal
    elsewhere = own.external_url or own.ingress or own.gateway or server.spec.media.exposure == "HostNetwork"
    if url is None or leads == "ClusterIP" or elsewhere:
        context.dialed.pop(server.key, None)
        return None
    known = context.dialed.get(server.key)
    if known is None or known.url != url:
        # What was Ready before the operator started stays so: a refusal can only be told beside it.
        known = Dialed(url, context.now() - (_LEADS_WITHIN if _was_ready(server, url) else timedelta()))
    if known.refused_since is None:
        return None  # nothing refused there, or the operator cannot tell
    place = urlsplit(url)
    # A node's public address may not be reachable from inside the cluster.
    address = node if leads == "NodePort" and node else place.hostname or ""
    refused = await context.refuses(address, place.port or signalling.signal_service_port(server))
    context.dialed[server.key] = known if refused else Dialed(url, None)
    if not refused:
        return None
    if context.now() - known.refused_since < _LEADS_WITHIN:
        message = f"Waiting until {url} leads to the servers, which answer in the cluster: it refuses connections."
        return Problem(reasons.PROGRESSING, message, retry_after=_DIAL_AGAIN_SECONDS)
    who = "kube-proxy on that node" if leads == "NodePort" else "the load balancer's health checks and listeners"
    message = (
        f"{url} refuses connections of the operator, though the servers answer in the cluster. See {who}, or what "
        f"keeps the operator from connecting; or set spec.signal.externalUrl to what clients use."
    )
    return Problem(reasons.EXTERNAL_URL_REFUSED, message, retry_after=_LEADS_WITHIN.total_seconds())


def _was_ready(server: LiveKitServer, url: str) -> bool:
    """Return whether the status says that clients could use this URL, or that the operator is refused anyway."""
    refused = server.last.reason(CONDITION_DEGRADED) == reasons.EXTERNAL_URL_REFUSED
    return server.last.holds(CONDITION_READY) and (refused or server.last.external_url == url)
