"""Whatever somebody else wrote becomes a text, a count or a moment that can be kept and shown."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.conditions import Observed
from livekit_operator.errors import Problem
from livekit_operator.outside import count, masked, moment, said
from livekit_operator.reasons import Reason

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is, with  two spaces", "as it is, with  two spaces"),
        ("two\nlines\r\nand\ta tab", "two lines and a tab"),
        ("\x1b[31mred\x00", "[31mred"),
        ("a\u202eb\u2028c", "a b c"),
        ("half a letter \ud800", "half a letter"),
        (f"token {TOKEN}, refused", "token [token], refused"),
        ("no redis://app:s3cret@cache:6379/0 today", "no redis://[redacted]@cache:6379/0 today"),
        ("redis://:s3cret@cache", "redis://[redacted]@cache"),
        ("https://s3cret@git.example.com/a", "https://[redacted]@git.example.com/a"),
        ("'postgresql+psycopg://u:s3@cret@[::1]:5432/db'", "'postgresql+psycopg://[redacted]@[::1]:5432/db'"),
        ("postgresql://u:s3/c#r?e@t@db/x, x@y", "postgresql://[redacted]@db/x, x@y"),
        ("amqp://u:s3%2Fcret@a,amqp://u:s3cret@b", "amqp://[redacted]@a,amqp://[redacted]@b"),
        ("two: ws://a:b@x/ ws://c:d@y/", "two: ws://[redacted]@x/ ws://[redacted]@y/"),
        ("cut redis://app:s3cr", "cut redis://[redacted]"),
        ("at http://speaches:8000", "at http://speaches:8000"),
        ("at http://speaches:8000.", "at http://speaches:8000."),
        ("at http://[fd00::1]:8000", "at http://[fd00::1]:8000"),
        ("https://registry:5000/v2/a@sha256:12", "https://registry:5000/v2/a@sha256:12"),
        ("https://medium.com/@a  and b@c", "https://medium.com/@a  and b@c"),
        ('{"url":"http://a:80","mail":"b@c"}', '{"url":"http://a:80","mail":"b@c"}'),
        ("wss://<user>:<password>@host", "wss://<user>:<password>@host"),
        ("x" * 301, "x" * 299 + "…"),
        (None, "None"),
    ],
)
def test_a_text(text: object, shown: str) -> None:
    assert said(text) == shown


def test_a_number_of_thousands_of_digits_is_told_by_its_kind() -> None:
    assert said(10**5000) == "int"


@given(st.text(alphabet=st.characters()), st.integers(1, 50))
def test_every_text_is_short_and_printable(text: str, most: int) -> None:
    shown = said(text, most)
    assert len(shown) <= most
    assert shown.isprintable()
    shown.encode()


def test_a_token_that_the_bound_cuts_is_not_shown_whole() -> None:
    assert TOKEN[-10:] not in said("x" * 250 + f" {TOKEN}" * 50)


@pytest.mark.parametrize("before", [0, 100, 270, 290, 310, 1190, 1300])
def test_a_password_that_a_bound_cuts_is_not_shown_in_part(before: int) -> None:
    shown = said("x" * before + " redis://app:" + "s3cret" * 200 + "@cache")
    assert "s3c" not in shown


@given(st.lists(st.sampled_from(["://", "a", ":", "@", "/", " ", "8000", "?", '"', "[", "]"]), max_size=300))
def test_whatever_stands_before_the_last_at_of_a_host_is_masked(parts: list[str]) -> None:
    for found in re.findall(r"://([^\s/?#\"<>]*)@", said("".join(parts))):
        assert found == "[redacted]"


def test_a_long_text_of_many_urls_takes_no_time() -> None:
    began = time.monotonic()
    for text in ("://a:b", "://", "a", "a:", "://a@", "a://b:c/"):
        masked(text * 20_000)
    assert time.monotonic() - began < 2


def test_every_door_to_a_status_bounds_its_texts() -> None:
    long = "words\n" * 10_000
    assert len(Observed.not_ready(Problem(Reason("Reason"), long)).message) <= 2000
    assert "\n" not in Observed.not_ready(Problem(Reason("Reason"), long)).message
    url = "Its last words: redis.ConnectionError: redis://app:s3cret@cache:6379. See its log."
    assert "s3cret" not in Observed.not_ready(Problem(Reason("Reason"), url)).message


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3), (2.9, 2), (-1, 0), (2**80, 1_000_000), (float("inf"), 1_000_000)]
)
def test_a_count(value: Any, expected: int) -> None:
    assert count(value) == expected


@pytest.mark.parametrize("value", [None, "3", True, [], float("nan")])
def test_what_is_no_count(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        count(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:00Z" + " " * 100, None),
        ("now", None),
        (7, None),
    ],
)
def test_a_moment(value: Any, expected: datetime | None) -> None:
    assert moment(value) == expected
