"""Reading a token Secret, and never showing its token."""

import base64
import json
import logging

import pytest

from tests.caller.secret import CallerSecret, RedactTokens, SecretError, decode, redact

_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
_DATA = {"url": "wss://voice.example.com", "internalUrl": "ws://voice", "token": _TOKEN, "room": "r", "identity": "a"}
_ENCODED = {key: base64.b64encode(value.encode()).decode() for key, value in _DATA.items()}


@pytest.mark.parametrize(
    "document", [_DATA, _ENCODED, {"kind": "Secret", "data": _ENCODED}, {"kind": "Secret", "stringData": _DATA}]
)
def test_every_form_of_a_secret_is_read(document: object) -> None:
    assert decode(json.dumps(document)) == _DATA


@pytest.mark.parametrize("document", ["", "[]", json.dumps({"data": {"url": "%%%"}})])
def test_what_is_no_secret_is_refused(document: str) -> None:
    with pytest.raises(SecretError):
        decode(document)


def test_missing_keys_are_named_and_values_are_not() -> None:
    with pytest.raises(SecretError, match="identity") as error:
        CallerSecret.of({"url": "ws://x", "token": _TOKEN, "room": "r"})
    assert _TOKEN not in str(error.value)


def test_the_url_can_be_chosen() -> None:
    assert CallerSecret.of(_DATA).url == "wss://voice.example.com"
    assert CallerSecret.of(_DATA, "internalUrl").url == "ws://voice"


def test_the_token_is_in_no_text() -> None:
    secret = CallerSecret.of(_DATA)
    assert _TOKEN not in repr(secret)
    assert _TOKEN not in secret.redact(f"401 Unauthorized - invalid token: {_TOKEN}, error")
    # Cut tokens are tokens still: header and claims can be read.
    assert "eyJ" not in redact(f"invalid token: {_TOKEN[:30]}")


def test_log_records_lose_tokens(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tests.caller.redaction")
    logger.addFilter(RedactTokens())
    with caplog.at_level(logging.INFO):
        logger.info("connecting to ws://x?access_token=%s", _TOKEN)
    assert caplog.messages == ["connecting to ws://x?access_token=<token>"]
