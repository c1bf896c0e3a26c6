"""OpenAI's text-to-speech as its real plugin uses it, spoken by the stand-in."""

import pytest
from livekit.agents import APIConnectOptions, APIError, APIStatusError
from livekit.plugins import openai

from tests.providers.audio import Samples, from_pcm16
from tests.providers.recognition import RATE, Recognised, Recogniser
from tests.providers.script import AGENT_LINES, ANSWERS
from tests.providers.speech import AGENT_VOICE, prepare
from tests.wire.providers.conftest import StandIn

_ONCE = APIConnectOptions(max_retry=0, timeout=2)
_ANSWER = ANSWERS["What are your opening hours?"]


async def _say(stand_in: StandIn, **options: object) -> Samples:
    settings: dict[str, object] = {"api_key": stand_in.keys.openai, "model": "kokoro", "voice": "af_heart"}
    tts = openai.TTS(base_url=stand_in.url, **{**settings, "response_format": "pcm", **options})  # type: ignore[arg-type]
    try:
        async with tts.synthesize(_ANSWER, conn_options=_ONCE) as stream:
            return from_pcm16(b"".join([bytes(audio.frame.data) async for audio in stream]))
    finally:
        await tts.aclose()


@pytest.mark.parametrize(
    ("model", "written"), [("kokoro", "pcm"), ("kokoro", "wav"), ("gpt-4o-mini-tts", "pcm"), ("tts-1", "pcm")]
)
async def test_an_answer_is_spoken_in_full(stand_in: StandIn, model: str, written: str) -> None:
    samples = await _say(stand_in, model=model, response_format=written)
    found = Recogniser(prepare(AGENT_LINES, RATE, AGENT_VOICE)).recognise(samples, 24000)
    assert isinstance(found, Recognised)
    assert (found.text, found.complete) == (_ANSWER, True)


@pytest.mark.parametrize(
    ("fault", "key", "status"), [({}, "wrong", 401), ({"status": 429}, "", 429), ({"status": 500}, "", 500)]
)
async def test_a_refusal_is_told(stand_in: StandIn, fault: dict[str, object], key: str, status: int) -> None:
    stand_in.control.change({"faults": {"speech": fault}})
    with pytest.raises(APIStatusError) as error:
        await _say(stand_in, api_key=key or stand_in.keys.openai)
    assert error.value.status_code == status


async def test_a_stream_that_breaks_is_an_error(stand_in: StandIn) -> None:
    stand_in.control.change({"faults": {"speech": {"drop_after": 1}}})
    with pytest.raises(APIError):
        await _say(stand_in)
