"""Values the tests of the agent share."""

import json
from typing import Any

import pytest

from voice_agent import config as configuration
from voice_agent.config import AgentConfig

KEYS = {
    "STT_API_KEY": "stt-key-of-the-test",
    "LLM_API_KEY": "llm-key-of-the-test",
    "TTS_API_KEY": "tts-key-of-the-test",
}
ENVIRON = {
    "LIVEKIT_URL": "ws://livekit.example:7880",
    "LIVEKIT_API_KEY": "api-key",
    "LIVEKIT_API_SECRET": "api-secret-of-at-least-32-characters",
    **KEYS,
}


@pytest.fixture
def document() -> dict[str, Any]:
    """A whole configuration file, every field given."""
    return {
        "agentName": "front-desk",
        "sessionsPerPod": 2,
        "idleProcesses": 1,
        "drainTimeoutSeconds": 60,
        "metricsPort": 9100,
        "instructions": "Answer the phone.",
        "greeting": "Hello, how can I help?",
        "stt": {
            "provider": "deepgram",
            "model": "nova-3",
            "language": "en-US",
            "endpointingMs": 500,
            "interimResults": True,
            "baseUrl": None,
        },
        "llm": {"provider": "openai", "model": "gpt-4o-mini", "temperature": None, "baseUrl": None},
        "tts": {"provider": "deepgram", "model": "aura-2-andromeda-en", "sampleRate": 24000, "baseUrl": None},
        "vad": {"minSpeechDurationMs": 50, "minSilenceDurationMs": None, "activationThreshold": 0.5},
        "turnHandling": {
            "detection": "stt",
            "minEndpointingDelayMs": 500,
            "maxEndpointingDelayMs": 3000,
            "preemptiveGeneration": True,
            "allowInterruptions": True,
            "minInterruptionMs": 300,
            "falseInterruptionTimeoutMs": 4000,
            "alignedTranscript": True,
        },
        "audioOnly": True,
    }


@pytest.fixture
def config(document: dict[str, Any]) -> AgentConfig:
    """The same, parsed."""
    return configuration.parse(json.dumps(document))


@pytest.fixture
def document_with_fallback(document: dict[str, Any]) -> dict[str, Any]:
    """The same, with a second provider that hears."""
    document["stt"]["fallbacks"] = [{"provider": "openai", "model": "whisper", "baseUrl": "http://speaches/v1"}]
    return document
