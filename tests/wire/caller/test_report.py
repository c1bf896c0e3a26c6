"""What a report tells: words recognised in its sound, JSON, and a conversation to read."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.caller.attribution import Parts, parts
from tests.caller.heard import recognise
from tests.caller.hearing import RATE
from tests.caller.report import Audio, CallReport, Event, Turn, heard
from tests.caller.transport import Path as NetworkPath
from tests.providers.audio import Samples
from tests.providers.script import AGENT_LINES, ANSWERS, GREETING, LONG_QUESTION, sentences
from tests.providers.speech import AGENT_VOICE, CALLER_VOICE, speak

_QUESTION = "What are your opening hours?"


def _said(*lines: str, voice: str = AGENT_VOICE) -> tuple[Samples, list[tuple[float, float]]]:
    """Lines spoken one after the other, and the stretches in which they sound."""
    sound: list[Samples] = []
    stretches, at = [], 0.0
    for line in lines:
        for sentence in sentences(line):
            samples = speak(sentence, RATE, voice).samples
            loud = np.flatnonzero(np.abs(samples) > 0.005)
            stretches.append((at + loud[0] / RATE, at + loud[-1] / RATE))
            sound += [samples, np.zeros(RATE // 2, dtype=np.float32)]
            at += len(samples) / RATE + 0.5
    return np.concatenate(sound), stretches


def _report(samples: Samples, stretches: list[tuple[float, float]], **changes: object) -> CallReport:
    fields: dict[str, object] = {
        "room": "support-42",
        "identity": "alice",
        "url": "wss://voice.example.com",
        "placed_at_ms": 1000.0,
        "connected_ms": 137.0,
        "agent_present_ms": 543.0,
        "greeting_ms": 756.0,
        "ended_ms": len(samples) / RATE * 1000,
        "turns": (Turn(_QUESTION, 3000.0, 4200.0, 928.0),),
        "heard": recognise(samples, RATE, stretches),
        "sounds_ms": tuple((start * 1000, end * 1000) for start, end in stretches),
        "stalls_ms": (),
        "transcripts": (),
        "paths": (NetworkPath("both ways", "udp", "10.0.0.1", 50123, "host", "host", None, 1.0),),
        "reception": None,
        "events": (Event(137.0, "connected"), Event(680.0, "agent joined", "agent-AJ_1")),
        "disconnect_reason": None,
        "microphone_late_frames": 0,
        "audio": Audio(RATE, samples, np.zeros_like(samples)),
    }
    return CallReport(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_agents_lines_are_heard_in_the_sound() -> None:
    report = _report(*_said(*AGENT_LINES))
    assert heard(report) == list(AGENT_LINES)


def test_an_answer_cut_off_is_not_heard_to_its_end() -> None:
    samples, stretches = _said(ANSWERS[LONG_QUESTION])
    cut = round(3.0 * RATE)
    kept = [(start, min(end, 3.0)) for start, end in stretches if start < 3.0]
    report = _report(samples[:cut], kept)
    assert heard(report) == []
    assert report.heard[0].text.startswith("We are a small dental practice")


def test_silence_noise_and_the_callers_own_voice_are_no_words_of_the_agent() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    assert heard(_report(silence, [])) == []
    noise = np.random.default_rng(3).normal(0, 0.1, 2 * RATE).astype(np.float32)
    assert heard(_report(noise, [(0.0, 2.0)])) == []
    assert heard(_report(*_said(_QUESTION, voice=CALLER_VOICE))) == []


def test_other_lines_than_the_scripts_can_be_listened_for() -> None:
    line = "Welcome to the city library."
    report = _report(*_said(line))
    assert heard(report) == []
    assert heard(report, [GREETING, line]) == [line]


def test_json_holds_every_figure_and_no_sound() -> None:
    document = json.loads(_report(*_said(GREETING)).to_json())
    assert document["greeting_ms"] == 756.0
    assert document["turns"][0]["reply_ms"] == 928.0
    assert document["paths"][0]["remote_port"] == 50123
    assert "audio" not in document


def test_the_text_reads_as_a_conversation() -> None:
    text = _report(*_said(GREETING)).to_text()
    lines = text.splitlines()
    assert lines[0].split(maxsplit=1) == ["0.000", "calling wss://voice.example.com, room support-42, as alice"]
    assert any(f"agent:  {GREETING}" in line for line in lines)
    assert any(f"caller: {_QUESTION}" in line for line in lines)
    assert "UDP to 10.0.0.1:50123" in lines[-1]
    times = [float(line.split()[0]) for line in lines[:-2]]
    assert times == sorted(times)


def test_pauses_are_gaps_only_when_long_enough() -> None:
    report = _report(*_said(GREETING), sounds_ms=((0.0, 1000.0), (1300.0, 2000.0), (4000.0, 5000.0)))
    assert report.silences_ms(500) == ((2000.0, 4000.0),)
    assert len(report.silences_ms(100)) == 2


def test_the_recording_has_the_caller_left_and_the_agent_right(tmp_path: Path) -> None:
    samples, stretches = _said(GREETING)
    _report(samples, stretches).write_wav(tmp_path / "call.wav")
    with wave.open(str(tmp_path / "call.wav")) as recording:
        assert (recording.getnchannels(), recording.getframerate()) == (2, RATE)
        both = np.frombuffer(recording.readframes(recording.getnframes()), dtype="<i2").reshape(-1, 2)
    assert not both[:, 0].any()
    assert np.allclose(both[:, 1] / 32768, samples, atol=1e-3)


@pytest.mark.parametrize("port", [50100, 50123, 50200])
def test_a_path_knows_whether_its_port_is_allowed(port: int) -> None:
    path = NetworkPath("both ways", "udp", "10.0.0.1", port, "host", "host", None, None)
    assert path.lies_in(range(50100, 50201))
    assert not path.lies_in(range(50000, port))
    assert not path.lies_in(range(port + 1, 50300))


def _log(*entries: tuple[float, str, str, dict[str, str]]) -> list[dict[str, object]]:
    return [
        {"seq": seq, "at_ms": at, "provider": provider, "event": event, "detail": detail}
        for seq, (at, provider, event, detail) in enumerate(entries, start=1)
    ]


def test_a_reply_is_taken_apart() -> None:
    report = _report(*_said(GREETING))
    log = _log(
        (5720.0, "stt", "heard", {"text": _QUESTION}),
        (5730.0, "llm", "asked", {"question": _QUESTION}),
        (5735.0, "llm", "first_token", {}),
        (5760.0, "tts", "asked", {}),
        (5765.0, "tts", "first_audio", {}),
    )
    found = parts(report, report.turns[0], log)
    assert found == Parts(520.0, 10.0, 5.0, 25.0, 5.0, 363.0)
    assert parts(report, report.turns[0], log[:3]) is None
