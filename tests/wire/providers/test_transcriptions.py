"""OpenAI's speech-to-text as its real plugin uses it, heard by the stand-in."""

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, APIStatusError
from livekit.plugins import openai

from tests.providers.audio import to_pcm16
from tests.providers.script import CALLER_LINES
from tests.providers.speech import CALLER_VOICE, speak
from tests.wire.providers.conftest import StandIn

_ONCE = APIConnectOptions(max_retry=0, timeout=2)
_LINE = CALLER_LINES[0]


async def _hear(stand_in: StandIn, frame: rtc.AudioFrame, **options: object) -> str:
    """What the plugin hears in a sound."""
    settings: dict[str, object] = {"api_key": stand_in.keys.openai, "model": "whisper", "base_url": stand_in.url}
    stt = openai.STT(**{**settings, **options})  # type: ignore[arg-type]
    try:
        return (await stt.recognize(frame, conn_options=_ONCE)).alternatives[0].text
    finally:
        await stt._client.close()


def utterance(text: str, rate: int = 16000) -> rtc.AudioFrame:
    """Return what voice activity cuts out of a call: speech with silence around it."""
    silence = np.zeros(rate // 2, dtype=np.float32)
    samples = np.concatenate([silence, speak(text, rate, CALLER_VOICE).samples, silence])
    return rtc.AudioFrame(to_pcm16(samples), rate, 1, len(samples))


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
@pytest.mark.parametrize("model", ["whisper", "whisper-1"])
async def test_an_utterance_is_heard(stand_in: StandIn, model: str, rate: int) -> None:
    assert await _hear(stand_in, utterance(_LINE, rate), model=model) == _LINE


async def test_silence_is_no_words(stand_in: StandIn) -> None:
    silence = rtc.AudioFrame(bytes(32000), 16000, 1, 16000)
    assert await _hear(stand_in, silence) == ""


@pytest.mark.parametrize(
    ("fault", "key", "status"), [({}, "wrong", 401), ({"status": 429}, "", 429), ({"status": 500}, "", 500)]
)
async def test_a_refusal_is_told(stand_in: StandIn, fault: dict[str, object], key: str, status: int) -> None:
    stand_in.control.change({"faults": {"transcriptions": fault}})
    with pytest.raises(APIStatusError) as error:
        await _hear(stand_in, utterance(_LINE), api_key=key or stand_in.keys.openai)
    assert error.value.status_code == status


async def test_nobody_there_is_an_error(stand_in: StandIn) -> None:
    with pytest.raises(APIError):
        await _hear(stand_in, utterance(_LINE), base_url="http://127.0.0.1:9/v1")
