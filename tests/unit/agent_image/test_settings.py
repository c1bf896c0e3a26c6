"""What the runner is told, read without the stock agent's libraries."""

import json
from pathlib import Path
from typing import Any

import pytest

from voice_agent.runner.settings import Settings, SettingsError, load, parse

DOCUMENT = {"agentName": "a", "sessionsPerPod": 2, "idleProcesses": 0, "drainTimeoutSeconds": 60}


@pytest.mark.parametrize(
    ("added", "port", "seconds"),
    [
        ({}, None, None),
        ({"metricsPort": None, "initializeTimeoutSeconds": None}, None, None),
        ({"metricsPort": 9100}, 9100, None),
        ({"initializeTimeoutSeconds": 45}, None, 45),
    ],
)
def test_what_may_be_left_out(added: dict[str, Any], port: int | None, seconds: int | None) -> None:
    assert parse(json.dumps({**DOCUMENT, **added})) == Settings("a", 2, 0, 60, port, seconds)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({**DOCUMENT, "agentName": ""}, "agentName: must be a text that is not empty"),
        ({**DOCUMENT, "agentName": 3}, "agentName: must be a text that is not empty"),
        ({**DOCUMENT, "sessionsPerPod": 0}, "sessionsPerPod: must be an integer from 1"),
        ({**DOCUMENT, "sessionsPerPod": True}, "sessionsPerPod: must be an integer from 1"),
        ({**DOCUMENT, "idleProcesses": "3"}, "idleProcesses: must be an integer from 0"),
        ({**DOCUMENT, "drainTimeoutSeconds": 1.5}, "drainTimeoutSeconds: must be an integer from 1"),
        ({**DOCUMENT, "metricsPort": 65536}, "metricsPort: must be an integer from 1 to 65535"),
        ({**DOCUMENT, "initializeTimeoutSeconds": 0}, "initializeTimeoutSeconds: must be an integer from 1"),
        ({**DOCUMENT, "instructions": "x"}, "instructions: unknown"),
        ([], "must be a JSON object"),
    ],
)
def test_a_wrong_field_is_named(document: Any, complaint: str) -> None:
    with pytest.raises(SettingsError, match=f"^{complaint}$"):
        parse(json.dumps(document))


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"agentName: .*; sessionsPerPod: .*; drainTimeoutSeconds: "):
        parse('{"idleProcesses": 1}')


@pytest.mark.parametrize(("text", "complaint"), [("{", "invalid JSON"), ("[]", "must be a JSON object")])
def test_a_complaint_names_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match=f"{file}: {complaint}"):
        load({"AGENT_CONFIG": str(file)})


def test_a_file_that_was_changed_since_the_pod_was_made_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{")
    with pytest.raises(SettingsError, match=f"{file} was changed since this pod was made"):
        load({"AGENT_CONFIG": str(file), "AGENT_CONFIG_SHA256": "0" * 64})


def test_a_missing_file() -> None:
    with pytest.raises(SettingsError, match="cannot read /nowhere: No such file or directory"):
        load({"AGENT_CONFIG": "/nowhere"})
