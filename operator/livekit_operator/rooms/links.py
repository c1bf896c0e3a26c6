"""What a MeetingRoom refers to."""

from collections.abc import Iterable

from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.engine.turns import Line
from livekit_operator.manifests.metadata import qualified_name
from livekit_operator.pools.links import to_any_pool, to_pool
from livekit_operator.reconciling.links import Link
from livekit_operator.servers.links import server_of, to_room, to_server


def links(manifest: Manifest) -> Iterable[Link]:
    """Return what a room refers to: its server, its name there, its pools."""
    server = server_of(manifest)
    if server is None:
        return
    namespace, spec = manifest["metadata"]["namespace"], manifest["spec"]
    yield to_server(server)
    name = spec.get("roomName") or manifest["metadata"]["name"]
    yield to_room(server, qualified_name(namespace, name, server[0]))
    agents = spec.get("agents") or ()
    for agent in agents:
        pool = agent["poolRef"]
        yield to_pool((pool.get("namespace") or namespace, pool["name"]))
    if spec.get("kind") == "VoiceAgent" and not agents:
        yield to_any_pool(namespace)


def undeclared_line(key: Key) -> Line:
    """Return whose a room is that no MeetingRoom declares: its server's."""
    namespace, _, name = key[0].partition("/")
    return Line(namespace, (namespace, name))
