"""Which plugins the configuration means, and how they are set."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from livekit import agents, local_inference
from livekit.agents.inference.eot.languages import LOCAL_LANGUAGES
from livekit.agents.language import LanguageCode
from livekit.plugins import deepgram, openai, silero

from voice_agent import config as configuration
from voice_agent.providers import build, build_stt, build_turn_detector, hears_turns, preload, vad_silence

from .conftest import KEYS

# What a worker in LiveKit's cloud has, where the library would ask the hosted model.
HOSTED = {
    "LIVEKIT_REMOTE_EOT_URL": "http://cloud/eot",
    "LIVEKIT_INFERENCE_URL": "http://cloud",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "secret",
    "LIVEKIT_DEV_MODE": "1",
}


@pytest.mark.parametrize(
    ("detection", "endpointing_ms", "vad"),
    [("stt", 500, 0.4), ("stt", 300, 0.2), ("stt", 1000, 0.55), ("stt", 0, 0.2), ("vad", 500, 0.55)],
)
def test_the_detector_has_heard_the_end_before_the_provider_ends_the_turn(
    document: dict[str, Any], detection: str, endpointing_ms: int, vad: float
) -> None:
    document["turnHandling"]["detection"] = detection
    document["stt"]["endpointingMs"] = endpointing_ms
    assert vad_silence(configuration.parse(json.dumps(document))) == vad


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
    assert plugins.stt is not None
    assert plugins.tts is not None
    assert (plugins.stt.model, plugins.llm.model, plugins.tts.model) == ("nova-2", "gpt-4o-mini", "aura-2-andromeda-en")
    assert plugins.tts.sample_rate == 24000
    assert build(configuration.parse(json.dumps(document))) is plugins


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The loading of the turn model's weights."""
    load = Mock()
    monkeypatch.setattr(local_inference, "init_eot", load)
    return load


@pytest.mark.parametrize(
    ("detection", "hosted"), [("semantic", {}), ("semantic", HOSTED), ("stt", HOSTED), ("vad", HOSTED)]
)
def test_a_turn_is_judged_inside_the_pod_or_by_no_model(
    monkeypatch: pytest.MonkeyPatch, document: dict[str, Any], loaded: Mock, detection: str, hosted: dict[str, str]
) -> None:
    """Whatever the library's own choice would be in LiveKit's cloud, or where its variables are set."""
    for name, value in hosted.items():
        monkeypatch.setenv(name, value)
    document["turnHandling"]["detection"] = detection
    detector = build_turn_detector(configuration.parse(json.dumps(document)))
    assert (detector is not None, loaded.called) == (detection == "semantic",) * 2
    if detector:
        assert (detector.model, detector._cloud_opts) == ("turn-detector-v1-mini", None)


@pytest.mark.parametrize("plugged", [True, False])
@pytest.mark.parametrize("detection", ["semantic", "vad"])
def test_the_turn_model_is_loaded_before_processes_fork(
    monkeypatch: pytest.MonkeyPatch, document: dict[str, Any], loaded: Mock, detection: str, plugged: bool
) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    build.cache_clear()
    document["turnHandling"]["detection"] = detection
    if plugged:
        document["llm"] = {"provider": "plugin", "plugin": {"package": "nowhere"}}
    preload(configuration.parse(json.dumps(document)))
    assert loaded.called is (detection == "semantic")


def test_a_realtime_model_knows_whose_turn_it_is(document: dict[str, Any], loaded: Mock) -> None:
    document["turnHandling"]["detection"] = "semantic"
    assert build_turn_detector(configuration.parse(json.dumps({**document, "realtime": {}}))) is None
    assert not loaded.called


LOCAL = {
    "stt": {"provider": "openai", "model": "whisper", "language": "de-DE", "baseUrl": "ws://speaches/v1"},
    "tts": {"provider": "openai", "model": "kokoro", "voice": "af_heart", "baseUrl": "http://kokoro/v1/"},
}


def test_a_platform_without_a_cloud(monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> None:
    for variable in (*KEYS, "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    document["llm"]["baseUrl"] = "http://ollama/v1"
    plugins = build(configuration.parse(json.dumps({**document, **LOCAL})))
    assert isinstance(plugins.stt, openai.STT)
    assert isinstance(plugins.tts, openai.TTS)
    assert (plugins.stt.model, plugins.tts.model, plugins.tts._opts.voice) == ("whisper", "kokoro", "af_heart")
    assert (plugins.stt.provider, plugins.llm.provider, plugins.tts.provider) == ("speaches", "ollama", "kokoro")
    assert (plugins.stt._opts.languages, plugins.tts._opts.response_format) == (["de-DE"], "pcm")
    assert plugins.stt._client.api_key == plugins.tts._client.api_key == "none"
    assert plugins.stt._client.base_url.scheme == "http"
    assert plugins.by_place == {"stt": plugins.stt, "llm": plugins.llm, "tts": plugins.tts}


def test_a_realtime_model_is_all_of_them(monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> None:
    monkeypatch.setenv("REALTIME_API_KEY", "the-key")
    document["realtime"] = {"model": "mini", "voice": "cedar", "endpointingMs": 300, "baseUrl": "https://x/openai/v1"}
    plugins = build(configuration.parse(json.dumps(document)))
    assert (plugins.vad, plugins.stt, plugins.tts, plugins.by_place) == (None, None, None, {})
    model = plugins.llm
    assert isinstance(model, openai.realtime.RealtimeModel)
    options = model._opts
    assert (options.model, options.voice, options.api_key) == ("mini", "cedar", "the-key")
    assert options.base_url == "https://x/openai/v1/realtime"
    assert options.turn_detection.silence_duration_ms == 300  # type: ignore[union-attr]


def test_a_language_may_be_found_out(document: dict[str, Any]) -> None:
    document["stt"] = {**LOCAL["stt"], "language": "multi"}
    stt = build_stt("stt", configuration.parse(json.dumps(document)).stt)
    assert isinstance(stt, openai.STT)
    assert (stt._opts.languages, stt._opts.detect_language) == ([], True)
    document["stt"] = {"language": "multi"}
    streaming = build_stt("stt", configuration.parse(json.dumps(document)).stt)
    assert isinstance(streaming, deepgram.STT)
    assert (streaming._opts.language, streaming._opts.detect_language) == ("multi", False)


# By their English names, as docs/pools.md has them.
JUDGED = {
    "ar": "Arabic",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pt": "Portuguese",
    "tr": "Turkish",
    "zh": "Chinese",
}


async def test_the_languages_of_the_turn_model_are_those_of_the_docs(document: dict[str, Any], loaded: Mock) -> None:
    document["turnHandling"]["detection"] = "semantic"
    detector = build_turn_detector(configuration.parse(json.dumps(document)))
    assert detector
    assert loaded.called
    page = (Path(__file__).parents[3] / "docs/pools.md").read_text().partition("### Pauses and ends of turns")[2]
    assert LOCAL_LANGUAGES.keys() == JUDGED.keys()
    assert [name for name in JUDGED.values() if name not in page.partition("###")[0]] == []
    english = await detector.unlikely_threshold(LanguageCode("en-US"))
    assert await detector.unlikely_threshold(LanguageCode("de-AT")) == LOCAL_LANGUAGES["de"] != english
    for other in (LanguageCode("fi"), LanguageCode(""), LanguageCode("multi"), None):
        assert await detector.supports_language(other)
        assert await detector.unlikely_threshold(other) == english


def test_fallbacks_are_asked_in_their_order_and_each_with_its_own_key(
    monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]
) -> None:
    for name, key in {**KEYS, "TTS_FALLBACKS_0_API_KEY": "key-of-the-fallback"}.items():
        monkeypatch.setenv(name, key)
    document["stt"]["fallbacks"] = [LOCAL["stt"]]
    document["llm"]["fallbacks"] = [{"provider": "openai", "model": "gpt-4o"}]
    document["tts"]["fallbacks"] = [LOCAL["tts"], {"provider": "deepgram", "sampleRate": 48000}]
    plugins = build(configuration.parse(json.dumps(document)))
    for adapter, role in ((plugins.stt, "stt"), (plugins.llm, "llm"), (plugins.tts, "tts")):
        asked = {place: plugin for place, plugin in plugins.by_place.items() if place.startswith(role)}
        assert list(asked)[:2] == [role, f"{role}.fallbacks[0]"]
        assert isinstance(adapter, (agents.stt.FallbackAdapter, agents.llm.FallbackAdapter, agents.tts.FallbackAdapter))
        assert adapter._next_instance() is asked[role]
    assert plugins.stt is not None
    assert plugins.tts is not None
    assert plugins.stt.capabilities.streaming
    assert isinstance(plugins.by_place["stt"], deepgram.STT)
    assert isinstance(plugins.by_place["stt.fallbacks[0]"], openai.STT)
    assert plugins.tts.sample_rate == 48000
    fallback = plugins.by_place["tts.fallbacks[0]"]
    assert isinstance(fallback, openai.TTS)
    assert fallback._client.api_key == "key-of-the-fallback"


def test_voice_activity_ends_the_turns_that_whole_utterances_cannot(document: dict[str, Any]) -> None:
    assert hears_turns(configuration.parse(json.dumps(document)))
    document["stt"] = LOCAL["stt"]
    config = configuration.parse(json.dumps(document))
    assert not hears_turns(config)
    assert vad_silence(config) == 0.55
