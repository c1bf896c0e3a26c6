"""The URL that clients are told is one of a WebSocket, and nothing else is taken for it."""

import pytest
from pydantic import ValidationError

from livekit_operator.api.server.signal import Signal


@pytest.mark.parametrize(
    "url",
    ["wss://voice.example.com", "ws://10.0.0.1:7880", "wss://[2001:db8::1]:443/rtc?x=y", "wss://voice.example.com/#a"],
)
def test_a_url_that_clients_can_use(url: str) -> None:
    assert Signal.model_validate({"externalUrl": url}).external_url == url


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://x", id="not a WebSocket"),
        pytest.param("wss://", id="no host"),
        pytest.param("wss://user@voice.example.com", id="somebody's name in it"),
        pytest.param("wss://voice.example.com:0", id="no port"),
        pytest.param("wss://voice.example.com/a b", id="a space"),
    ],
)
def test_a_url_that_they_cannot_is_named(url: str) -> None:
    with pytest.raises(ValidationError, match="externalUrl"):
        Signal.model_validate({"externalUrl": url})
