"""How the stock agent begins: with clean secrets and a configuration, or with words about why not."""

import os
from pathlib import Path

import pytest

import voice_agent
from voice_agent import __main__ as command
from voice_agent import logs, proxies
from voice_agent.config import AgentConfig
from voice_agent.runner.settings import EXIT_CONFIG, Settings

from .conftest import ENVIRON

FOLDER = str(Path(voice_agent.__file__).resolve().parent.parent)


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a container's configuration is, with its variables set."""
    file = tmp_path / "config.json"
    for name, value in {**ENVIRON, "AGENT_CONFIG": str(file)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(proxies, "name_for_websockets", lambda _: None)
    return file


def test_the_stock_agent_is_told_the_same_in_its_own_file(config: AgentConfig) -> None:
    assert command.settings(config) == Settings("front-desk", 2, 1, 60, 9100)


def test_a_configuration_that_is_none_ends_it_with_words(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(command, "say_last_words", said.append)
    file.write_text("{}")
    assert command.main() == EXIT_CONFIG
    assert len(said) == 1
    assert said[0].startswith(f"{file}: agentName: ")


def test_secrets_lose_the_line_break_of_their_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[AgentConfig] = []

    async def serve(config: AgentConfig) -> int:
        served.append(config)
        return 7

    monkeypatch.setattr(command, "serve", serve)
    monkeypatch.setenv("LLM_API_KEY", "key of a file\n")
    file.write_text('{"agentName": "a", "instructions": "b"}')
    assert command.main() == 7
    assert [config.agent_name for config in served] == ["a"]
    assert os.environ["LLM_API_KEY"] == "key of a file"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", [FOLDER]),
        ("/opt/more", [FOLDER, "/opt/more"]),
        (f"/opt/more:{FOLDER}", [FOLDER, "/opt/more"]),
    ],
)
def test_its_processes_find_this_package(monkeypatch: pytest.MonkeyPatch, before: str, after: list[str]) -> None:
    monkeypatch.setenv("PYTHONPATH", before)
    command._let_children_import_this_package()
    assert os.environ["PYTHONPATH"].split(os.pathsep) == after
