"""The services that a stock agent hears, thinks and speaks with, by the protocol that they speak."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import SecretKeyRef
from livekit_operator.api.pods import PodPart
from livekit_operator.constants import BASE_URL_PATTERN

BaseUrl = Annotated[str, Field(max_length=2048, pattern=BASE_URL_PATTERN)]
Model = Annotated[str, Field(min_length=1, max_length=128)]
Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_MOST_FALLBACKS = 3
_MOST_SECRET_OPTIONS = 8

_KEY = rule(
    "has(self.apiKeySecretRef) || self.provider == 'plugin' || (self.provider == 'openai' && has(self.baseUrl))",
    "apiKeySecretRef is required: only an endpoint of your own, provider openai with baseUrl, may need no key",
    ".apiKeySecretRef",
)
_PLUGIN = (
    rule("self.provider != 'plugin' || has(self.plugin)", "provider plugin needs plugin: say which", ".plugin"),
    rule("self.provider == 'plugin' || !has(self.plugin)", "plugin is for provider plugin", ".plugin"),
    *(
        rule(
            f"self.provider != 'plugin' || !has(self.{field})",
            f"a plugin has its own options: say it in plugin.options, and leave {field} out (null removes it)",
            f".{field}",
        )
        for field in ("model", "baseUrl")
    ),
)
_MODEL = rule(
    "self.provider != 'openai' || !has(self.baseUrl) || has(self.model)",
    "model is required beside baseUrl: name one that the endpoint has",
    ".model",
)


def _not_deepgrams(model: str) -> dict[str, str]:
    """Return the rule against a model that an earlier operator's default left in the resource."""
    return rule(
        f"self.provider != 'openai' || !has(self.model) || self.model != '{model}'",
        f"{model} is Deepgram's: name a model of provider openai",
        ".model",
    )


def _said(*rules: dict[str, str]) -> ConfigDict:
    return ConfigDict(json_schema_extra=schema_extra(_KEY, *_PLUGIN, *rules))


class SecretOption(ApiModel):
    """An argument of a plugin that is in a Secret."""

    name: Identifier = Field(description="Name of the argument, such as `api_secret`.")
    secret_key_ref: SecretKeyRef = Field(description="Where its value is.")


class Plugin(ApiModel):
    """A class of livekit-agents' plugins, or of your own, that the agent's image has."""

    package: Annotated[
        str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
    ] = Field(description="Package that is imported, such as `livekit.plugins.elevenlabs`.")
    class_name: Identifier | None = Field(
        default=None,
        alias="class",
        description="Class in it; `STT`, `LLM`, `TTS` or `RealtimeModel`, as the role is, when left out.",
    )
    options: PodPart | None = Field(
        default=None,
        description="Arguments that the class is made with, by the names that its documentation has. No secrets: "
        "whoever may read the pool may read them.",
    )
    secret_options: list[SecretOption] | None = Field(
        default=None,
        description="Arguments that are in Secrets; `apiKeySecretRef` is the one of the name `api_key`.",
        min_length=1,
        max_length=_MOST_SECRET_OPTIONS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )


class Provider(ApiModel):
    """A service that the agent speaks to."""

    # What a provider's model is when none is named. The schema has no default: the API server would write one
    # provider's model beside another's name.
    default_models: ClassVar[Mapping[str, str]] = {}

    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Where the provider's API key is. An endpoint of your own that asks for none may do without.",
    )
    base_url: BaseUrl | None = Field(
        default=None, description="Root of a compatible endpoint, ending in `/v1`; the provider's own when left out."
    )
    provider: str = Field(description="Whose protocol is spoken.")
    plugin: Plugin | None = Field(
        default=None, description="What provider `plugin` is. The stock image has the plugins of Deepgram and OpenAI."
    )

    @model_validator(mode="after")
    def _with_its_model(self) -> Self:
        # Written past the setters: it counts as left out.
        if (model := self.default_models.get(self.provider)) and vars(self).get("model") is None:
            vars(self)["model"] = model
        return self


class SpeechToTextProvider(Provider):
    """One service that hears."""

    default_models: ClassVar[Mapping[str, str]] = {"deepgram": "nova-3", "openai": "gpt-4o-mini-transcribe"}
    model_config = _said(_MODEL, _not_deepgrams("nova-3"))

    provider: Literal["deepgram", "openai", "plugin"] = Field(
        default="deepgram",
        description="Whose protocol is spoken. `openai` gets whole utterances (`/audio/transcriptions`), which "
        "whisper, speaches, vLLM and others offer too; voice activity says where they end. `plugin` is "
        "any plugin of livekit-agents.",
    )
    model: Model | None = Field(
        default=None,
        description="Model of the provider; `nova-3` of Deepgram and `gpt-4o-mini-transcribe` of OpenAI when left out.",
    )
    language: str = Field(
        default="en-US",
        description="Language as a BCP 47 tag; `multi` has the model find it out.",
        min_length=2,
        max_length=35,
    )
    endpointing_ms: int | None = Field(
        default=None,
        description="Silence in milliseconds after which Deepgram calls an utterance complete; by `preset` when left "
        "out.",
        ge=10,
        le=10000,
    )


class LanguageModelProvider(Provider):
    """One service that thinks."""

    default_models: ClassVar[Mapping[str, str]] = {"openai": "gpt-4o-mini"}
    model_config = _said()

    provider: Literal["openai", "plugin"] = Field(
        default="openai",
        description="Whose protocol is spoken; Ollama, vLLM and others speak `openai` too. `plugin` is any plugin of "
        "livekit-agents.",
    )
    model: Model | None = Field(
        default=None, description="Model of the provider; `gpt-4o-mini` of OpenAI when left out."
    )
    temperature: float | None = Field(
        default=None, description="Sampling temperature; the provider's own when left out.", ge=0, le=2
    )


class TextToSpeechProvider(Provider):
    """One service that speaks."""

    default_models: ClassVar[Mapping[str, str]] = {"deepgram": "aura-2-andromeda-en", "openai": "gpt-4o-mini-tts"}
    model_config = _said(
        _MODEL,
        _not_deepgrams("aura-2-andromeda-en"),
        rule(
            "self.provider == 'openai' || !has(self.voice)",
            "voice is for provider openai: Deepgram's voice is its model, a plugin's an option",
            ".voice",
        ),
        rule(
            "self.provider != 'openai' || !has(self.baseUrl) || has(self.voice)",
            "voice is required beside baseUrl: name one that the endpoint has",
            ".voice",
        ),
        rule(
            "self.provider != 'openai' || self.sampleRate == 24000",
            "provider openai speaks 24000 samples a second: leave sampleRate out",
            ".sampleRate",
        ),
    )

    provider: Literal["deepgram", "openai", "plugin"] = Field(
        default="deepgram",
        description="Whose protocol is spoken. `openai` (`/audio/speech`) is what kokoro, speaches and others offer "
        "too; it is asked sentence by sentence. `plugin` is any plugin of livekit-agents.",
    )
    model: Model | None = Field(
        default=None,
        description="Model of the provider; with Deepgram its voice. `aura-2-andromeda-en` of Deepgram and "
        "`gpt-4o-mini-tts` of OpenAI when left out.",
    )
    sample_rate: Literal[8000, 16000, 24000, 48000] = Field(default=24000, description="Samples a second (Hz).")
    voice: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Voice of provider `openai`; `ash` when left out."
    )
    response_format: Literal["pcm", "wav", "mp3", "flac", "opus", "aac"] | None = Field(
        default=None,
        description="What provider `openai` sends; `pcm` when left out, which needs no decoding and must have 24000 "
        "samples a second. The others say their own rate.",
    )


def _fallbacks(verb: str) -> Any:
    return Field(
        default=None,
        description=f"Providers that {verb} while those before them fail, in this order. One that has failed is tried "
        "again in the background.",
        min_length=1,
        max_length=_MOST_FALLBACKS,
    )


class SpeechToText(SpeechToTextProvider):
    """How the agent hears."""

    fallbacks: list[SpeechToTextProvider] | None = _fallbacks("hear")


class LanguageModel(LanguageModelProvider):
    """How the agent thinks."""

    fallbacks: list[LanguageModelProvider] | None = _fallbacks("think")


class TextToSpeech(TextToSpeechProvider):
    """How the agent speaks."""

    fallbacks: list[TextToSpeechProvider] | None = _fallbacks("speak")


class Realtime(Provider):
    """One model that hears, thinks and speaks."""

    default_models: ClassVar[Mapping[str, str]] = {"openai": "gpt-realtime"}
    model_config = _said(
        _MODEL,
        rule(
            "self.provider == 'openai' || !has(self.voice)",
            "a plugin has its own options: say the voice in plugin.options",
            ".voice",
        ),
    )

    provider: Literal["openai", "plugin"] = Field(
        default="openai",
        description="Whose protocol is spoken, over a WebSocket (`/realtime`). `plugin` is any plugin of "
        "livekit-agents.",
    )
    model: Model | None = Field(
        default=None, description="Model of the provider; `gpt-realtime` of OpenAI when left out."
    )
    voice: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Voice of provider `openai`; `marin` when left out."
    )
    endpointing_ms: int | None = Field(
        default=None,
        description="Silence in milliseconds after which provider `openai` answers; by `preset` when left out.",
        ge=10,
        le=10000,
    )


def each(role: str, first: Provider | None) -> Iterator[tuple[str, Provider]]:
    """Yield the providers of a role with their places below `spec.agent`: `stt`, `stt.fallbacks[0]`, …"""
    if first is None:
        return
    yield role, first
    for index, fallback in enumerate(getattr(first, "fallbacks", None) or ()):
        yield f"{role}.fallbacks[{index}]", fallback


def _prefix(place: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", place).strip("_").upper()


def key_variable(place: str) -> str:
    """Return the variable of the agent that holds the key of the provider at a place: `STT_FALLBACKS_0_API_KEY`."""
    return f"{_prefix(place)}_API_KEY"


def option_variable(place: str, index: int) -> str:
    """Return the variable that holds a secret option of the plugin at a place: `TTS_OPTION_0`."""
    return f"{_prefix(place)}_OPTION_{index}"


def secrets_of(place: str, provider: Provider) -> Iterator[tuple[str, str, SecretKeyRef]]:
    """Yield field below `spec.agent`, variable of the agent and Secret key of each secret of a provider."""
    if provider.api_key_secret_ref:
        yield f"{place}.apiKeySecretRef", key_variable(place), provider.api_key_secret_ref
    options = (provider.plugin and provider.plugin.secret_options) or ()
    for index, option in enumerate(options):
        field = f"{place}.plugin.secretOptions[{index}].secretKeyRef"
        yield field, option_variable(place, index), option.secret_key_ref


# Every variable that `secrets_of` may name, as a pattern of CEL and of Python.
SECRET_VARIABLE_PATTERN = (
    f"^(STT|LLM|TTS|REALTIME)(_FALLBACKS_[0-{_MOST_FALLBACKS - 1}])?_(API_KEY|OPTION_[0-{_MOST_SECRET_OPTIONS - 1}])$"
)
