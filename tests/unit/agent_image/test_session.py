"""How the configuration becomes the library's options."""

import json
from typing import Any
from unittest.mock import Mock

import pytest
from livekit.agents import AutoSubscribe
from livekit.plugins import openai, silero

from voice_agent import config as configuration
from voice_agent.config import AgentConfig
from voice_agent.failures import status_code
from voice_agent.providers import Plugins, build, vad_silence
from voice_agent.session import build_session, endpointing_delay, room_options, subscription, turn_handling

from .conftest import KEYS


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, config: AgentConfig) -> Plugins:
    """The plugins of a process; a new session asks nobody."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    monkeypatch.setattr(openai.LLM, "prewarm", Mock())
    return build(config)


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


@pytest.mark.parametrize(
    ("field", "value", "option", "there"),
    [
        ("detection", "vad", "turn_detection", "vad"),
        ("preemptiveGeneration", False, "preemptive_generation.enabled", False),
        ("allowInterruptions", False, "interruption.enabled", False),
        ("minInterruptionMs", 700, "interruption.min_duration", 0.7),
        ("falseInterruptionTimeoutMs", 1500, "interruption.false_interruption_timeout", 1.5),
        ("minEndpointingDelayMs", 900, "endpointing.min_delay", 0.4),
        ("maxEndpointingDelayMs", 4000, "endpointing.max_delay", 3.5),
    ],
)
async def test_turn_handling_reaches_the_session(
    plugins: Plugins, document: dict[str, Any], field: str, value: Any, option: str, there: Any
) -> None:
    def seen() -> Any:
        session = build_session(configuration.parse(json.dumps(document)), plugins)
        found: Any = session.options.turn_handling
        for name in option.split("."):
            found = found[name]
        return found

    assert seen() != there
    document["turnHandling"][field] = value
    assert seen() == there


async def test_the_detector_reaches_the_session(plugins: Plugins, config: AgentConfig) -> None:
    assert build_session(config, plugins).vad is plugins.vad


@pytest.mark.parametrize("aligned", [True, False])
async def test_transcripts_are_aligned_where_that_is_asked_for(
    plugins: Plugins, document: dict[str, Any], aligned: bool
) -> None:
    document["turnHandling"]["alignedTranscript"] = aligned
    config = configuration.parse(json.dumps(document))
    assert build_session(config, plugins).options.use_tts_aligned_transcript is aligned
    text = room_options(config).get_text_output_options()
    assert text is not None
    assert text.sync_transcription is aligned


@pytest.mark.parametrize(
    ("audio_only", "tracks"), [(True, AutoSubscribe.AUDIO_ONLY), (False, AutoSubscribe.SUBSCRIBE_ALL)]
)
def test_text_passes_whatever_tracks_the_agent_receives(
    document: dict[str, Any], audio_only: bool, tracks: AutoSubscribe
) -> None:
    document["audioOnly"] = audio_only
    config = configuration.parse(json.dumps(document))
    assert subscription(config) == tracks
    options = room_options(config)
    assert options.get_text_input_options() is not None
    assert options.get_text_output_options() is not None
    assert options.get_video_input_options() is None


@pytest.mark.parametrize(("attributes", "code"), [({"status_code": 401}, 401), ({"status_code": -1}, 0), ({}, 0)])
def test_status_codes(attributes: dict[str, int], code: int) -> None:
    error = RuntimeError()
    for name, value in attributes.items():
        setattr(error, name, value)
    assert status_code(error) == code
