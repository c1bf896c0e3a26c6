"""What the agent is told: one JSON file for behaviour, environment variables for keys.

The file is written by whoever runs the pod (the operator mounts a ConfigMap); it never carries a key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

DEFAULT_PATH = Path("/etc/voice-agent/config.json")
PATH_VARIABLE = "AGENT_CONFIG"
# Of the file as the pod's maker wrote it; without it any file will do.
DIGEST_VARIABLE = "AGENT_CONFIG_SHA256"
KEY_VARIABLES = {"stt": "STT_API_KEY", "llm": "LLM_API_KEY", "tts": "TTS_API_KEY"}
REQUIRED_VARIABLES = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", *KEY_VARIABLES.values())

Role = Literal["stt", "llm", "tts"]


class ConfigError(Exception):
    """The configuration cannot be used; the message says what to change and holds no secret."""


def _provider_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "ws", "wss"} or not parts.hostname:
        raise ValueError("must be an http, https, ws or wss URL with a host")
    if parts.query or parts.fragment:
        raise ValueError("must have neither a query nor a fragment")
    if parts.username or parts.password:
        raise ValueError("must not carry credentials")
    return url.rstrip("/")


ProviderUrl = Annotated[str, AfterValidator(_provider_url)]
Milliseconds = Annotated[int, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, validate_by_alias=True, extra="forbid", frozen=True
    )


class SttConfig(_Section):
    """Speech to text."""

    provider: Literal["deepgram"] = "deepgram"
    model: str = Field("nova-3", min_length=1)
    language: str = Field("en-US", min_length=1)
    endpointing_ms: Milliseconds = 500
    interim_results: bool = True
    base_url: ProviderUrl | None = None


class LlmConfig(_Section):
    """The language model."""

    provider: Literal["openai"] = "openai"
    model: str = Field("gpt-4o-mini", min_length=1)
    temperature: float | None = Field(None, ge=0, le=2)
    base_url: ProviderUrl | None = None


class TtsConfig(_Section):
    """Text to speech."""

    provider: Literal["deepgram"] = "deepgram"
    model: str = Field("aura-2-andromeda-en", min_length=1)
    sample_rate: int = Field(24000, ge=8000, le=48000)
    base_url: ProviderUrl | None = None


class VadConfig(_Section):
    """Voice activity detection."""

    min_speech_duration_ms: Milliseconds = 50
    min_silence_duration_ms: Milliseconds | None = None
    activation_threshold: float = Field(0.5, gt=0, lt=1)


class TurnHandlingConfig(_Section):
    """Who speaks when."""

    detection: Literal["stt", "vad"] = "stt"
    min_endpointing_delay_ms: Milliseconds = 500
    max_endpointing_delay_ms: Milliseconds = 3000
    preemptive_generation: bool = True
    allow_interruptions: bool = True
    min_interruption_ms: Milliseconds = 300
    false_interruption_timeout_ms: Milliseconds = 4000
    aligned_transcript: bool = True

    @model_validator(mode="after")
    def _delays_are_ordered(self) -> TurnHandlingConfig:
        if self.max_endpointing_delay_ms < self.min_endpointing_delay_ms:
            raise ValueError("maxEndpointingDelayMs must not be below minEndpointingDelayMs")
        return self


class AgentConfig(_Section):
    """The whole file."""

    # A name is required: an empty one makes LiveKit send the agent into every room (automatic dispatch).
    agent_name: str = Field(min_length=1)
    sessions_per_pod: int = Field(4, ge=1)
    idle_processes: int = Field(3, ge=0)
    drain_timeout_seconds: int = Field(3600, ge=1)
    metrics_port: int | None = Field(None, ge=1, le=65535)
    instructions: str = Field(min_length=1)
    greeting: str | None = None
    stt: SttConfig = SttConfig()
    llm: LlmConfig = LlmConfig()
    tts: TtsConfig = TtsConfig()
    vad: VadConfig = VadConfig()
    turn_handling: TurnHandlingConfig = TurnHandlingConfig()
    audio_only: bool = True


def parse(text: str | bytes) -> AgentConfig:
    """The configuration in `text`, or a ConfigError naming every field that is wrong."""
    try:
        return AgentConfig.model_validate_json(text)
    except ValidationError as error:
        problems = (
            f"{'.'.join(str(part) for part in problem['loc']) or 'the document'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigError("; ".join(problems)) from None


def load(environ: Mapping[str, str] = os.environ) -> AgentConfig:
    """The configuration of this pod; checks on the way that every required variable is set."""
    if missing := [name for name in REQUIRED_VARIABLES if not environ.get(name)]:
        raise ConfigError(f"environment variables not set: {', '.join(missing)}")
    path = Path(environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if (digest := environ.get(DIGEST_VARIABLE)) and sha256(text).hexdigest() != digest:
        raise ConfigError(f"{path} was changed since this pod was made: delete the ConfigMap that it comes from")
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
