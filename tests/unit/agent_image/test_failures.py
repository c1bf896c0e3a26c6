"""A provider that fails in a call is reported, and whoever it leaves mute leaves the room."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit.agents import AgentSession, APIConnectionError, APIError, CloseReason, JobContext
from livekit.agents.llm import ChatMessage
from livekit.rtc import EventEmitter

from voice_agent import config as configuration
from voice_agent import failures
from voice_agent.config import AgentConfig
from voice_agent.failures import report_failures, status_code
from voice_agent.provider_errors import ProviderError, ProviderErrorBoard


@pytest.mark.parametrize(
    ("attributes", "code"), [({"status_code": 401}, 401), ({"status_code": -1}, 0), ({"status_code": "no"}, 0), ({}, 0)]
)
def test_status_codes(attributes: dict[str, object], code: int) -> None:
    error = RuntimeError()
    for name, value in attributes.items():
        setattr(error, name, value)
    assert status_code(error) == code


def test_what_an_answer_without_a_number_is() -> None:
    refused, handshake = APIConnectionError(), RuntimeError()
    handshake.status = 403  # type: ignore[attr-defined]
    refused.__cause__ = handshake
    assert status_code(refused) == 403, "the handshake of a realtime model"
    assert status_code(APIError("the model says so")) == 500
    assert status_code(APIConnectionError()) == 0


class Call:
    """A session that a test has events of, and what became of its job."""

    def __init__(self, board: ProviderErrorBoard, config: AgentConfig) -> None:
        self.board = board
        self.ended: list[str] = []
        self.failed: list[tuple[str, str]] = []
        """Id of the job, and why."""
        self._handlers: dict[str, Callable[[Any], None]] = {}
        context = SimpleNamespace(job=SimpleNamespace(id="AJ_1"), shutdown=self.ended.append)
        self.plugins = {place: EventEmitter[str]() for place in config.providers}
        report_failures(cast(JobContext, context), cast(AgentSession[Any], self), board, config, self.plugins)

    def on(self, event: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Take a handler as a session does."""
        return lambda handler: self._handlers.setdefault(event, handler)

    def have(self, event: str, **values: Any) -> None:
        """Let something happen."""
        self._handlers[event](SimpleNamespace(**values))

    def fail(self, kind: str, code: int, recoverable: bool) -> None:
        """Let a provider fail."""
        error = RuntimeError()
        error.status_code = code  # type: ignore[attr-defined]
        self.have("error", error=SimpleNamespace(type=kind, error=error, recoverable=recoverable))

    def fail_at(self, place: str, code: int, recoverable: bool = False) -> None:
        """Let one provider fail, as its plugin tells it."""
        error = RuntimeError()
        error.status_code = code  # type: ignore[attr-defined]
        self.plugins[place].emit("error", SimpleNamespace(error=error, recoverable=recoverable))

    def told(self) -> list[tuple[str, str, int]]:
        """Return what stands on the board."""
        return [(error.role, error.provider, error.code) for error in self.board.current()]


@pytest.fixture
def call(tmp_path: Path, config: AgentConfig, monkeypatch: pytest.MonkeyPatch) -> Call:
    made = Call(ProviderErrorBoard(tmp_path), config)
    monkeypatch.setattr(failures, "report_failure", lambda *told: made.failed.append(told))
    return made


@pytest.mark.parametrize(
    ("kind", "code", "recoverable", "told", "leaves"),
    [
        pytest.param("tts_error", 500, True, [], False, id="the library tries again"),
        pytest.param("tts_error", 500, False, [("tts", "deepgram", 500)], False, id="it has given up"),
        pytest.param("llm_error", 401, True, [("llm", "openai", 401)], True, id="no key for the model"),
        pytest.param("stt_error", 403, False, [("stt", "deepgram", 403)], True, id="no key to hear"),
        pytest.param("realtime_model_error", 500, False, [], False, id="no realtime model is configured"),
        pytest.param("vad_error", 401, False, [], False, id="no provider"),
    ],
)
def test_what_a_failure_comes_to(
    call: Call, kind: str, code: int, recoverable: bool, told: list[tuple[str, str, int]], leaves: bool
) -> None:
    call.fail(kind, code, recoverable)
    assert call.told() == told
    why = [f"{told[0][0]}: the provider refused the API key"] if leaves else []
    assert call.failed == [("AJ_1", words) for words in why]
    assert call.ended == why


@pytest.mark.parametrize(
    ("reason", "error", "why"),
    [
        (CloseReason.ERROR, SimpleNamespace(error=LookupError("no such voice")), ["LookupError: no such voice"]),
        (CloseReason.ERROR, None, ["the session closed by an error"]),
        (CloseReason.USER_INITIATED, None, []),
    ],
)
def test_a_job_ends_with_its_session(call: Call, reason: CloseReason, error: Any, why: list[str]) -> None:
    call.have("close", reason=reason, error=error)
    assert call.ended == [f"session closed: {reason.value}"]
    assert call.failed == [("AJ_1", words) for words in why]


WELL: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "stt": [("user_input_transcribed", {"is_final": True})],
    "llm": [
        ("user_input_transcribed", {"is_final": True}),
        ("conversation_item_added", {"item": ChatMessage(role="assistant", content=["Yes."])}),
    ],
    "tts": [("agent_state_changed", {"new_state": "speaking"})],
}


@pytest.mark.parametrize("role", WELL)
def test_an_error_is_wiped_by_what_goes_well(call: Call, role: str) -> None:
    call.board.report(ProviderError.now(role, "anybody", 500))
    for event, values in WELL[role]:
        assert [error.role for error in call.board.current()] == [role]
        call.have(event, **values)
    assert call.board.current() == []


@pytest.mark.parametrize(
    ("event", "values"),
    [
        pytest.param("user_input_transcribed", {"is_final": False}, id="half a sentence"),
        pytest.param(
            "conversation_item_added", {"item": ChatMessage(role="assistant", content=["Hello!"])}, id="the greeting"
        ),
        pytest.param("agent_state_changed", {"new_state": "thinking"}, id="not yet a sound"),
    ],
)
def test_what_proves_nothing_wipes_nothing(call: Call, event: str, values: dict[str, Any]) -> None:
    for role in WELL:
        call.board.report(ProviderError.now(role, "anybody", 500))
    call.have(event, **values)
    assert [error.role for error in call.board.current()] == ["stt", "llm", "tts"]


def test_what_the_caller_says_is_not_the_models(call: Call) -> None:
    call.have("user_input_transcribed", is_final=True)
    call.board.report(ProviderError.now("llm", "anybody", 500))
    call.have("conversation_item_added", item=ChatMessage(role="user", content=["Hello?"]))
    assert [error.role for error in call.board.current()] == ["llm"]


@pytest.fixture
def helped(tmp_path: Path, document_with_fallback: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Call:
    """A call whose speech-to-text has a fallback."""
    made = Call(ProviderErrorBoard(tmp_path), configuration.parse(json.dumps(document_with_fallback)))
    monkeypatch.setattr(failures, "report_failure", lambda *told: made.failed.append(told))
    return made


def test_each_provider_of_a_role_tells_for_itself(helped: Call) -> None:
    helped.fail_at("stt", 500)
    assert helped.told() == [("stt", "deepgram", 500)]
    helped.fail("stt_error", 0, False)
    assert helped.told() == [("stt", "deepgram", 500)], "the adapter only says that all have failed"
    helped.fail_at("stt.fallbacks[0]", 503, recoverable=True)
    assert helped.told() == [("stt", "deepgram", 500)], "it tries again"
    helped.fail_at("stt.fallbacks[0]", 503)
    assert helped.told() == [("stt", "deepgram", 500), ("stt.fallbacks[0]", "openai", 503)]
    helped.have("user_input_transcribed", is_final=True)
    assert len(helped.told()) == 2, "it does not say who heard the caller"
    helped.plugins["stt.fallbacks[0]"].emit("metrics_collected", None)
    assert helped.told() == [("stt", "deepgram", 500)]
    helped.plugins["stt"].emit("metrics_collected", None)
    assert helped.told() == []


def test_a_call_goes_on_while_one_provider_takes_its_key(helped: Call) -> None:
    helped.fail_at("stt", 401, recoverable=True)
    assert (helped.told(), helped.ended, helped.failed) == ([("stt", "deepgram", 401)], [], [])
    helped.fail_at("stt.fallbacks[0]", 403)
    why = "stt: the provider refused the API key"
    assert (helped.ended, helped.failed) == ([why], [("AJ_1", why)])


def test_a_role_with_one_provider_beside_is_told_as_ever(helped: Call) -> None:
    helped.fail("tts_error", 500, False)
    assert helped.told() == [("tts", "deepgram", 500)]
    helped.have("agent_state_changed", new_state="speaking")
    assert helped.told() == []


def test_a_realtime_model_tells_for_all(
    tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    document["realtime"] = {"provider": "openai"}
    call = Call(ProviderErrorBoard(tmp_path), configuration.parse(json.dumps(document)))
    monkeypatch.setattr(failures, "report_failure", lambda *told: call.failed.append(told))
    call.fail("realtime_model_error", 500, False)
    assert call.told() == [("realtime", "openai", 500)]
    call.have("agent_state_changed", new_state="speaking")
    assert call.told() == []
    call.fail("realtime_model_error", 401, True)
    assert call.ended == ["realtime: the provider refused the API key"]
