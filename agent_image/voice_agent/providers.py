"""Which LiveKit plugin each configured provider means."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any, TypeAlias

from livekit import agents
from livekit.agents import NOT_GIVEN
from livekit.plugins import deepgram, openai, silero

from .config import KEY_VARIABLES, AgentConfig, LlmConfig, SttConfig, TtsConfig
from .endpoints import deepgram_url, openai_url

# generic over the events of a particular provider, which nothing here looks at
SttPlugin: TypeAlias = agents.stt.STT[Any]
LlmPlugin: TypeAlias = agents.llm.LLM[Any]
TtsPlugin: TypeAlias = agents.tts.TTS[Any]

VAD_SILENCE = 0.55  # the plugin's own default, in seconds


def vad_silence(config: AgentConfig) -> float:
    """Seconds of silence after which speech is over for the voice activity detector.

    Unless it is configured, it is shorter than the provider's endpointing, where that ends the turns: a detector still
    hearing speech when the turn ends would be reset in the middle of it.
    """
    if config.vad.min_silence_duration_ms is not None:
        return config.vad.min_silence_duration_ms / 1000
    if config.turn_handling.detection != "stt":
        return VAD_SILENCE
    return min(VAD_SILENCE, max(config.stt.endpointing_ms / 1000 - 0.1, 0.2))


@dataclass(frozen=True)
class Plugins:
    """Everything a session needs, constructed before the first call."""

    vad: agents.vad.VAD
    stt: SttPlugin
    llm: LlmPlugin
    tts: TtsPlugin


def build_stt(config: SttConfig, api_key: str) -> SttPlugin:
    """The speech-to-text plugin."""
    return deepgram.STT(
        model=config.model,
        language=config.language,
        interim_results=config.interim_results,
        endpointing_ms=config.endpointing_ms,
        base_url=deepgram_url(config.base_url, "listen"),
        api_key=api_key,
    )


def build_llm(config: LlmConfig, api_key: str) -> LlmPlugin:
    """The language model plugin."""
    return openai.LLM(
        model=config.model,
        temperature=NOT_GIVEN if config.temperature is None else config.temperature,
        base_url=openai_url(config.base_url),
        api_key=api_key,
    )


def build_tts(config: TtsConfig, api_key: str) -> TtsPlugin:
    """The text-to-speech plugin."""
    return deepgram.TTS(
        model=config.model,
        sample_rate=config.sample_rate,
        base_url=deepgram_url(config.base_url, "speak"),
        api_key=api_key,
    )


def build_vad(config: AgentConfig) -> agents.vad.VAD:
    """The voice activity detector; its model ships inside the plugin's package."""
    return silero.VAD.load(
        min_speech_duration=config.vad.min_speech_duration_ms / 1000,
        min_silence_duration=vad_silence(config),
        activation_threshold=config.vad.activation_threshold,
    )


@functools.cache
def build(config: AgentConfig) -> Plugins:
    """All of them, once per process: built in the fork server, every job process finds them here."""
    return Plugins(
        vad=build_vad(config),
        stt=build_stt(config.stt, os.environ[KEY_VARIABLES["stt"]]),
        llm=build_llm(config.llm, os.environ[KEY_VARIABLES["llm"]]),
        tts=build_tts(config.tts, os.environ[KEY_VARIABLES["tts"]]),
    )
