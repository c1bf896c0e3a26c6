"""What a provider is when little is said of it, and where its key is."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.agent import AgentSpec
from livekit_operator.api.providers import (
    SECRET_VARIABLE_PATTERN,
    LanguageModel,
    Provider,
    Realtime,
    SpeechToText,
    TextToSpeech,
    each,
    key_variable,
    secrets_of,
)
from tests.fakes import manifests
from tests.unit.operator.api.free_values import DEEP, LARGE

KEY = {"apiKeySecretRef": {"name": "providers", "key": "it"}}


@pytest.mark.parametrize(
    ("kind", "said", "provider", "model"),
    [
        (SpeechToText, {}, "deepgram", "nova-3"),
        (SpeechToText, {"provider": "openai"}, "openai", "gpt-4o-mini-transcribe"),
        (SpeechToText, {"provider": "openai", "model": "whisper"}, "openai", "whisper"),
        (LanguageModel, {}, "openai", "gpt-4o-mini"),
        (TextToSpeech, {}, "deepgram", "aura-2-andromeda-en"),
        (TextToSpeech, {"provider": "openai"}, "openai", "gpt-4o-mini-tts"),
        (TextToSpeech, {"provider": "openai", "model": None}, "openai", "gpt-4o-mini-tts"),
        (TextToSpeech, {"provider": "plugin", "plugin": {"package": "x"}}, "plugin", None),
        (Realtime, {}, "openai", "gpt-realtime"),
    ],
)
def test_each_provider_has_a_model_of_its_own(
    kind: type[Provider], said: dict[str, Any], provider: str, model: str | None
) -> None:
    parsed = kind.model_validate({**KEY, **said})
    assert (getattr(parsed, "provider", None), getattr(parsed, "model", None)) == (provider, model)


@pytest.mark.parametrize(
    ("role", "said", "field"),
    [
        ("stt", {"provider": "magic"}, "provider"),
        ("llm", {"provider": "deepgram"}, "provider"),
        ("tts", {"responseFormat": "midi"}, "responseFormat"),
        ("stt", {"fallbacks": []}, "fallbacks"),
        ("stt", {"plugin": {"package": "os.system('x')"}}, "package"),
        ("stt", {"plugin": {"package": "x", "class": "a.b"}}, "class"),
        ("stt", {"plugin": {"package": "x", "options": DEEP}}, "options"),
        ("stt", {"plugin": {"package": "x", "options": LARGE}}, "options"),
        ("stt", {"plugin": {"package": "x", "secretOptions": []}}, "secretOptions"),
        ("realtime", {"provider": "deepgram"}, "provider"),
        ("realtime", {"endpointingMs": 1}, "endpointingMs"),
        ("stt", {"fallbacks": [KEY] * 4}, "fallbacks"),
        ("tts", {"fallbacks": [{**KEY, "sampleRate": 1}]}, "sampleRate"),
    ],
)
def test_a_wrong_value_is_named(role: str, said: dict[str, Any], field: str) -> None:
    agent = manifests.pool()["spec"]["agent"]
    with pytest.raises(ValidationError, match=field):
        AgentSpec.model_validate({**agent, role: {**KEY, **said}})


def test_providers_have_places_and_their_keys_variables() -> None:
    agent = manifests.pool()["spec"]["agent"]
    stt = {**agent["stt"], "fallbacks": [{**KEY, "provider": "openai"}, KEY, KEY]}
    spec = AgentSpec.model_validate({**agent, "stt": stt})
    assert {place: key_variable(place) for place in spec.providers} == {
        "stt": "STT_API_KEY",
        "stt.fallbacks[0]": "STT_FALLBACKS_0_API_KEY",
        "stt.fallbacks[1]": "STT_FALLBACKS_1_API_KEY",
        "stt.fallbacks[2]": "STT_FALLBACKS_2_API_KEY",
        "llm": "LLM_API_KEY",
        "tts": "TTS_API_KEY",
    }
    assert all(re.search(SECRET_VARIABLE_PATTERN, key_variable(place)) for place in spec.providers)
    assert not re.search(SECRET_VARIABLE_PATTERN, "OPENAI_API_KEY")
    assert list(each("stt", None)) == []
    assert AgentSpec.model_validate(manifests.own_agent()).providers == {}


def test_a_realtime_model_is_the_only_provider() -> None:
    spec = AgentSpec.model_validate({"instructions": "x", "realtime": KEY})
    assert list(spec.providers) == ["realtime"]


def test_every_secret_of_a_provider_has_a_field_and_a_variable() -> None:
    secret = {"name": "providers", "key": "other"}
    options = [{"name": "api_secret", "secretKeyRef": secret}, {"name": "token", "secretKeyRef": secret}]
    part = Realtime.model_validate({**KEY, "provider": "plugin", "plugin": {"package": "x", "secretOptions": options}})
    found = [(field, variable, reference.key) for field, variable, reference in secrets_of("realtime", part)]
    assert found == [
        ("realtime.apiKeySecretRef", "REALTIME_API_KEY", "it"),
        ("realtime.plugin.secretOptions[0].secretKeyRef", "REALTIME_OPTION_0", "other"),
        ("realtime.plugin.secretOptions[1].secretKeyRef", "REALTIME_OPTION_1", "other"),
    ]
    assert all(re.search(SECRET_VARIABLE_PATTERN, variable) for _, variable, _ in found)
    assert not re.search(SECRET_VARIABLE_PATTERN, "REALTIME_OPTION_8")
