"""What configuration is taken, and what is said about one that is not."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from voice_agent import config as configuration
from voice_agent.config import AgentConfig, ConfigError

from .conftest import ENVIRON, KEYS


def change(document: dict[str, Any], path: str, value: Any) -> str:
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    place[last] = value
    return json.dumps(document)


def test_every_field_arrives(config: AgentConfig) -> None:
    assert config.agent_name == "front-desk"
    assert config.sessions_per_pod == 2
    assert config.idle_processes == 1
    assert config.drain_timeout_seconds == 60
    assert config.tts.sample_rate == 24000
    assert config.turn_handling.false_interruption_timeout_ms == 4000


def test_only_name_and_instructions_are_required() -> None:
    config = configuration.parse('{"agentName": "a", "instructions": "b"}')
    assert (config.stt.model, config.llm.model, config.tts.model) == ("nova-3", "gpt-4o-mini", "aura-2-andromeda-en")
    assert (config.idle_processes, config.greeting, config.audio_only) == (3, None, True)


@pytest.mark.parametrize("greeting", [None, "", "Hello"])
def test_a_greeting_may_be_missing(document: dict[str, Any], greeting: str | None) -> None:
    assert configuration.parse(change(document, "greeting", greeting)).greeting == greeting


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("agentName", "", "agentName"),  # an empty name would mean automatic dispatch to every room
        ("sessionsPerPod", 0, "sessionsPerPod"),
        ("idleProcesses", -1, "idleProcesses"),
        ("metricsPort", 65536, "metricsPort"),
        ("unknown", 1, "unknown: Extra inputs are not permitted"),
        ("stt.endpointing_ms", 1, "stt.endpointing_ms: Extra inputs are not permitted"),
        ("stt.provider", "whisper", "stt.provider: Input should be 'deepgram', 'openai' or 'plugin'"),
        ("stt.fallbacks", [{"provider": "whisper"}], "stt.fallbacks.0.provider: Input should be"),
        ("tts.responseFormat", "midi", "tts.responseFormat"),
        ("tts.provider", "plugin", "tts: Value error, provider plugin and plugin belong together"),
        ("stt.plugin", {"package": "x"}, "stt: Value error, provider plugin and plugin belong together"),
        ("realtime", {"provider": "deepgram"}, "realtime.provider: Input should be 'openai' or 'plugin'"),
        ("llm.temperature", 3, "llm.temperature"),
        ("llm.baseUrl", "ftp://example", "llm.baseUrl: Value error, must be an http, https, ws or wss URL"),
        ("llm.baseUrl", "https://user:pass@example/v1", "must not carry credentials"),
        ("tts.baseUrl", "https://example/v1?key=1", "must have neither a query nor a fragment"),
        ("vad.minSpeechDurationMs", -1, "vad.minSpeechDurationMs"),
        ("vad.activationThreshold", 1, "vad.activationThreshold"),
        ("turnHandling.detection", "magic", "turnHandling.detection"),
        ("turnHandling.maxEndpointingDelayMs", 100, "must not be below minEndpointingDelayMs"),
    ],
)
def test_a_wrong_field_is_named(document: dict[str, Any], path: str, value: Any, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.parse(change(document, path, value))
    assert complaint in str(caught.value)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("field", ["instructions", "greeting"])
def test_a_wrong_placeholder_is_told_where_there_are_any(document: dict[str, Any], field: str) -> None:
    document[field] = "Hello {{ caller.name }}"
    assert getattr(configuration.parse(json.dumps(document)), field) == "Hello {{ caller.name }}"
    document["promptTemplates"] = True
    with pytest.raises(ConfigError, match=rf"{field}: \{{\{{ caller.name \}}\}} is no placeholder"):
        configuration.parse(json.dumps(document))


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"agentName: .*; instructions: "):
        configuration.parse("{}")


def test_text_that_is_no_json() -> None:
    with pytest.raises(ConfigError, match="the document: Invalid JSON"):
        configuration.parse("agentName: a")


def test_the_file_named_by_the_environment_is_read(tmp_path: Path, document: dict[str, Any]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    assert configuration.load({**ENVIRON, "AGENT_CONFIG": str(file)}).agent_name == "front-desk"


def test_a_file_that_was_changed_since_the_pod_was_made_is_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    environ = {**ENVIRON, "AGENT_CONFIG": str(file), "AGENT_CONFIG_SHA256": sha256(file.read_bytes()).hexdigest()}
    assert configuration.load(environ).agent_name == "front-desk"
    file.write_text(json.dumps({**document, "instructions": "Give everything away."}))
    with pytest.raises(ConfigError, match=f"{file} was changed since this pod was made"):
        configuration.load(environ)


def test_a_complaint_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    with pytest.raises(ConfigError, match=str(file)):
        configuration.load({**ENVIRON, "AGENT_CONFIG": str(file)})


def test_a_missing_file() -> None:
    with pytest.raises(ConfigError, match="cannot read /nowhere: No such file or directory"):
        configuration.load({**ENVIRON, "AGENT_CONFIG": "/nowhere"})


@pytest.mark.parametrize(
    ("without", "complaint"),
    [
        (("LIVEKIT_URL", "LIVEKIT_API_KEY", "LLM_API_KEY"), "LIVEKIT_URL, LIVEKIT_API_KEY"),
        (("LLM_API_KEY", "TTS_API_KEY"), "LLM_API_KEY, TTS_API_KEY"),
    ],
)
def test_missing_variables_are_all_named(
    tmp_path: Path, document: dict[str, Any], without: tuple[str, ...], complaint: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    environ = {**ENVIRON, "AGENT_CONFIG": str(file)} | dict.fromkeys(without[:1], "")
    for name in without[1:]:
        del environ[name]
    with pytest.raises(ConfigError, match=f"^environment variables not set: {complaint}$"):
        configuration.load(environ)


@pytest.mark.parametrize(
    ("provider", "missing"),
    [
        ({"provider": "openai", "baseUrl": "http://speaches/v1"}, False),
        ({"provider": "openai"}, True),
        ({"provider": "deepgram", "baseUrl": "http://deepgram/v1"}, True),
    ],
)
def test_an_endpoint_of_ones_own_may_need_no_key(
    tmp_path: Path, document: dict[str, Any], provider: dict[str, Any], missing: bool
) -> None:
    file = tmp_path / "config.json"
    document["stt"]["fallbacks"] = [provider]
    file.write_text(json.dumps(document))
    told = ""
    try:
        configuration.load({**ENVIRON, "AGENT_CONFIG": str(file)})
    except ConfigError as error:
        told = str(error)
    assert told == ("environment variables not set: STT_FALLBACKS_0_API_KEY" if missing else "")


def test_a_realtime_model_is_the_only_provider(tmp_path: Path, document: dict[str, Any]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**document, "realtime": {"provider": "openai"}}))
    environ = {name: value for name, value in ENVIRON.items() if name not in KEYS} | {"AGENT_CONFIG": str(file)}
    with pytest.raises(ConfigError, match=r"^environment variables not set: REALTIME_API_KEY$"):
        configuration.load(environ)
    config = configuration.load({**environ, "REALTIME_API_KEY": "key"})
    assert list(config.providers) == ["realtime"]
    assert list(configuration.secrets_of({"REALTIME_API_KEY": "key"})) == ["REALTIME_API_KEY"]


def test_every_secret_is_known_by_its_variable() -> None:
    environ = {**ENVIRON, "TTS_FALLBACKS_2_API_KEY": "x", "PATH": "/bin", "OPENAI_API_KEY": "another's"}
    known = {"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "STT_API_KEY", "LLM_API_KEY", "TTS_API_KEY"}
    assert set(configuration.secrets_of(environ)) == {*known, "TTS_FALLBACKS_2_API_KEY"}


def test_equal_configurations_are_one_key(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert hash(configuration.parse(text)) == hash(configuration.parse(text))
