"""What is said to a server on the host network that has to wait for its ports."""

from dataclasses import replace

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import LABEL_COMPONENT
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.reconciling.ownership import identity_of
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.port_conflicts import find_conflict
from livekit_operator.servers.host_servers import host_server, takes_ports


def port_conflict(context: Context, server: LiveKitServer) -> Problem | None:
    """Return why a server has to wait for its ports; others' names are told only within their namespace."""
    if not takes_ports(server):
        return None
    mine = replace(host_server(server), holds=_holds(context, server.key))
    others = [replace(other, holds=_holds(context, other.key)) for other in context.host_servers.servers.near(mine)]
    nodes = [node["metadata"].get("labels") or {} for node in context.nodes]
    conflict = find_conflict(mine, others, nodes, context.now())
    if conflict is None:
        return None
    same = conflict.other[0] == server.metadata.namespace
    who = f"LiveKitServer {conflict.other[1]}" if same else "A LiveKitServer of another namespace"
    message = (
        f"{who} has {conflict.ports} on nodes that this one may run on too: "
        f"choose other ports, keep the two apart by spec.podTemplate.nodeSelector, or use media.exposure NodePort."
    )
    return Problem(reasons.PORT_CONFLICT, message, retry_after=10.0)


def _holds(context: Context, key: Key) -> bool:
    """Return whether a pod of a server is on a node and has not ended."""
    manifest = context.resources["LiveKitServer"].get(key)
    if manifest is None:
        return False
    for pod in context.children["Pod"].owned_by(identity_of("LiveKitServer", manifest)):
        component = (pod["metadata"].get("labels") or {}).get(LABEL_COMPONENT)
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if component == COMPONENT_SERVER and not ended and pod["spec"].get("nodeName"):
            return True
    return False
