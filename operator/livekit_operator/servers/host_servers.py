"""An index of the servers on the host network, kept up to date."""

from typing import Any

from pydantic import ValidationError

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.moments import parse_timestamp
from livekit_operator.servers.decisions.port_conflicts import HostServer, HostServers, PortSpan
from livekit_operator.servers.manifests import config


class KnownHostServers:
    """The servers on the host network; a spec is read once, not at each pass of each server."""

    def __init__(self) -> None:
        self.servers = HostServers()
        self._read: dict[Key, tuple[str, Any]] = {}

    def see(self, key: Key, manifest: Manifest | None) -> None:
        """Put a LiveKitServer, None when it is gone."""
        if manifest is None:
            self._forget(key)
            return
        read = (str(manifest["metadata"].get("uid")), manifest.get("spec"))
        if self._read.get(key) == read:
            return
        self._forget(key)
        self._read[key] = read
        try:
            server = LiveKitServer.model_validate(manifest)
        except (ValidationError, RecursionError):
            return  # its own pass says so
        if takes_ports(server):
            self.servers.put(host_server(server))

    def _forget(self, key: Key) -> None:
        self._read.pop(key, None)
        self.servers.remove(key)


def takes_ports(server: LiveKitServer) -> bool:
    """Return whether a server takes ports of nodes."""
    return server.spec.media.exposure == "HostNetwork" and bool(server.spec.replicas)


def host_server(server: LiveKitServer) -> HostServer:
    """Return what a server takes of its nodes."""
    spans = [PortSpan(protocol, start, end) for _, protocol, start, end in config.host_ports(server)]
    created = parse_timestamp(server.metadata.creation_timestamp or "1970-01-01T00:00:00Z")
    return HostServer(server.key, created, spans, server.spec.pod_template.node_selector)
