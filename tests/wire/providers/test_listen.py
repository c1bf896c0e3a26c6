"""The real Deepgram client of the agents, hearing through the stand-in."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, APIStatusError
from livekit.agents.stt import SpeechEvent, SpeechEventType
from livekit.plugins import deepgram

from tests.caller.waiting import Changes
from tests.providers.audio import Samples, resample, to_pcm16
from tests.providers.script import CALLER_LINES
from tests.providers.speech import CALLER_VOICE, speak
from tests.wire.providers.conftest import StandIn
from tests.wire.providers.opus import through_opus

_RATE = 16000
_ONCE = APIConnectOptions(max_retry=0, timeout=5)
_QUESTION = CALLER_LINES[0]


def _stt(stand_in: StandIn, **options: object) -> deepgram.STT:
    settings: dict[str, object] = {"endpointing_ms": 500, "api_key": stand_in.keys.deepgram, **options}
    return deepgram.STT(base_url=f"{stand_in.url}/listen", http_session=stand_in.session, **settings)  # type: ignore[arg-type]


def _frames(samples: Samples) -> list[rtc.AudioFrame]:
    pcm, step = to_pcm16(samples), 2 * _RATE // 100
    return [rtc.AudioFrame(pcm[at : at + step], _RATE, 1, step // 2) for at in range(0, len(pcm) - step + 1, step)]


async def _events(stream: deepgram.SpeechStream) -> AsyncIterator[SpeechEvent]:
    async for event in stream:
        if event.type is not SpeechEventType.RECOGNITION_USAGE:
            yield event


async def _listen(stand_in: StandIn, stt: deepgram.STT, samples: Samples) -> list[SpeechEvent]:
    """Everything the client made of the sound."""
    stream = stt.stream(conn_options=_ONCE)
    for frame in _frames(samples):
        stream.push_frame(frame)
    stream.end_input()

    async def collect() -> list[SpeechEvent]:
        return [event async for event in _events(stream)]

    def closed() -> bool:
        return collecting.done() or any(event["event"] == "closed" for event in stand_in.control.events())

    collecting = asyncio.create_task(collect())
    # The client's keep-alive would hold its stream open for five seconds more; once it has answered the stand-in's
    # close, it has read every result.
    await Changes().until(closed, 10, "the stream to be closed")
    stand_in.control.clear_log()
    await stream.aclose()
    return await collecting


def _silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * _RATE), dtype=np.float32)


def _spoken(line: str) -> Samples:
    sound = np.pad(speak(line, 48000, CALLER_VOICE).samples * 0.4, 4800)
    return resample(through_opus(sound), 48000, _RATE)


def _finals(events: list[SpeechEvent]) -> list[str]:
    return [event.alternatives[0].text for event in events if event.type is SpeechEventType.FINAL_TRANSCRIPT]


async def test_a_question_is_heard_with_its_interims_and_its_end(stand_in: StandIn) -> None:
    events = await _listen(stand_in, _stt(stand_in), np.concatenate([_silence(0.5), _spoken(_QUESTION), _silence(1)]))
    kinds = [event.type for event in events]
    assert kinds[0] is SpeechEventType.START_OF_SPEECH
    assert SpeechEventType.INTERIM_TRANSCRIPT in kinds
    assert kinds[-1] is SpeechEventType.END_OF_SPEECH
    assert _finals(events) == [_QUESTION]
    interims = [e.alternatives[0].text for e in events if e.type is SpeechEventType.INTERIM_TRANSCRIPT]
    assert all(_QUESTION.startswith(text) for text in interims)
    final = next(event for event in events if event.type is SpeechEventType.FINAL_TRANSCRIPT).alternatives[0]
    assert final.words is not None
    assert [str(word) for word in final.words] == _QUESTION.split()
    assert 0.4 < final.start_time < 0.8


async def test_end_of_speech_comes_after_the_silence_asked_for(stand_in: StandIn) -> None:
    stream = _stt(stand_in, endpointing_ms=500).stream(conn_options=_ONCE)
    events = _events(stream)

    async def until(wanted: SpeechEventType) -> list[SpeechEvent]:
        received: list[SpeechEvent] = []
        async with asyncio.timeout(5):
            async for event in events:
                received.append(event)
                if event.type is wanted:
                    break
        return received

    for frame in _frames(np.concatenate([_spoken(_QUESTION), _silence(0.35)])):
        stream.push_frame(frame)
    assert _finals(await until(SpeechEventType.INTERIM_TRANSCRIPT)) == []
    for frame in _frames(_silence(0.3)):
        stream.push_frame(frame)
    assert _finals(await until(SpeechEventType.END_OF_SPEECH)) == [_QUESTION]
    await stream.aclose()
    heard = [event for event in stand_in.control.events() if event["event"] == "heard"]
    assert 500 <= heard[0]["detail"]["after_ms"] <= 560


async def test_two_questions_in_one_stream_are_two_results(stand_in: StandIn) -> None:
    sound = np.concatenate([_spoken(CALLER_LINES[1]), _silence(1), _spoken(CALLER_LINES[3]), _silence(1)])
    assert _finals(await _listen(stand_in, _stt(stand_in), sound)) == [CALLER_LINES[1], CALLER_LINES[3]]


async def test_a_line_cut_by_the_end_of_input_is_finalised(stand_in: StandIn) -> None:
    sound = _spoken(_QUESTION)
    finals = _finals(await _listen(stand_in, _stt(stand_in), sound[: len(sound) // 2]))
    assert finals == ["What are your"]


@pytest.mark.parametrize("endpointing_ms", [25, 100])
async def test_short_endpointing_loses_no_word(stand_in: StandIn, endpointing_ms: int) -> None:
    line = "Stop, please, I have another question."
    sound = np.concatenate([_spoken(line), _silence(1)])
    finals = _finals(await _listen(stand_in, _stt(stand_in, endpointing_ms=endpointing_ms), sound))
    assert line.endswith(finals[-1])


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(_silence(3), id="silence"),
        pytest.param(np.random.default_rng(1).normal(0, 0.05, 4 * _RATE).astype(np.float32), id="noise"),
        pytest.param(
            np.pad(speak("My brother sells used bicycles online.", _RATE, CALLER_VOICE).samples, (0, _RATE)),
            id="unknown speech",
        ),
    ],
)
async def test_what_is_no_known_line_gives_no_words(stand_in: StandIn, sound: Samples) -> None:
    events = await _listen(stand_in, _stt(stand_in), sound)
    assert [event for event in events if event.alternatives and event.alternatives[0].text] == []


async def test_a_wrong_key_is_refused(stand_in: StandIn) -> None:
    with pytest.raises(APIStatusError) as error:
        await _listen(stand_in, _stt(stand_in, api_key="wrong"), _silence(1))
    assert error.value.status_code == 401


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_status_can_be_injected(stand_in: StandIn, status: int) -> None:
    stand_in.control.change({"faults": {"stt": {"status": status, "times": 1}}})
    with pytest.raises(APIStatusError) as error:
        await _listen(stand_in, _stt(stand_in), _silence(1))
    assert error.value.status_code == status
    sound = np.concatenate([_spoken(_QUESTION), _silence(1)])
    assert _finals(await _listen(stand_in, _stt(stand_in), sound)) == [_QUESTION]


async def test_the_stream_can_drop(stand_in: StandIn) -> None:
    stand_in.control.change({"faults": {"stt": {"drop_after": 1}}})
    stream = _stt(stand_in).stream(conn_options=_ONCE)
    for frame in _frames(np.concatenate([_spoken(_QUESTION), _silence(1)])):
        stream.push_frame(frame)
    with pytest.raises(APIError):
        async for _ in stream:
            pass
    await stream.aclose()


async def test_a_final_can_be_delayed(stand_in: StandIn) -> None:
    stand_in.control.change({"delays": {"stt_final_ms": 300}})
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await _listen(stand_in, _stt(stand_in), np.concatenate([_spoken(_QUESTION), _silence(1)]))
    assert loop.time() - begin >= 0.3
