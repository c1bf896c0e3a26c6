"""How the configuration becomes the library's options."""

import json
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from livekit.agents import AutoSubscribe
from livekit.plugins import openai

from voice_agent import config as configuration
from voice_agent.config import AgentConfig
from voice_agent.never_say import CarefulAgent
from voice_agent.noise import NoiseSuppressor
from voice_agent.providers import Plugins, build
from voice_agent.session import (
    build_agent,
    build_session,
    endpointing_delay,
    prewarm,
    realtime_turns,
    room_options,
    subscription,
    turn_handling,
)

from .conftest import KEYS


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, config: AgentConfig) -> Plugins:
    """The plugins of a process; a new session asks nobody."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    monkeypatch.setattr(openai.LLM, "prewarm", Mock())
    return build(config)


def test_the_reference_turn_handling(plugins: Plugins, config: AgentConfig) -> None:
    assert turn_handling(config, plugins) == {
        "turn_detection": "stt",
        # Deepgram has already waited 500 ms when the library begins to count
        "endpointing": {"min_delay": 0.0, "max_delay": 2.5},
        "interruption": {"enabled": True, "mode": "vad", "min_duration": 0.3, "false_interruption_timeout": 4.0},
        "preemptive_generation": {"enabled": True, "preemptive_tts": False},
    }


@pytest.mark.parametrize(
    ("detection", "endpointing_ms", "delay_ms", "seconds"),
    [
        ("stt", 500, 500, 0.0),
        ("stt", 300, 500, 0.2),
        ("stt", 1000, 500, 0.0),
        ("stt", 0, 500, 0.5),
        ("vad", 500, 500, 0.5),
        ("semantic", 500, 300, 0.3),
    ],
)
def test_silence_is_waited_for_once(
    document: dict[str, Any], detection: str, endpointing_ms: int, delay_ms: int, seconds: float
) -> None:
    document["turnHandling"]["detection"] = detection
    document["stt"]["endpointingMs"] = endpointing_ms
    assert endpointing_delay(delay_ms, configuration.parse(json.dumps(document))) == seconds


def test_voice_activity_ends_the_turns_of_a_speech_to_text_that_cannot(
    plugins: Plugins, document: dict[str, Any]
) -> None:
    document["stt"] = {"provider": "openai", "model": "whisper"}
    turns = turn_handling(configuration.parse(json.dumps(document)), plugins)
    assert (turns["turn_detection"], turns["endpointing"]) == ("vad", {"min_delay": 0.5, "max_delay": 3.0})


async def test_providers_with_fallbacks_are_asked_again_as_a_lone_one_is(
    plugins: Plugins, config: AgentConfig, document_with_fallback: dict[str, Any]
) -> None:
    options = build_session(configuration.parse(json.dumps(document_with_fallback)), plugins).conn_options
    assert (options.stt_conn_options.max_retry, options.stt_conn_options.timeout) == (3, 5)
    assert options.llm_conn_options == build_session(config, plugins).conn_options.stt_conn_options


@pytest.mark.parametrize(
    ("field", "value", "option", "there"),
    [
        ("detection", "vad", "turn_detection", "vad"),
        ("preemptiveGeneration", False, "preemptive_generation.enabled", False),
        ("preemptiveSpeech", True, "preemptive_generation.preemptive_tts", True),
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


async def test_a_model_ends_the_turns_where_there_is_one(plugins: Plugins, config: AgentConfig) -> None:
    detector = Mock()
    found = build_session(config, replace(plugins, turn_detector=detector))
    assert found.turn_detection is detector


@pytest.mark.parametrize(("detector", "turns"), [(None, "realtime_llm"), (Mock(), "vad")])
def test_a_realtime_model_says_whose_turn_it_is_if_it_can(detector: Any, turns: str) -> None:
    found = Plugins(vad=detector, stt=None, llm=Mock(), tts=None, by_place={})
    assert realtime_turns(found)["turn_detection"] == turns


async def test_the_detector_reaches_the_session(plugins: Plugins, config: AgentConfig) -> None:
    assert build_session(config, plugins).vad is plugins.vad


@pytest.mark.parametrize("noise", [True, False])
def test_noise_is_taken_out_where_that_is_asked_for(document: dict[str, Any], noise: bool) -> None:
    document["noiseSuppression"] = noise
    options = room_options(configuration.parse(json.dumps(document))).get_audio_input_options()
    assert options is not None
    assert isinstance(options.noise_cancellation, NoiseSuppressor) is noise
    assert options.auto_gain_control is True, "the library leaves it out beside a suppressor"


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


def test_a_process_makes_its_tools_before_its_call(
    document: dict[str, Any], plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    document["tools"] = {"http": [{"name": "find_slots", "description": "Finds slots.", "url": "https://x"}]}
    config = configuration.parse(json.dumps(document))
    process = Mock(userdata={})
    monkeypatch.setattr("voice_agent.session.providers.build", Mock(return_value=plugins))
    prewarm(config, process)
    [tool] = process.userdata["tools"]
    assert tool.id == "find_slots"
    assert [tool.id for tool in build_agent(config, process.userdata["tools"]).tools] == ["find_slots"]
    careful = build_agent(config.model_copy(update={"never_say": ("darn",)}), process.userdata["tools"])
    assert [tool.id for tool in careful.tools] == ["find_slots"]
    assert careful.instructions == build_agent(config, []).instructions == config.instructions
    assert build_agent(config, [], "").instructions == ""
    assert isinstance(careful, CarefulAgent)
