"""Whether clients can reach what they are told, as far as a spec and its servers' nodes show."""

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked
from livekit_operator.reconcilers.context import Context
from livekit_operator.reconcilers.load_balancers import signal_without_address
from livekit_operator.reconcilers.server_pods import Look, Server
from livekit_operator.resources import server_network

# Why there is no URL for clients.
NO_URL = ("ExternalUrlMissing", "NoExternalAddress")
_MOST_NODES = 5


async def find_unreachable(context: Context, server: LiveKitServer, look: Look, service: Manifest) -> list[Blocked]:
    """Return what keeps clients from servers that run well; `service` is that of the signalling."""
    problems = []
    if waits := await signal_without_address(context, server, service):
        problems.append(waits)
    if server_network.lacks_external_url(server):
        message = (
            "Nothing says which URL clients use: spec.signal.service.type is ClusterIP. Set spec.signal.externalUrl to "
            "that of what leads to the Service, or let spec.signal have an ingress, a gateway or another service.type."
        )
        problems.append(Blocked("ExternalUrlMissing", message))
    nodes = sorted({_node(item) for item in look.servers if item.view.up and not item.view.leaving} - {""})
    if server.spec.media.node_ip and server.spec.media.exposure != "LoadBalancer" and len(nodes) > 1:
        message = (
            f"All servers tell clients spec.media.nodeIp {server.spec.media.node_ip}, and they run on {len(nodes)} "
            f"nodes: {', '.join(nodes[:_MOST_NODES])}. Rooms on another one than it leads to cannot be joined: leave "
            f"it out and set spec.media.discoverExternalIp, by which each tells its own node's public address."
        )
        problems.append(Blocked("NodeIpShared", message))
    return problems


def _node(item: Server) -> str:
    return str(item.pod["spec"].get("nodeName") or "")
