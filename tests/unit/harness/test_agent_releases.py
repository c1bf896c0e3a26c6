"""Which releases of livekit-agents are tried, and that the environment of each is made once."""

import re
import sys
from pathlib import Path

import pytest

from tests.cluster import layout
from tests.cluster.errors import ClusterError
from tests.harness import agent_releases
from voice_agent.runner.injected import OLDEST


def test_every_minor_version_from_the_oldest_to_the_newest_is_tried_and_one_that_is_too_old() -> None:
    supported = agent_releases.supported()
    first, newest = agent_releases.minor(OLDEST), agent_releases.minor(agent_releases.NEWEST)
    assert supported == [f"{first[0]}.{number}" for number in range(first[1], newest[1] + 1)]
    assert len(agent_releases.locked()) > len(supported) - 1


@pytest.mark.parametrize("lock", sorted(agent_releases.LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_lock_has_the_release_of_its_name_and_tells_no_address(lock: Path) -> None:
    text = lock.read_text()
    version = re.search(r"^livekit-agents==(\S+)", text, re.MULTILINE)
    assert version
    wanted = agent_releases.NEWEST if lock.stem == agent_releases.OPENTELEMETRY else lock.stem
    assert "{}.{}".format(*agent_releases.minor(version[1])) == wanted
    assert not re.search(r"://|^-", text, re.MULTILINE)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Have an environment made without a package; returns what uv was asked for."""
    asked: list[str] = []
    monkeypatch.setattr(layout, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(agent_releases, "LOCKS", tmp_path)
    monkeypatch.setattr(agent_releases, "_uv", lambda *words: asked.append(words[0]))
    monkeypatch.setattr(agent_releases, "_ensure", agent_releases._ensure.__wrapped__)
    (tmp_path / "1.0.txt").write_text("livekit-agents==1.0.1")
    return asked


def test_an_environment_is_made_once_and_again_when_its_lock_changes(said: list[str], tmp_path: Path) -> None:
    first = agent_releases.python("1.0")
    assert agent_releases.python("1.0") == first
    assert said == ["venv", "pip"]
    (tmp_path / "1.0.txt").write_text("livekit-agents==1.0.2")
    assert agent_releases.python("1.0") != first
    assert said == ["venv", "pip"] * 2


def test_what_could_not_be_made_is_no_environment(
    said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> None:
        raise ClusterError("no such release")

    monkeypatch.setattr(agent_releases, "_uv", fail)
    with pytest.raises(ClusterError):
        agent_releases.python("1.0")
    assert list((tmp_path / "cache" / "agents").iterdir()) == []


def test_the_newest_is_the_tests_own() -> None:
    assert agent_releases.python(agent_releases.NEWEST) == sys.executable


def test_what_uv_says_is_told() -> None:
    with pytest.raises(ClusterError, match=r"uv no such failed:\n.+"):
        agent_releases._uv("no", "such")
