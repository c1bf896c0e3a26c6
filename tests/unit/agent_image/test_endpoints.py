"""Which address a base URL leads to."""

import pytest

from voice_agent.config import AgentConfig
from voice_agent.endpoints import deepgram_url, openai_url, realtime_url
from voice_agent.provider_checks import listen_url, speak_url


@pytest.mark.parametrize(
    ("base_url", "listen", "openai"),
    [
        (None, "https://api.deepgram.com/v1/listen", "https://api.openai.com/v1"),
        ("https://gateway.example/v1", "https://gateway.example/v1/listen", "https://gateway.example/v1"),
        ("https://gateway.example/v1/", "https://gateway.example/v1/listen", "https://gateway.example/v1"),
        ("http://127.0.0.1:8090/v1", "http://127.0.0.1:8090/v1/listen", "http://127.0.0.1:8090/v1"),
        ("ws://gateway/a/v1", "ws://gateway/a/v1/listen", "http://gateway/a/v1"),
        ("wss://gateway/v1", "wss://gateway/v1/listen", "https://gateway/v1"),
    ],
)
def test_base_urls(base_url: str | None, listen: str, openai: str) -> None:
    assert deepgram_url(base_url, "listen") == listen
    assert openai_url(base_url) == openai
    assert realtime_url(base_url) == f"{openai}/realtime"


def test_checks_ask_what_the_plugins_will_ask(config: AgentConfig) -> None:
    assert listen_url(config.stt).startswith("wss://api.deepgram.com/v1/listen?model=nova-3&language=en-US&")
    assert "endpointing=500" in listen_url(config.stt)
    assert speak_url(config.tts) == (
        "wss://api.deepgram.com/v1/speak?model=aura-2-andromeda-en&encoding=linear16&sample_rate=24000"
    )
