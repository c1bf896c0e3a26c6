"""A server's pods as values, and how to find and ask one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.constants import LABEL_COMPONENT
from livekit_operator.containers import container
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.reconciling.ownership import identity
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.key_rotation import ApiKey
from livekit_operator.servers.decisions.rollout import ServerPod
from livekit_operator.servers.manifests import media
from livekit_operator.servers.manifests.pod import CONTAINER
from livekit_operator.servers.memory import PodMemory
from livekit_operator.views import ServerLoad


def pods_of(context: Context, server: LiveKitServer, component: str = COMPONENT_SERVER) -> list[Manifest]:
    """Return the pods of a server's component, by name; only a pod with the name of a slot is a server."""
    pods = [pod for pod in context.children["Pod"].owned_by(identity(server)) if component_of(pod) == component]
    return [pod for pod in pods if component != COMPONENT_SERVER or slot_of(server, pod) is not None]


def slot_of(server: LiveKitServer, pod: Manifest) -> int | None:
    """Return the slot of a server from its name, which nobody can change; None for a pod with another name."""
    return media.slot_in(server, pod["metadata"]["name"])


def component_of(manifest: Manifest) -> str | None:
    """Return which component of a resource an object says that it is."""
    found: str | None = (manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT)
    return found


# Rooms named in a status or an event.
MOST_NAMES = 10


@dataclass(frozen=True)
class Replica:
    """One replica of a server: its pod, what deciding needs of it, its rooms, and why it does not start."""

    pod: Manifest
    view: ServerPod
    load: ServerLoad | None = None
    trouble: Problem | None = None
    told: ServerLoad | None = None
    """Its load as it is told: the last one while it may only be too busy to answer. Decisions go by `load`."""
    public: str | None = None
    """The public IP address of its node, if the node's status has one."""
    memory: PodMemory = field(default_factory=PodMemory, repr=False, compare=False)
    """What is to be remembered of it for the next pass."""

    @property
    def address(self) -> str | None:
        """Return the IP address of its pod."""
        found: str | None = (self.pod.get("status") or {}).get("podIP")
        return found

    @property
    def signal_url(self) -> str:
        """Return the URL of its own signalling, by its pod's address."""
        ports = container(self.pod, CONTAINER).get("ports") or ()
        port = next((entry["containerPort"] for entry in ports if entry.get("name") == "signal"), 0)
        address = self.address or ""
        return f"ws://{f'[{address}]' if ':' in address else address}:{port}"

    @property
    def node_address(self) -> str | None:
        """Return the IP address of its node."""
        found: str | None = (self.pod.get("status") or {}).get("hostIP")
        return found

    @property
    def media_address(self) -> str | None:
        """Return the IP address that it advertises, None where only the server knows which one it has found."""
        if _variable(self.pod, "NODE_IP") is None:
            return self.public
        return advertised(self.pod) or self.node_address


@dataclass(frozen=True)
class Replicas:
    """All replicas of a server; `lost` when one disappeared with its rooms."""

    every: Sequence[Replica]
    lost: bool = False

    @property
    def views(self) -> list[ServerPod]:
        """Return what deciding needs."""
        return [item.view for item in self.every]

    @property
    def staying(self) -> list[Replica]:
        """Return those that are not leaving."""
        return [item for item in self.every if not item.view.leaving and not item.view.finished]

    @property
    def serving(self) -> list[Replica]:
        """Return those that clients can use."""
        return [item for item in self.staying if item.view.up and item.view.serving]


def advertised(pod: Manifest) -> str | None:
    """Return the address that a server was given to advertise, None when it is its node's or one it finds itself."""
    return (_variable(pod, "NODE_IP") or {}).get("value")


def _variable(pod: Manifest, name: str) -> Manifest | None:
    variables = container(pod, CONTAINER).get("env") or ()
    return next((v for v in variables if v["name"] == name), None)


def connect_to(context: Context, server: LiveKitServer, address: str, key: ApiKey) -> LiveKit:
    """Return a client of the one server at an address, not of the Service of all."""
    host = f"[{address}]" if ":" in address else address
    return context.connect(f"http://{host}:{server.spec.signal.port}", key.id, key.secret)
