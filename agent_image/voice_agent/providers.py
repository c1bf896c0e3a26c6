"""Which LiveKit plugin each configured provider means."""

from __future__ import annotations

from dataclasses import dataclass

from livekit import agents
from livekit.agents import NOT_GIVEN
from livekit.plugins import deepgram, openai, silero

from .config import LlmConfig, SttConfig, TtsConfig
from .endpoints import deepgram_url, openai_url

@dataclass(frozen=True)
class Plugins:
    """Everything a session needs, constructed before the first call."""

    vad: agents.vad.VAD
    stt: agents.stt.STT
    llm: agents.llm.LLM
    tts: agents.tts.TTS


def build_stt(config: SttConfig, api_key: str) -> agents.stt.STT:
    """The speech-to-text plugin."""
    return deepgram.STT(
        model=config.model,
        language=config.language,
        interim_results=config.interim_results,
        endpointing_ms=config.endpointing_ms,
        base_url=deepgram_url(config.base_url, "listen"),
        api_key=api_key,
    )


def build_llm(config: LlmConfig, api_key: str) -> agents.llm.LLM:
    """The language model plugin."""
    return openai.LLM(
        model=config.model,
        temperature=NOT_GIVEN if config.temperature is None else config.temperature,
        base_url=openai_url(config.base_url),
        api_key=api_key,
    )


def build_tts(config: TtsConfig, api_key: str) -> agents.tts.TTS:
    """The text-to-speech plugin."""
    return deepgram.TTS(
        model=config.model,
        sample_rate=config.sample_rate,
        base_url=deepgram_url(config.base_url, "speak"),
        api_key=api_key,
    )


def build_vad() -> agents.vad.VAD:
    """The voice activity detector; its model ships inside the plugin's package."""
    return silero.VAD.load()
