"""What providers refused is kept until it is disproved."""

from pathlib import Path

import pytest

from voice_agent.provider_errors import ProviderError, ProviderErrorBoard, explain


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
