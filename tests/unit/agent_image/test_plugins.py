"""Plugins that a pool names: made of what is in the image, or the field that is wrong is told."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from livekit import agents

from voice_agent import config as configuration
from voice_agent import plugins, provider_checks, providers
from voice_agent.config import AgentConfig, ConfigError, PluginConfig, SttProvider

from .conftest import ENVIRON, KEYS

PACKAGE = "house_voices"
CODE = """
from livekit.agents import stt

class STT(stt.STT):
    def __init__(self, *, model="small", api_key=None, api_secret=None):
        if model == "wrong":
            raise ValueError(f"no model {model} for {api_secret}")
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self.made_of = (model, api_key, api_secret)

    async def _recognize_impl(self, buffer, *, language=None, conn_options=None):
        raise NotImplementedError

class Ears(STT):
    pass

class Other:
    pass
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An image that has a plugin of somebody's."""
    (tmp_path / f"{PACKAGE}.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(plugins.__file__).parent.parent}")
    yield tmp_path
    sys.modules.pop(PACKAGE, None)


def made(place: str, **plugin: Any) -> Any:
    return plugins.make(PluginConfig.model_validate({"package": PACKAGE, **plugin}), place, agents.stt.STT)


def test_a_plugin_is_made_with_its_options_and_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STT_FALLBACKS_0_API_KEY", "the-key")
    monkeypatch.setenv("STT_FALLBACKS_0_OPTION_0", "the-secret")
    ears = made("stt.fallbacks[0]", **{"class": "Ears"}, options={"model": "large"}, secretOptions=["api_secret"])
    assert (type(ears).__name__, ears.made_of) == ("Ears", ("large", "the-key", "the-secret"))
    monkeypatch.delenv("STT_API_KEY", raising=False)
    assert made("stt").made_of == ("small", None, None)


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ({"package": "livekit.plugins.nobody"}, "stt.plugin.package: livekit.plugins.nobody is not in this image"),
        ({"class": "TTS"}, "stt.plugin.class: house_voices has no TTS that is a livekit.agents.stt.stt.STT"),
        ({"class": "Other"}, "stt.plugin.class: house_voices has no Other that is"),
        ({"options": {"modle": 1}}, "stt.plugin.options: STT does not take them (TypeError: "),
        ({"options": {"model": "wrong"}, "secretOptions": ["api_secret"]}, "no model wrong for [redacted])"),
    ],
)
def test_what_cannot_be_made_is_told_by_its_field_and_without_secrets(
    monkeypatch: pytest.MonkeyPatch, plugin: dict[str, Any], words: str
) -> None:
    monkeypatch.setenv("STT_OPTION_0", "the-secret")
    with pytest.raises(ConfigError) as caught:
        made("stt", **plugin)
    assert words in str(caught.value)
    assert "the-secret" not in str(caught.value)


def configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any], plugin: dict[str, Any]
) -> AgentConfig:
    """Return the configuration of a pod whose speech-to-text is a plugin."""
    document["stt"] = {"provider": "plugin", "plugin": {"package": PACKAGE, **plugin}}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    for name, value in {**ENVIRON, "AGENT_CONFIG": str(file)}.items():
        monkeypatch.setenv(name, value)
    return configuration.load()


def test_the_worker_finds_out_beforehand_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]
) -> None:
    monkeypatch.setattr(plugins, "TIMEOUT", 200.0)
    plugins.check(configured(tmp_path, monkeypatch, document, {}))
    with pytest.raises(ConfigError, match=r"^stt\.plugin\.options: STT does not take them"):
        plugins.check(configured(tmp_path, monkeypatch, document, {"options": {"modle": 1}}))
    assert PACKAGE not in sys.modules, "the worker itself needs none of it"


LOUD = """
import os, sys
key = os.environ["STT_API_KEY"]
print("asked with", key, "redis://app:s3cret@cache", file=sys.stderr)
os.write(2, b"\\xff no text " + os.environ["LIVEKIT_API_SECRET"].encode() + b"\\n")
print("first")
print("made with", key, "redis://app:s3cret@cache", flush=True)
"""


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("os._exit(3)", 3)])
def test_what_is_written_while_plugins_are_tried_holds_no_secret(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    ending: str,
    code: int,
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(plugins, "TIMEOUT", 200.0)
    words = ["first", "made with [redacted] redis://[redacted]@cache"]
    assert plugins.run([sys.executable, "-c", LOUD + ending]) == (code, words)
    (message,) = caplog.messages
    assert "asked with [redacted] redis://[redacted]@cache" in message
    assert "\ufffd no text [redacted]" in message
    assert capfd.readouterr() == ("", ""), "all of it goes through the log"


@pytest.mark.parametrize("written", [b"with " + KEYS["STT_API_KEY"].encode(), None])
def test_neither_does_what_is_written_by_one_that_takes_too_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, written: bytes | None
) -> None:
    def run(command: list[str], *, timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout, output=written, stderr=written)

    monkeypatch.setenv("STT_API_KEY", KEYS["STT_API_KEY"])
    monkeypatch.setattr(subprocess, "run", run)
    assert plugins.run(["it"]) == (None, ["with [redacted]"] if written else [])
    assert caplog.messages == (["written while plugins were tried: with [redacted]"] if written else [])


def test_little_is_logged_of_a_plugin_that_writes_much(caplog: pytest.LogCaptureFixture) -> None:
    assert plugins.run([sys.executable, "-c", "import sys; print('x' * 100_000, 'end', file=sys.stderr)"]) == (0, [])
    (message,) = caplog.messages
    assert len(message) < 17_000
    assert message.endswith("x end")


def test_the_last_words_of_a_plugin_that_ends_are_told(monkeypatch: pytest.MonkeyPatch, config: AgentConfig) -> None:
    stt = config.stt.model_copy(update={"provider": "plugin", "plugin": PluginConfig(package=PACKAGE)})
    plugged = config.model_copy(update={"stt": stt})
    for words, told in ((["a", "b"], "^b$"), ([], r"^a plugin ends its process \(3\): see the log$")):
        monkeypatch.setattr(plugins, "run", lambda _, words=words: (3, words))
        with pytest.raises(ConfigError, match=told):
            plugins.check(plugged)
    monkeypatch.setattr(plugins, "run", lambda _: (None, ["slow"]))
    plugins.check(plugged)


def test_nothing_is_tried_where_no_plugin_is_named(monkeypatch: pytest.MonkeyPatch, config: AgentConfig) -> None:
    monkeypatch.setattr(plugins, "run", None)
    plugins.check(config)


def test_the_fork_server_makes_no_plugin_that_nobody_here_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]
) -> None:
    config = configured(tmp_path, monkeypatch, document, {"options": {"model": "wrong"}})
    providers.preload(config)
    assert PACKAGE in sys.modules
    with pytest.raises(ConfigError, match="no model wrong"):
        providers.build(config)


def test_a_plugin_is_in_the_session_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]
) -> None:
    config = configured(tmp_path, monkeypatch, document, {})
    found = providers.build(config)
    assert type(found.stt).__name__ == "STT"
    assert found.by_place["stt"] is found.stt
    assert not providers.hears_turns(config)
    assert config.stt.name == PACKAGE


async def test_only_calls_ask_a_plugin() -> None:
    stt = SttProvider.model_validate({"provider": "plugin", "plugin": {"package": PACKAGE}})
    check = provider_checks.check_of(stt, "key")
    assert await check(None) is provider_checks.OK  # type: ignore[arg-type]
    assert provider_checks.settles(stt, 404)
    assert not provider_checks.settles(stt, 401), "nobody has asked with its key"


def test_secrets_of_plugins_are_required_and_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"^environment variables not set: STT_OPTION_0, STT_OPTION_1$"):
        configured(tmp_path, monkeypatch, document, {"secretOptions": ["api_secret", "token"]})
    assert "STT_OPTION_1" in set(configuration.secrets_of({**KEYS, "STT_OPTION_1": "x"}))
