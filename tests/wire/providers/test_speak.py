"""The real Deepgram voice of the agents, spoken by the stand-in."""

import asyncio

import numpy as np
import pytest
from livekit.agents import APIConnectOptions, APIError, APIStatusError
from livekit.plugins import deepgram

from tests.providers.audio import Samples, from_pcm16, level_dbfs
from tests.providers.recognition import RATE, Recognised, Recogniser
from tests.providers.script import AGENT_LINES, ANSWERS
from tests.providers.speech import AGENT_VOICE, prepare, speak
from tests.wire.providers.conftest import StandIn

_ONCE = APIConnectOptions(max_retry=0, timeout=2)
_ANSWER = ANSWERS["What are your opening hours?"]


def _tts(stand_in: StandIn, **options: object) -> deepgram.TTS:
    settings: dict[str, object] = {"api_key": stand_in.keys.deepgram, **options}
    return deepgram.TTS(base_url=f"{stand_in.url}/speak", http_session=stand_in.session, **settings)  # type: ignore[arg-type]


async def _say(tts: deepgram.TTS, text: str) -> Samples:
    """What the agent would play for a text that arrives word by word."""
    stream = tts.stream(conn_options=_ONCE)
    try:
        for word in text.split(" "):
            stream.push_text(word + " ")
        stream.end_input()
        pcm = b"".join([bytes(audio.frame.data) async for audio in stream])
    finally:
        await stream.aclose()
        await tts.aclose()
    return from_pcm16(pcm)


@pytest.mark.parametrize("rate", [24000, 16000, 48000])
async def test_an_answer_is_spoken_in_full_at_the_rate_asked_for(stand_in: StandIn, rate: int) -> None:
    samples = await _say(_tts(stand_in, sample_rate=rate), _ANSWER)
    assert len(samples) / rate == pytest.approx(speak(_ANSWER, rate, AGENT_VOICE).seconds, abs=0.05)
    found = Recogniser(prepare(AGENT_LINES, RATE, AGENT_VOICE)).recognise(samples, rate)
    assert isinstance(found, Recognised)
    assert (found.text, found.complete) == (_ANSWER, True)


async def test_several_sentences_are_spoken_in_order(stand_in: StandIn) -> None:
    long = ANSWERS["Please tell me about your practice."]
    samples = await _say(_tts(stand_in), long)
    assert 13 < len(samples) / 24000 < 18
    said = [event["detail"]["text"] for event in stand_in.control.events() if event["event"] == "said"]
    assert said[0] == long


async def test_unknown_text_is_spoken_too(stand_in: StandIn) -> None:
    samples = await _say(_tts(stand_in), "A sentence that nobody prepared.")
    assert level_dbfs(samples) > -30
    assert np.count_nonzero(samples) > 24000


async def test_a_wrong_key_is_refused(stand_in: StandIn) -> None:
    with pytest.raises(APIStatusError) as error:
        await _say(_tts(stand_in, api_key="wrong"), _ANSWER)
    assert error.value.status_code == 401


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_status_can_be_injected(stand_in: StandIn, status: int) -> None:
    stand_in.control.change({"faults": {"tts": {"status": status}}})
    with pytest.raises(APIStatusError) as error:
        await _say(_tts(stand_in), _ANSWER)
    assert error.value.status_code == status


@pytest.mark.parametrize("fault", [{"drop_after": 5}, {"hang": True}])
async def test_a_stream_that_breaks_or_hangs_is_an_error(stand_in: StandIn, fault: dict[str, object]) -> None:
    stand_in.control.change({"faults": {"tts": fault}})
    with pytest.raises(APIError):
        await _say(_tts(stand_in), _ANSWER)


async def test_first_audio_can_be_delayed(stand_in: StandIn) -> None:
    stand_in.control.change({"delays": {"tts_first_audio_ms": 250}})
    begin = asyncio.get_running_loop().time()
    await _say(_tts(stand_in), _ANSWER)
    assert asyncio.get_running_loop().time() - begin >= 0.25
