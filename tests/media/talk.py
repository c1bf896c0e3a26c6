"""The talk of two: starts both processes, waits for what they hear, and reads what they tell."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.caller.secret import CallerSecret, redact
from tests.caller.waiting import Changes, NotSeenError

from .orders import LOOK, Orders
from .report import Heard

TONES = (440, 660)
_REPOSITORY = Path(__file__).resolve().parents[2]
_END_SECONDS = 10.0
# Every gap of a long talk is told in one line.
_LONGEST_LINE = 2**24


class TalkError(RuntimeError):
    """The talk did not go as it should; the message says what was waited for and what both heard."""


@dataclass(frozen=True)
class Party:
    """One of the two: who they are, and how and from where they connect."""

    secret: CallerSecret
    relay_only: bool = False
    """Use nothing but TURN."""
    namespace: Path | None = None
    """A network namespace to be in: the file that `nsenter --net=` takes."""

    @classmethod
    def of(
        cls, secret: Mapping[str, str], url_key: str = "url", *, relay_only: bool = False, namespace: Path | None = None
    ) -> "Party":
        """Take the decoded data of a token Secret."""
        return cls(CallerSecret.of(secret, url_key), relay_only, namespace)


class Talk:
    """A talk: `async with Talk(Party.of(alice), Party.of(bob)) as talk: await talk.both_hear()`."""

    def __init__(self, first: Party, second: Party) -> None:
        self._changes = Changes()
        self._voices = (
            _Voice(first, TONES[0], TONES[1], self._changes.notify),
            _Voice(second, TONES[1], TONES[0], self._changes.notify),
        )

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(voice.start() for voice in self._voices))
            await self._until(lambda: all(voice.joined for voice in self._voices), 40, "both to join")
        except BaseException:
            await self.end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()

    async def end(self) -> None:
        """Have both leave; nothing of the two processes stays."""
        await asyncio.gather(*(voice.end() for voice in self._voices))

    async def both_hear(self, seconds: float = 20) -> None:
        """Wait until each hears the other's tone, now."""
        await self._until(lambda: all(voice.hearing for voice in self._voices), seconds, "both to hear each other")

    async def silence(self, seconds: float = 30) -> None:
        """Wait until at least one no longer hears the other."""
        await self._until(lambda: not all(voice.hearing for voice in self._voices), seconds, "the sound to stop")

    async def reconnected(self, times: int = 1, seconds: float = 60) -> None:
        """Wait until each has reconnected that often."""
        what = f"both to reconnect {times} times"
        await self._until(lambda: all(v.count("reconnected") >= times for v in self._voices), seconds, what)

    async def disconnected(self, seconds: float = 60) -> None:
        """Wait until the server has ended it for both."""
        what = "both to be disconnected"
        await self._until(
            lambda: all(voice.count("disconnected") for voice in self._voices), seconds, what, may_end=True
        )

    async def look(self) -> tuple[Heard, Heard]:
        """Return what each heard of the other until now, and which way the media travels."""
        before = [voice.looks for voice in self._voices]
        for voice in self._voices:
            voice.ask()
        looked = lambda: all(v.looks > n for v, n in zip(self._voices, before, strict=True))  # noqa: E731
        await self._until(looked, 20, "both to tell what they heard", may_end=True)
        first, second = (voice.heard for voice in self._voices)
        assert first is not None
        assert second is not None
        return first, second

    async def longest_gap_ms(self, since: float = 0.0) -> float:
        """Return the longest time in which one did not hear the other, since they first did or a monotonic moment."""
        return max(heard.longest_gap_ms(since) for heard in await self.look())

    async def _until(self, condition: Callable[[], bool], seconds: float, what: str, *, may_end: bool = False) -> None:
        def over() -> bool:
            return any(voice.failure(may_end=may_end) for voice in self._voices)

        try:
            await self._changes.until(lambda: condition() or over(), seconds, what)
        except NotSeenError as error:
            raise TalkError(f"{error}\n{self._told()}") from None
        if not condition():
            why = "; ".join(filter(None, (voice.failure(may_end=may_end) for voice in self._voices)))
            raise TalkError(f"{why}, while waiting for {what}\n{self._told()}")

    def _told(self) -> str:
        return "\n".join(voice.told() for voice in self._voices)


class _Voice:
    """One talker's process."""

    def __init__(self, party: Party, sends: int, hears: int, changed: Callable[[], None]) -> None:
        self._party = party
        secret = party.secret
        self._orders = Orders(secret.url, secret.room, secret.identity, secret.token, sends, hears, party.relay_only)
        self._changed = changed
        self._process: Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._events: list[str] = []
        self._failed = ""
        self._errors: deque[str] = deque(maxlen=10)
        self._ended = False
        self.hearing = False
        self.heard: Heard | None = None
        self.looks = 0

    @property
    def joined(self) -> bool:
        return "joined" in self._events

    def count(self, event: str) -> int:
        return self._events.count(event)

    def failure(self, *, may_end: bool) -> str:
        """Why nothing more is to be expected of it; empty while there is."""
        who = self._party.secret.identity
        if self._failed:
            return f"{who}: {self._failed}"
        if self._ended:
            return f"the process of {who} ended"
        return f"{who} was disconnected" if "disconnected" in self._events and not may_end else ""

    def told(self) -> str:
        lines = [f"{self._party.secret.identity}: {', '.join(self._events) or 'told nothing'}", *self._errors]
        return "\n  ".join(lines)

    async def start(self) -> None:
        enter = ("nsenter", f"--net={self._party.namespace}", "--") if self._party.namespace else ()
        self._process = await asyncio.create_subprocess_exec(
            *(*enter, sys.executable, "-m", f"{__package__}.talker"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=_REPOSITORY,
            limit=_LONGEST_LINE,
        )
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]
        self._write(json.dumps(asdict(self._orders)))

    def ask(self) -> None:
        self._write(LOOK)

    async def end(self) -> None:
        process = self._process
        if process is None:
            return
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        await asyncio.gather(*self._readers)

    def _write(self, line: str) -> None:
        assert self._process
        assert self._process.stdin
        with contextlib.suppress(ConnectionError, RuntimeError):  # it has ended, which the reader notices
            self._process.stdin.write(f"{line}\n".encode())

    async def _read(self) -> None:
        assert self._process
        assert self._process.stdout
        async for line in self._process.stdout:
            self._take(json.loads(line))
            self._changed()
        self._ended = True
        self.hearing = False
        self._changed()

    async def _read_errors(self) -> None:
        assert self._process
        assert self._process.stderr
        async for line in self._process.stderr:
            self._errors.append(redact(line.decode(errors="replace").rstrip()))

    def _take(self, told: Mapping[str, object]) -> None:
        event = str(told["event"])
        if event == LOOK:
            assert isinstance(told["heard"], Mapping)
            self.heard = Heard.of(told["heard"])
            self.looks += 1
            return
        self._events.append(event)
        if event in ("hearing", "silent"):
            self.hearing = event == "hearing"
        elif event == "failed":
            self._failed = redact(str(told["detail"]))
