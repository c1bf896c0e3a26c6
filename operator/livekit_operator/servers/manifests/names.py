"""What all children of a LiveKitServer share: kinds, names and the image."""

from livekit_operator.api.livekitserver import LiveKitServer

CHILD_KINDS = (
    "Pod",
    "Secret",
    "Service",
    "ConfigMap",
    "Deployment",
    "ServiceAccount",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Ingress",
)
# Kinds of other projects, which a cluster need not have: looked up when they are asked for, not watched.
OPTIONAL_KINDS = ("HTTPRoute", "Certificate")


def child_name(server: LiveKitServer) -> str:
    """Return the name that the names of most children begin with."""
    return f"{server.metadata.name}-livekit"


def keys_secret_name(server: LiveKitServer) -> str:
    """Return the name of the Secret with the API keys that servers accept and the one in use."""
    return f"{child_name(server)}-keys"


def image(server: LiveKitServer, repository: str) -> str:
    """Return the image to run."""
    return server.spec.image or f"{repository}:{server.spec.version}"


def is_shared(server: LiveKitServer) -> bool:
    """Return whether several servers are one, by Redis."""
    return server.spec.redis is not None
