"""What configuration is taken, and what is said about one that is not."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from voice_agent import config as configuration
from voice_agent.config import AgentConfig, ConfigError

from .conftest import ENVIRON


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
        ("stt.provider", "whisper", "stt.provider: Input should be 'deepgram'"),
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


def test_missing_variables_are_all_named() -> None:
    environ = {**ENVIRON, "LLM_API_KEY": ""}
    del environ["TTS_API_KEY"]
    with pytest.raises(ConfigError, match="environment variables not set: LLM_API_KEY, TTS_API_KEY"):
        configuration.load(environ)


def test_equal_configurations_are_one_key(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert hash(configuration.parse(text)) == hash(configuration.parse(text))
