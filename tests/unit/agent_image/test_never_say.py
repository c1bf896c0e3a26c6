"""Words that are never said: found however a text is cut, and nothing else is touched."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.agents import Agent, ModelSettings
from livekit.agents.voice.io import TimedString

from voice_agent.never_say import CarefulAgent, Filter, without

LISTED = ["darn", "Acme Corp", "C++", "straße", "café", "don't", "敏感", "คำ", "क"]


def said(words: list[str], *pieces: str) -> str:
    rest = Filter(words)
    return "".join([*(rest.feed(piece) for piece in pieces), rest.end()])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("What a darn thing.", "What a thing."),
        ("What a darn.", "What a ."),
        ("Darn", ""),
        ("DARN it", "it"),
        ("darned undarn darn_it darn1 \u2011 darnç", "darned undarn darn_it darn1 \u2011 darnç"),
        ("(darn)", "()"),
        ("**darn**", "****"),
        ("darn darn-darn", "-"),
        ("acme corp and ACME\n  Corp, not Acme or Corp", "and , not Acme or Corp"),
        ("Acme Corporation", "Acme Corporation"),
        ("C++ or C+ or C", "or C+ or C"),
        ("STRASSE und Strasse, Strassen", "und , Strassen"),
        ("cafe\u0301 caf\u00e9 cafe cafes", "cafe cafes"),
        ("d\u200barn", ""),
        ("I don't know", "I know"),
        ("这是敏感词吗", "这是词吗"),
        ("ถ้อยคำนี้", "ถ้อยนี้"),
        ("क कि किताब", "कि किताब"),
        ("\uff44\uff41\uff52\uff4e", ""),
        ("", ""),
        ("  \n ", "  \n "),
    ],
)
def test_what_is_left(text: str, left: str) -> None:
    assert said(LISTED, text) == left
    assert said(LISTED, *text) == left, "letter by letter"


@given(st.lists(st.sampled_from(["da", "rn", "darn", " ", "Acme", "Corp", "x", ".", "cafe", "\u0301", "C", "+"])))
def test_it_does_not_matter_how_a_text_is_cut(pieces: list[str]) -> None:
    assert said(LISTED, *pieces) == said(LISTED, "".join(pieces))


@given(st.text())
def test_a_text_without_listed_words_is_as_it_was(text: str) -> None:
    assert said(["\U0001f9ff\U0001f9ff\U0001f9ff"], text) == text
    assert said([], text) == text


def test_the_longest_entry_counts() -> None:
    assert said(["new", "New York"], "New York, new Yorkers") == ", Yorkers"


def test_no_more_is_held_back_than_a_word_or_half_an_entry() -> None:
    rest = Filter(["darn", "Acme Corp"])
    assert [rest.feed(piece) for piece in ("Hello", " dog,", " da", "rn", "ed Acme ", "C", "o. ", "Acme ")] == [
        "", "Hello dog", ",", "", " darned", "", " Acme Co. ", "",
    ]  # fmt: skip
    assert rest.end() == "Acme "


async def pieces(*of: Any) -> AsyncIterator[Any]:
    for piece in of:
        yield piece


async def test_what_is_no_text_passes_in_order() -> None:
    end_of_part, timed = object(), TimedString("darn", start_time=1.0)
    got = [piece async for piece in without(["darn"], pieces("A da", end_of_part, "rn", timed, "darn"))]
    assert got == ["A", " da", end_of_part, "rn", timed]
    assert got[-1] is timed


async def test_both_speech_and_transcript_are_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    def node(self: Agent, text: AsyncIterator[str], model_settings: ModelSettings) -> AsyncIterator[str]:
        return text

    monkeypatch.setattr(Agent, "tts_node", node)
    monkeypatch.setattr(Agent, "transcription_node", node)
    agent = CarefulAgent(["darn"], instructions="x")
    for way in (agent.tts_node, agent.transcription_node):
        got = [piece async for piece in way(pieces("Well, da", "rn it"), ModelSettings())]
        assert got == ["Well,", " ", "it"]
    assert agent.instructions == "x"
