"""No secret leaves in a log line."""

import json
import logging

import pytest

from voice_agent.logs import MASK, RedactingFormatter, Redactor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkiLCJleHAiOjF9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
REDACTOR = Redactor(["stt-key", "sk-model-key", "stt-key-and-more", ""])


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("nothing to hide", "nothing to hide"),
        ("the key stt-key here", f"the key {MASK} here"),
        ("stt-key-and-more", MASK),
        (f"ws://host/rtc?access_token={JWT}&x=1", f"ws://host/rtc?access_token={MASK}&x=1"),
        (f"Authorization: Bearer {JWT}", f"Authorization: Bearer {MASK}"),
        ("{'Authorization': 'Token 0123456789abcdef0123'}", f"{{'Authorization': 'Token {MASK}'}}"),
        ("Incorrect API key provided: sk-proj-ab**************cdef.", f"Incorrect API key provided: {MASK}."),
        (
            "message='no', status_code=401, retryable=False, body={'error': {'message': 'key abc is wrong'}}",
            f"message='no', status_code=401, retryable=False, body={MASK}",
        ),
        ("a token is issued", "a token is issued"),
        ("no redis://app:s3cret@cache:6379/0 today", f"no redis://{MASK}@cache:6379/0 today"),
        ("https://s3cret@git.example.com/a b@c", f"https://{MASK}@git.example.com/a b@c"),
        ("postgresql://u:s3/c#r?e@t@db/x", f"postgresql://{MASK}@db/x"),
        ("http://speaches:8000/v1/a@b ws://[fd00::1]:80/@", "http://speaches:8000/v1/a@b ws://[fd00::1]:80/@"),
    ],
)
def test_text(text: str, redacted: str) -> None:
    assert REDACTOR.text(text) == redacted


def line(record: logging.LogRecord) -> str:
    return RedactingFormatter(REDACTOR).format(record)


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("test", logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_a_line_is_one_json_object() -> None:
    written = line(
        record("two\nlines for %s", "sk-model-key", url=f"ws://x?access_token={JWT}", nested={"a": ["stt-key"]})
    )
    assert "\n" not in written
    document = json.loads(written)
    assert document["message"] == f"two\nlines for {MASK}"
    assert document["url"] == f"ws://x?access_token={MASK}"
    assert document["nested"] == {"a": [MASK]}
    assert document["level"] == "INFO"


def test_tracebacks_are_redacted() -> None:
    failed = record("failed")
    error = RuntimeError("refused: stt-key")
    failed.exc_info = (RuntimeError, error, None)
    written = line(failed)
    assert "stt-key" not in written
    assert "RuntimeError: refused" in json.loads(written)["exc_info"]
