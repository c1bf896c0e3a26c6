"""Models of the sample resources, for builders."""

from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, stored


def server(namespace: str = NAMESPACE, **spec: Any) -> LiveKitServer:
    """Return a LiveKitServer as the API server gives it."""
    return LiveKitServer.model_validate(stored(manifests.server(namespace=namespace, **spec)))


def pool(namespace: str = NAMESPACE, **spec: Any) -> VoiceAgentPool:
    """Return a VoiceAgentPool as the API server gives it."""
    return VoiceAgentPool.model_validate(stored(manifests.pool(namespace=namespace, **spec)))


def room(name: str = "support-42", namespace: str = NAMESPACE, **spec: Any) -> MeetingRoom:
    """Return a MeetingRoom as the API server gives it."""
    return MeetingRoom.model_validate(stored(manifests.room(name, namespace, **spec)))
