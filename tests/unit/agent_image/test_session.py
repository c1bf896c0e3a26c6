"""How the configuration becomes the library's options."""

import json
from typing import Any
from unittest.mock import Mock

import pytest
from livekit.plugins import silero

from voice_agent import config as configuration
from voice_agent.config import AgentConfig
from voice_agent.failures import status_code
from voice_agent.providers import build, vad_silence
from voice_agent.session import endpointing_delay, turn_handling

from .conftest import KEYS


def test_the_reference_turn_handling(config: AgentConfig) -> None:
    assert turn_handling(config) == {
        "turn_detection": "stt",
        # Deepgram has already waited 500 ms when the library begins to count
        "endpointing": {"min_delay": 0.0, "max_delay": 2.5},
        "interruption": {"enabled": True, "mode": "vad", "min_duration": 0.3, "false_interruption_timeout": 4.0},
        "preemptive_generation": {"enabled": True},
    }


@pytest.mark.parametrize(
    ("detection", "endpointing_ms", "delay_ms", "seconds", "vad"),
    [
        ("stt", 500, 500, 0.0, 0.4),
        ("stt", 300, 500, 0.2, 0.2),
        ("stt", 1000, 500, 0.0, 0.55),
        ("stt", 0, 500, 0.5, 0.2),
        ("vad", 500, 500, 0.5, 0.55),
    ],
)
def test_silence_is_waited_for_once(
    document: dict[str, Any], detection: str, endpointing_ms: int, delay_ms: int, seconds: float, vad: float
) -> None:
    document["turnHandling"]["detection"] = detection
    document["stt"]["endpointingMs"] = endpointing_ms
    config = configuration.parse(json.dumps(document))
    assert endpointing_delay(delay_ms, config) == seconds
    assert vad_silence(config) == vad


@pytest.mark.parametrize("detection", ["stt", "vad"])
@pytest.mark.parametrize("silence_ms", [100, 1500])
def test_a_configured_silence_is_kept(document: dict[str, Any], detection: str, silence_ms: int) -> None:
    document["turnHandling"]["detection"] = detection
    document["vad"]["minSilenceDurationMs"] = silence_ms
    assert vad_silence(configuration.parse(json.dumps(document))) == silence_ms / 1000


@pytest.mark.parametrize(
    ("vad", "options"),
    [
        ({}, {"min_speech_duration": 0.05, "min_silence_duration": 0.4, "activation_threshold": 0.5}),
        (
            {"minSpeechDurationMs": 120, "minSilenceDurationMs": 800, "activationThreshold": 0.7},
            {"min_speech_duration": 0.12, "min_silence_duration": 0.8, "activation_threshold": 0.7},
        ),
    ],
)
def test_the_detector_a_process_is_warmed_with_follows_the_configuration(
    monkeypatch: pytest.MonkeyPatch, document: dict[str, Any], vad: dict[str, Any], options: dict[str, float]
) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    document["vad"] = vad
    load = Mock(return_value=None)
    monkeypatch.setattr(silero.VAD, "load", load)
    build.__wrapped__(configuration.parse(json.dumps(document)))
    load.assert_called_once_with(**options)


def test_plugins_follow_the_configuration(monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    document["stt"]["model"] = "nova-2"
    plugins = build(configuration.parse(json.dumps(document)))
    assert (plugins.stt.model, plugins.llm.model, plugins.tts.model) == ("nova-2", "gpt-4o-mini", "aura-2-andromeda-en")
    assert plugins.tts.sample_rate == 24000
    assert build(configuration.parse(json.dumps(document))) is plugins


@pytest.mark.parametrize(("attributes", "code"), [({"status_code": 401}, 401), ({"status_code": -1}, 0), ({}, 0)])
def test_status_codes(attributes: dict[str, int], code: int) -> None:
    error = RuntimeError()
    for name, value in attributes.items():
        setattr(error, name, value)
    assert status_code(error) == code
