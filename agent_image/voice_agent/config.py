"""What the agent is told: one JSON file for behaviour, environment variables for keys.

The file is written by whoever runs the pod (the operator mounts a ConfigMap); it never carries a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from .sections import Section, as_text
from .templates import problem_of
from .tool_config import HEADER_VARIABLE, ToolsConfig

DEFAULT_PATH = Path("/etc/voice-agent/config.json")
PATH_VARIABLE = "AGENT_CONFIG"
# Of the file as the pod's maker wrote it; without it any file will do.
DIGEST_VARIABLE = "AGENT_CONFIG_SHA256"
REQUIRED_VARIABLES = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
# A realtime model is all of the others.
ROLES = ("stt", "llm", "tts", "realtime")
CLASSES = {"stt": "STT", "llm": "LLM", "tts": "TTS", "realtime": "RealtimeModel"}
# What is sent as the key to an endpoint that wants none.
NO_KEY = "none"
# Every variable that `key_variable` and `option_variable` may name.
SECRET_VARIABLE = re.compile(r"(STT|LLM|TTS|REALTIME)(_FALLBACKS_[0-9])?_(API_KEY|OPTION_[0-9])")


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


class PluginConfig(Section):
    """A class that the image has, and what it is made with."""

    package: str = Field(min_length=1)
    class_name: str | None = Field(None, alias="class", min_length=1)
    # As text, because all of a configuration is one key of a cache.
    options: Annotated[str, BeforeValidator(as_text)] = "{}"
    secret_options: tuple[str, ...] = ()


class ProviderConfig(Section):
    """What any provider has."""

    provider: str
    base_url: ProviderUrl | None = None
    plugin: PluginConfig | None = None

    @model_validator(mode="after")
    def _plugin_is_said(self) -> ProviderConfig:
        if (self.provider == "plugin") != (self.plugin is not None):
            raise ValueError("provider plugin and plugin belong together")
        return self

    @property
    def name(self) -> str:
        """What the provider is called: a plugin by its package's last part."""
        return self.plugin.package.rpartition(".")[2] if self.plugin else self.provider

    @property
    def needs_key(self) -> bool:
        """Whether it cannot be asked without a key; an endpoint of the user's own may want none."""
        return self.provider == "deepgram" or (self.provider == "openai" and self.base_url is None)


class SttProvider(ProviderConfig):
    """One that hears."""

    provider: Literal["deepgram", "openai", "plugin"] = "deepgram"
    model: str = Field("nova-3", min_length=1)
    language: str = Field("en-US", min_length=1)
    endpointing_ms: Milliseconds = 500
    interim_results: bool = True


class LlmProvider(ProviderConfig):
    """One that thinks."""

    provider: Literal["openai", "plugin"] = "openai"
    model: str = Field("gpt-4o-mini", min_length=1)
    temperature: float | None = Field(None, ge=0, le=2)


class TtsProvider(ProviderConfig):
    """One that speaks."""

    provider: Literal["deepgram", "openai", "plugin"] = "deepgram"
    model: str = Field("aura-2-andromeda-en", min_length=1)
    sample_rate: int = Field(24000, ge=8000, le=48000)
    voice: str = Field("ash", min_length=1)
    response_format: Literal["pcm", "wav", "mp3", "flac", "opus", "aac"] = "pcm"


class SttConfig(SttProvider):
    """Speech to text."""

    fallbacks: tuple[SttProvider, ...] = ()


class LlmConfig(LlmProvider):
    """The language model."""

    fallbacks: tuple[LlmProvider, ...] = ()


class TtsConfig(TtsProvider):
    """Text to speech."""

    fallbacks: tuple[TtsProvider, ...] = ()


class RealtimeConfig(ProviderConfig):
    """One model that hears, thinks and speaks."""

    provider: Literal["openai", "plugin"] = "openai"
    model: str = Field("gpt-realtime", min_length=1)
    voice: str = Field("marin", min_length=1)
    endpointing_ms: Milliseconds = 500


class VadConfig(Section):
    """Voice activity detection."""

    min_speech_duration_ms: Milliseconds = 50
    min_silence_duration_ms: Milliseconds | None = None
    activation_threshold: float = Field(0.5, gt=0, lt=1)


class TurnHandlingConfig(Section):
    """Who speaks when."""

    detection: Literal["stt", "vad", "semantic"] = "stt"
    min_endpointing_delay_ms: Milliseconds = 500
    max_endpointing_delay_ms: Milliseconds = 3000
    preemptive_generation: bool = True
    preemptive_speech: bool = False
    allow_interruptions: bool = True
    min_interruption_ms: Milliseconds = 300
    false_interruption_timeout_ms: Milliseconds = 4000
    aligned_transcript: bool = True

    @model_validator(mode="after")
    def _delays_are_ordered(self) -> TurnHandlingConfig:
        if self.max_endpointing_delay_ms < self.min_endpointing_delay_ms:
            raise ValueError("maxEndpointingDelayMs must not be below minEndpointingDelayMs")
        return self


class LimitsConfig(Section):
    """How long a call may last; words that are empty are not said."""

    max_call_seconds: int | None = Field(None, ge=1)
    max_call_words: str = ""
    warn_before_seconds: int | None = Field(None, ge=1)
    warn_words: str = ""
    max_silence_seconds: int | None = Field(None, ge=1)
    max_silence_words: str = ""


class HandoffConfig(Section):
    """One of several agents."""

    name: str = Field(min_length=1)
    description: str | None = None
    instructions: str = Field(min_length=1)
    greeting: str | None = None
    handoff_to: tuple[str, ...] = ()


class AgentConfig(Section):
    """The whole file."""

    # A name is required: an empty one makes LiveKit send the agent into every room (automatic dispatch).
    agent_name: str = Field(min_length=1)
    sessions_per_pod: int = Field(4, ge=1)
    idle_processes: int = Field(3, ge=0)
    drain_timeout_seconds: int = Field(3600, ge=1)
    metrics_port: int | None = Field(None, ge=1, le=65535)
    initialize_timeout_seconds: int = Field(20, ge=1)
    instructions: str = Field(min_length=1)
    greeting: str | None = None
    stt: SttConfig = SttConfig()
    llm: LlmConfig = LlmConfig()
    tts: TtsConfig = TtsConfig()
    realtime: RealtimeConfig | None = None
    vad: VadConfig = VadConfig()
    turn_handling: TurnHandlingConfig = TurnHandlingConfig()
    audio_only: bool = True
    noise_suppression: bool = False
    tools: ToolsConfig = ToolsConfig()
    # Where there are several, instructions and greeting are those of the first.
    agents: tuple[HandoffConfig, ...] = ()
    limits: LimitsConfig | None = None
    never_say: tuple[str, ...] = ()
    prompt_templates: bool = False

    @model_validator(mode="after")
    def _templates_can_be_rendered(self) -> AgentConfig:
        texts = [("instructions", self.instructions), ("greeting", self.greeting or "")]
        texts += [(f"instructions of {one.name}", one.instructions) for one in self.agents]
        texts += [(f"greeting of {one.name}", one.greeting or "") for one in self.agents]
        for name, text in texts:
            if self.prompt_templates and (problem := problem_of(text)):
                raise ValueError(f"{name}: {problem}")
        return self

    @model_validator(mode="after")
    def _agents_know_each_other(self) -> AgentConfig:
        known = {one.name for one in self.agents}
        if unknown := {name for one in self.agents for name in one.handoff_to} - known:
            raise ValueError(f"agents: {min(unknown)} of handoffTo is none of them")
        return self

    @property
    def semantic(self) -> bool:
        """Whether the model inside the image tells ends of turns from pauses; a realtime model knows by itself."""
        return self.turn_handling.detection == "semantic" and self.realtime is None

    def places(self, role: str) -> dict[str, ProviderConfig]:
        """The providers of a role by their places, in the order in which they are asked: `stt`, `stt.fallbacks[0]`."""
        if self.realtime:
            return {role: self.realtime} if role == "realtime" else {}
        if role == "realtime":
            return {}
        first: SttConfig | LlmConfig | TtsConfig = getattr(self, role)
        fallbacks = {f"{role}.fallbacks[{index}]": fallback for index, fallback in enumerate(first.fallbacks)}
        return {role: first, **fallbacks}

    @property
    def providers(self) -> dict[str, ProviderConfig]:
        """Every provider by its place."""
        return {place: provider for role in ROLES for place, provider in self.places(role).items()}


def _prefix(place: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", place).strip("_").upper()


def key_variable(place: str) -> str:
    """The variable that holds the key of the provider at a place: `STT_FALLBACKS_0_API_KEY`."""
    return f"{_prefix(place)}_API_KEY"


def option_variable(place: str, index: int) -> str:
    """The variable that holds a secret option of the plugin at a place: `TTS_OPTION_0`."""
    return f"{_prefix(place)}_OPTION_{index}"


def secrets_of(environ: Mapping[str, str]) -> Iterator[str]:
    """The names of the variables that hold secrets of ours."""
    known = (SECRET_VARIABLE, HEADER_VARIABLE)
    yield from (n for n in environ if n in REQUIRED_VARIABLES[1:] or any(variable.fullmatch(n) for variable in known))


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
    _require(REQUIRED_VARIABLES, environ)
    path = Path(environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if (digest := environ.get(DIGEST_VARIABLE)) and sha256(text).hexdigest() != digest:
        raise ConfigError(f"{path} was changed since this pod was made: delete the ConfigMap that it comes from")
    try:
        config = parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    _require([name for place, provider in config.providers.items() for name in _secrets(place, provider)], environ)
    _require([variable for variable, _ in config.tools.headers()], environ)
    return config


def _secrets(place: str, provider: ProviderConfig) -> Iterator[str]:
    """The variables without which a provider cannot be asked."""
    if provider.needs_key:
        yield key_variable(place)
    for index in range(len(provider.plugin.secret_options) if provider.plugin else 0):
        yield option_variable(place, index)


def _require(names: Iterable[str], environ: Mapping[str, str]) -> None:
    if missing := [name for name in names if not environ.get(name)]:
        raise ConfigError(f"environment variables not set: {', '.join(missing)}")
