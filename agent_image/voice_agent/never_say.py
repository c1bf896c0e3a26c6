"""Words that the agent never says: taken out of what it speaks and writes, as the text comes in.

A listed entry is one word or several. It counts where it stands as whole words, in upper or lower case, however its
letters are put together (Unicode's NFKD), and however the stream cuts it. In scripts that put no spaces between words
it counts wherever it stands.
"""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, NamedTuple

from livekit.agents import Agent, ModelSettings
from livekit.agents.voice.io import TimedString

# Thai and Lao, Burmese, Khmer; Chinese, Japanese and Korean are known by their width.
_WITHOUT_SPACES = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))


class _Token(NamedTuple):
    start: int
    end: int
    key: str


def _tokens(text: str) -> list[_Token]:
    """Words, and every other character that is no space; marks and invisible characters belong to what they follow."""
    spans: list[list[int]] = []
    in_word = False
    for at, letter in enumerate(text):
        adjoins = bool(spans) and spans[-1][1] == at
        if adjoins and unicodedata.category(letter) in ("Mn", "Mc", "Me", "Cf"):
            spans[-1][1] = at + 1
            continue
        is_letter = (letter.isalnum() or letter == "_") and not _stands_alone(letter)
        if adjoins and in_word and is_letter:
            spans[-1][1] = at + 1
        elif not letter.isspace():
            spans.append([at, at + 1])
        in_word = is_letter
    return [_Token(start, end, _key(text[start:end])) for start, end in spans]


def _stands_alone(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) == "W" or any(a <= ord(letter) <= b for a, b in _WITHOUT_SPACES)


def _key(word: str) -> str:
    visible = "".join(letter for letter in word if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", visible).casefold())


class Filter:
    """Takes listed words out of one text that comes in pieces."""

    def __init__(self, words: Iterable[str]) -> None:
        listed = {tuple(token.key for token in _tokens(word)) for word in words}
        self._listed = sorted(listed, key=len, reverse=True)
        self._held = ""
        self._cut = False
        self._after_space = True

    def feed(self, piece: str) -> str:
        """Return what may be said now; a word that may go on is held back, and so is half of a listed entry."""
        self._held += piece
        return self._take(final=False)

    def end(self) -> str:
        """Return the rest, after the last piece."""
        return self._take(final=True)

    def _take(self, final: bool) -> str:
        text, tokens = self._held, _tokens(self._held)
        said, done, at = "", 0, 0
        while at < len(tokens):
            goes_on = not final and tokens[at].end == len(text)
            length = None if goes_on else self._match(tokens[at:], None if final else len(text))
            if length is None:
                break
            if length:
                said += self._tidy(text[done : tokens[at].start])
                self._cut = True
            else:
                length = 1
                said += self._tidy(text[done : tokens[at].end])
            at += length
            done = tokens[at - 1].end
        else:
            said += self._tidy(text[done:])
            done = len(text)
        self._held = text[done:]
        return said

    def _match(self, tokens: list[_Token], open_end: int | None) -> int | None:
        """How many tokens are a listed entry; None if that depends on what comes after `open_end`."""
        for entry in self._listed:
            for wanted, token in zip(entry, tokens, strict=False):
                if token.end == open_end and wanted.startswith(token.key):
                    return None
                if token.key != wanted:
                    break
            else:
                if len(entry) <= len(tokens):
                    return len(entry)
                if open_end is not None:
                    return None
        return 0

    def _tidy(self, text: str) -> str:
        """Leave one space where there was one on either side of a word that is gone."""
        if self._cut and self._after_space:
            text = text.lstrip()
        if text:
            self._cut, self._after_space = False, text[-1].isspace()
        return text


async def without(words: Iterable[str], text: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """A text without listed words. What is no text passes, and so does what speech was made of, with its times."""
    words = tuple(words)
    rest = Filter(words)
    async for piece in text:
        if isinstance(piece, str) and not isinstance(piece, TimedString):
            said = rest.feed(piece)
        else:
            if said := rest.end():
                yield said
            rest, said = Filter(words), piece
        if said:
            yield said
    if said := rest.end():
        yield said


class CarefulAgent(Agent):
    """An agent that never says some words."""

    def __init__(self, never_say: Iterable[str], **options: Any) -> None:
        super().__init__(**options)
        self._never_say = tuple(never_say)

    def tts_node(self, text: AsyncIterable[str], model_settings: ModelSettings) -> Any:
        """Speech of a text."""
        return super().tts_node(without(self._never_say, text), model_settings)

    def transcription_node(self, text: AsyncIterable[str | TimedString], model_settings: ModelSettings) -> Any:
        """What is published of a text, and remembered as said."""
        return super().transcription_node(without(self._never_say, text), model_settings)
