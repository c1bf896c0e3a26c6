"""The three resources as a user writes them, small and complete."""

import base64
import copy
from typing import Any

Manifest = dict[str, Any]

NAMESPACE = "team"
API_KEY = "APIgiven"
API_SECRET = "a-secret-of-thirty-two-characters-or-more"


def server(name: str = "voice", namespace: str = NAMESPACE, **spec: Any) -> Manifest:
    """Return a LiveKitServer."""
    return _resource("LiveKitServer", name, namespace, {"signal": {"externalUrl": "wss://voice.example.com"}, **spec})


def pool(name: str = "front-desk", namespace: str = NAMESPACE, **spec: Any) -> Manifest:
    """Return a VoiceAgentPool of one pod."""
    agent = {
        "instructions": "You answer the phone of a dental practice. Be brief.",
        "greeting": "Hello, how can I help?",
        "stt": {"apiKeySecretRef": {"name": "providers", "key": "deepgram"}},
        "llm": {"apiKeySecretRef": {"name": "providers", "key": "openai"}},
        "tts": {"apiKeySecretRef": {"name": "providers", "key": "deepgram"}},
    }
    return _resource("VoiceAgentPool", name, namespace, {"serverRef": {"name": "voice"}, "agent": agent, **spec})


def own_agent(**agent: Any) -> Manifest:
    """Return `spec.agent` of a pool that runs an image of the user's own."""
    return {"image": "registry.example.com/agent:1.2.3", "command": ["python", "agent.py", "start"], **agent}


def room(name: str = "support-42", namespace: str = NAMESPACE, **spec: Any) -> Manifest:
    """Return a MeetingRoom without tokens and agents."""
    return _resource("MeetingRoom", name, namespace, {"serverRef": {"name": "voice"}, **spec})


def secret(name: str, namespace: str = NAMESPACE, **values: str) -> Manifest:
    """Return a Secret that nobody owns."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


def keys_secret(name: str = "my-keys", namespace: str = NAMESPACE, api_secret: str = API_SECRET) -> Manifest:
    """Return a Secret with a server's keys."""
    return secret(name, namespace, apiKey=API_KEY, apiSecret=api_secret)


def providers_secret(namespace: str = NAMESPACE) -> Manifest:
    """Return the Secret with the providers' keys that `pool` refers to."""
    return secret("providers", namespace, deepgram="dg-key", openai="oa-key")


def stored(manifest: Manifest) -> Manifest:
    """Return a manifest with what the API server adds to it."""
    added = {"uid": f"uid-{manifest['metadata']['name']}", "resourceVersion": "1", "generation": 1}
    return {**manifest, "metadata": {**manifest["metadata"], **added}}


def decoded(manifest: Manifest) -> dict[str, str]:
    """Return the values of a Secret."""
    return {key: base64.b64decode(value).decode() for key, value in manifest["data"].items()}


def ready_condition(manifest: Manifest) -> Manifest:
    """Return the condition `Ready` of a resource."""
    return condition(manifest, "Ready")


def condition(manifest: Manifest, kind: str) -> Manifest:
    """Return a condition of a resource by its type."""
    found: Manifest = next(c for c in manifest["status"]["conditions"] if c["type"] == kind)
    return found


def _resource(kind: str, name: str, namespace: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "livekit-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": copy.deepcopy(spec),
    }
