"""Which LiveKit plugin each configured provider means."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from livekit import agents, local_inference
from livekit.agents import NOT_GIVEN
from livekit.agents.inference import TurnDetector
from livekit.plugins import deepgram, openai, silero
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

from . import plugins
from .config import (
    NO_KEY,
    AgentConfig,
    LlmProvider,
    ProviderConfig,
    RealtimeConfig,
    SttProvider,
    TtsProvider,
    key_variable,
)
from .endpoints import deepgram_url, openai_url, realtime_url

# generic over the events of a particular provider, which nothing here looks at
SttPlugin: TypeAlias = agents.stt.STT[Any]
LlmPlugin: TypeAlias = agents.llm.LLM[Any]
TtsPlugin: TypeAlias = agents.tts.TTS[Any]

Part = TypeVar("Part", bound=ProviderConfig)
Plugin = TypeVar("Plugin")

DETECT = "multi"  # the language that is none
ATTEMPT_TIMEOUT = 5.0  # seconds after which the next provider is asked
VAD_SILENCE = 0.55  # the plugin's own default, in seconds


def hears_turns(config: AgentConfig) -> bool:
    """Whether the speech-to-text says itself when a turn is over; one that gets whole utterances cannot."""
    return config.turn_handling.detection == "stt" and config.stt.provider == "deepgram"


def vad_silence(config: AgentConfig) -> float:
    """Seconds of silence after which speech is over for the voice activity detector.

    Unless it is configured, it is shorter than the provider's endpointing, where that ends the turns: a detector still
    hearing speech when the turn ends would be reset in the middle of it.
    """
    if config.vad.min_silence_duration_ms is not None:
        return config.vad.min_silence_duration_ms / 1000
    if not hears_turns(config):
        return VAD_SILENCE
    return min(VAD_SILENCE, max(config.stt.endpointing_ms / 1000 - 0.1, 0.2))


@dataclass(frozen=True)
class Plugins:
    """Everything a session needs, constructed before the first call.

    `by_place` has each provider's own plugin: where there are fallbacks, the role's plugin is an adapter of several.
    """

    vad: agents.vad.VAD | None
    stt: SttPlugin | None
    llm: LlmPlugin | agents.llm.RealtimeModel
    tts: TtsPlugin | None
    by_place: Mapping[str, SttPlugin | LlmPlugin | TtsPlugin]
    turn_detector: TurnDetector | None = None


def build_stt(place: str, config: SttProvider) -> SttPlugin:
    """The speech-to-text plugin of one provider."""
    if config.plugin:
        stt: SttPlugin = plugins.make(config.plugin, place, agents.stt.STT)
        return stt
    if config.provider == "deepgram":
        return deepgram.STT(
            model=config.model,
            language=config.language,
            interim_results=config.interim_results,
            endpointing_ms=config.endpointing_ms,
            base_url=deepgram_url(config.base_url, "listen"),
            api_key=key_of(place),
        )
    return openai.STT(
        model=config.model,
        detect_language=config.language == DETECT,
        language=config.language,
        base_url=openai_url(config.base_url),
        api_key=key_of(place),
    )


def build_llm(place: str, config: LlmProvider) -> LlmPlugin:
    """The language model plugin of one provider."""
    if config.plugin:
        llm: LlmPlugin = plugins.make(config.plugin, place, agents.llm.LLM)
        return llm
    return openai.LLM(
        model=config.model,
        temperature=NOT_GIVEN if config.temperature is None else config.temperature,
        base_url=openai_url(config.base_url),
        api_key=key_of(place),
    )


def build_tts(place: str, config: TtsProvider) -> TtsPlugin:
    """The text-to-speech plugin of one provider."""
    if config.plugin:
        tts: TtsPlugin = plugins.make(config.plugin, place, agents.tts.TTS)
        return tts
    if config.provider == "deepgram":
        return deepgram.TTS(
            model=config.model,
            sample_rate=config.sample_rate,
            base_url=deepgram_url(config.base_url, "speak"),
            api_key=key_of(place),
        )
    return openai.TTS(
        model=config.model,
        voice=config.voice,
        response_format=config.response_format,
        base_url=openai_url(config.base_url),
        api_key=key_of(place),
    )


def build_realtime(config: RealtimeConfig) -> agents.llm.RealtimeModel:
    """The plugin of a realtime model."""
    if config.plugin:
        model: agents.llm.RealtimeModel = plugins.make(config.plugin, "realtime", agents.llm.RealtimeModel)
        return model
    return openai.realtime.RealtimeModel(
        model=config.model,
        voice=config.voice,
        turn_detection=ServerVad(
            type="server_vad",
            threshold=0.5,
            prefix_padding_ms=300,
            silence_duration_ms=config.endpointing_ms,
            create_response=True,
            interrupt_response=True,
        ),
        base_url=realtime_url(config.base_url),
        api_key=key_of("realtime"),
    )


def build_vad(config: AgentConfig) -> agents.vad.VAD:
    """The voice activity detector; its model ships inside the plugin's package."""
    return silero.VAD.load(
        min_speech_duration=config.vad.min_speech_duration_ms / 1000,
        min_silence_duration=vad_silence(config),
        activation_threshold=config.vad.activation_threshold,
    )


def build_turn_detector(config: AgentConfig) -> TurnDetector | None:
    """The model that tells ends of turns from pauses, loaded; it is inside livekit-local-inference.

    Named by its version it never asks LiveKit's cloud: no transport of that is made (inference/eot/detector.py).
    """
    if not config.semantic:
        return None
    local_inference.init_eot()
    return TurnDetector(version="v1-mini")


def key_of(place: str) -> str:
    """The key of the provider at a place; one that wants none is sent a word that is no key."""
    return os.environ.get(key_variable(place)) or NO_KEY


def preload(config: AgentConfig) -> None:
    """Make in the fork server what may be forked: of plugins that nobody here knows only their packages are read.

    They may start threads, which no child would have.
    """
    if named := [provider.plugin for provider in config.providers.values() if provider.plugin]:
        build_turn_detector(config)  # its weights are shared by all children that are forked after this
        for plugin in named:
            with contextlib.suppress(Exception):  # the job processes tell what is wrong
                importlib.import_module(plugin.package)
    else:
        build(config)


@functools.cache
def build(config: AgentConfig) -> Plugins:
    """All of them, once per process: built in the fork server, every job process finds them here."""
    if config.realtime:
        model = build_realtime(config.realtime)
        # One that does not say whose turn it is has the detector do it.
        vad_beside = None if model.capabilities.turn_detection else build_vad(config)
        return Plugins(vad=vad_beside, stt=None, llm=model, tts=None, by_place={})
    vad = build_vad(config)
    stts = {place: build_stt(place, part) for place, part in _parts(config, "stt", SttProvider)}
    llms = {place: build_llm(place, part) for place, part in _parts(config, "llm", LlmProvider)}
    ttss = {place: build_tts(place, part) for place, part in _parts(config, "tts", TtsProvider)}
    return Plugins(
        vad=vad,
        stt=_first_of(stts)
        or agents.stt.FallbackAdapter(
            list(stts.values()), vad=vad, attempt_timeout=ATTEMPT_TIMEOUT, max_retry_per_stt=0
        ),
        llm=_first_of(llms) or agents.llm.FallbackAdapter(list(llms.values()), attempt_timeout=ATTEMPT_TIMEOUT),
        tts=_first_of(ttss) or agents.tts.FallbackAdapter(list(ttss.values()), max_retry_per_tts=0),
        by_place={**stts, **llms, **ttss},
        turn_detector=build_turn_detector(config),
    )


def _parts(config: AgentConfig, role: str, kind: type[Part]) -> Iterator[tuple[str, Part]]:
    for place, part in config.places(role).items():
        assert isinstance(part, kind)
        yield place, part


def _first_of(plugins: Mapping[str, Plugin]) -> Plugin | None:
    """The only one there is."""
    return next(iter(plugins.values())) if len(plugins) == 1 else None
