"""Every line is JSON that names its object, and no line holds a token or a password of a URL."""

import io
import json
import logging
from typing import Any

import jwt
import pytest

from livekit_operator.logs import JsonFormatter, ObjectLogger, configure

TOKEN = jwt.encode({"sub": "alice", "video": {"room": "support-42"}}, "s" * 32, algorithm="HS256")


def formatted(message: str, *arguments: object, **extra: Any) -> dict[str, Any]:
    record = logging.makeLogRecord(
        {"name": "livekit_operator", "levelno": 20, "levelname": "INFO", "msg": message, "args": arguments, **extra}
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_a_line_is_json() -> None:
    line = formatted("hello %s", "wörld", created=1772366400.5)
    assert line == {
        "time": "2026-03-01T12:00:00.500+00:00",
        "level": "info",
        "logger": "livekit_operator",
        "message": "hello wörld",
    }


def test_a_token_is_removed_from_the_message() -> None:
    line = formatted("join refused: invalid token: %s, try again", TOKEN)
    assert line["message"] == "join refused: invalid token: [token], try again"


def test_a_token_is_removed_from_a_traceback() -> None:
    error = RuntimeError(f"401: access_token={TOKEN}")
    line = formatted("failed", exc_info=(type(error), error, None))
    assert "RuntimeError: 401: access_token=[token]" in line["exception"]
    assert TOKEN.split(".")[1] not in json.dumps(line)


def test_a_password_of_a_url_is_removed_from_all_of_a_line() -> None:
    url = "redis://app:s3cret@cache:6379"
    error = ConnectionError(url)
    line = formatted("no %s", url, exc_info=(type(error), error, None), object={"name": f'"{url}"'})
    assert line["message"] == "no redis://[redacted]@cache:6379"
    assert line["exception"].endswith("ConnectionError: redis://[redacted]@cache:6379")
    assert line["object"] == {"name": '"redis://[redacted]@cache:6379"'}


def test_a_token_is_removed_from_the_object() -> None:
    assert TOKEN not in json.dumps(formatted("m", object={"name": TOKEN}))


def test_what_kopf_hangs_onto_its_records_does_not_break_a_line() -> None:
    reference = {"kind": "MeetingRoom", "namespace": "team", "name": "support-42"}
    line = formatted("m", k8s_ref=reference, settings=object(), resource=object(), k8s_skip=True)
    assert line["object"] == reference
    assert "settings" not in line


def test_what_json_cannot_say_is_written_as_text() -> None:
    assert formatted("m", object={"name": {1}})["object"] == {"name": "{1}"}


@pytest.fixture
def restored_logging() -> Any:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]


def test_an_object_logger_names_its_object(restored_logging: None) -> None:
    configure("debug")
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    stream = handler.stream = io.StringIO()
    ObjectLogger("MeetingRoom", "team", "support-42").warning("late", extra={"more": 1})
    line = json.loads(stream.getvalue())
    assert line["object"] == {"kind": "MeetingRoom", "namespace": "team", "name": "support-42"}
    assert (line["level"], line["message"]) == ("warning", "late")
