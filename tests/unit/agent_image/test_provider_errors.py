"""What providers refused is kept until it is disproved."""

import json
from pathlib import Path
from typing import Any

import pytest

from voice_agent import config as configuration
from voice_agent.provider_errors import ProviderError, ProviderErrorBoard, document, explain


def test_report_replace_clear(tmp_path: Path) -> None:
    board = ProviderErrorBoard(tmp_path / "errors")
    assert board.current() == []
    board.clear("stt")
    board.report(ProviderError.now("tts", "deepgram", 401))
    board.report(ProviderError.now("stt", "deepgram", 0))
    board.report(ProviderError.now("stt", "deepgram", 403))
    assert [(error.role, error.code) for error in board.current()] == [("stt", 403), ("tts", 401)]
    board.clear("stt")
    assert [error.role for error in board.current()] == ["tts"]
    assert ProviderErrorBoard(tmp_path / "errors").current() == board.current()
    board.reset()
    assert board.current() == []
    assert list((tmp_path / "errors").iterdir()) == []


@pytest.mark.parametrize(
    ("failing", "covered"),
    [
        (["stt"], [True]),
        (["stt.fallbacks[0]"], [True]),
        (["stt", "stt.fallbacks[0]"], [False, False]),
        (["llm"], [False]),
        (["stt", "llm"], [True, False]),
    ],
)
def test_an_error_is_covered_while_another_provider_of_the_role_answers(
    document_with_fallback: dict[str, Any], tmp_path: Path, failing: list[str], covered: list[bool]
) -> None:
    config = configuration.parse(json.dumps(document_with_fallback))
    board = ProviderErrorBoard(tmp_path)
    for place in failing:
        board.report(ProviderError.now(place, "somebody", 500))
    told = document(board.current(), config)
    assert [(error["role"], error["covered"]) for error in told] == list(zip(failing, covered, strict=True))


def test_time_is_rfc3339() -> None:
    assert ProviderError.now("llm", "openai", 500).at.endswith("Z")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "cannot be reached"),
        (401, "refused the API key"),
        (403, "refused the API key"),
        (402, "payment"),
        (404, "check model"),
        (429, "rate"),
        (500, "failed"),
        (1011, "failed"),
    ],
)
def test_explanations(code: int, words: str) -> None:
    assert words in explain(code)


def test_no_call_ends_for_want_of_a_server_of_tools(document_with_fallback: dict[str, Any], tmp_path: Path) -> None:
    config, board = configuration.parse(json.dumps(document_with_fallback)), ProviderErrorBoard(tmp_path)
    for place in ("tools.mcp[1]", "llm", "tools.mcp[0]"):
        board.report(ProviderError.now(place, "somebody", 0))
    told = [(error["role"], error["covered"]) for error in document(board.current(), config)]
    assert told == [("llm", False), ("tools.mcp[0]", True), ("tools.mcp[1]", True)]
