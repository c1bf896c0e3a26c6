"""How long a call may last, and how long nobody may speak: what is then said, and the end of the call."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from dataclasses import dataclass
from typing import Any, Protocol

from livekit import rtc
from livekit.agents import AgentSession, JobContext

from .config import LimitsConfig
from .ending import end_call, is_ending, utter
from .presence import people

logger = logging.getLogger(__name__)

# livekit-sip keeps it: these are of a phone that nobody has picked up yet
# (docs.livekit.io/reference/telephony/sip-participant).
_CALL_STATUS = "sip.callStatus"
_NOT_YET = frozenset({"dialing", "ringing"})
# Seconds of quiet after which words do not fall between a question and its answer.
PAUSE = 1.0


class Step(enum.Enum):
    """What a limit asks for."""

    WARN = "warn"
    END = "the call reached maxCallSeconds"
    END_OF_SILENCE = "nobody spoke for maxSilenceSeconds"


@dataclass
class Course:
    """How a call went so far; moments are seconds of a clock that only goes forward."""

    began: float | None = None
    """When the first person was there."""
    quiet_since: float | None = None
    """None while somebody speaks, or the agent thinks."""
    warned: bool = False


def next_step(limits: LimitsConfig, course: Course, now: float) -> Step | float | None:
    """What to do now, or the seconds until it has to be asked again; None: not before something has changed."""
    if course.began is None:
        return None
    waits = []
    if limits.max_call_seconds is not None:
        end = course.began + limits.max_call_seconds
        if now >= end:
            return Step.END
        waits.append(end)
        if limits.warn_before_seconds is not None and not course.warned:
            warning = _moment_to_warn(end, limits.warn_before_seconds, course.quiet_since)
            if now >= warning:
                return Step.WARN
            waits.append(warning)
    if limits.max_silence_seconds is not None and course.quiet_since is not None:
        over = max(course.began, course.quiet_since) + limits.max_silence_seconds
        if now >= over:
            return Step.END_OF_SILENCE
        waits.append(over)
    return min(waits) - now if waits else None


def _moment_to_warn(end: float, before: float, quiet_since: float | None) -> float:
    """When to warn: in the first pause, and without one when half of the time is over."""
    latest = end - before / 2
    return latest if quiet_since is None else min(max(end - before, quiet_since + PAUSE), latest)


class _States(Protocol):
    @property
    def agent_state(self) -> str: ...
    @property
    def user_state(self) -> str: ...


def is_quiet(session: _States) -> bool:
    """Whether nobody speaks, nor thinks of an answer."""
    return session.agent_state not in ("speaking", "thinking") and session.user_state != "speaking"


def somebody_is_there(room: rtc.Room) -> bool:
    """Whether there is a person in the room who, if called by phone, has answered."""
    return any(person.attributes.get(_CALL_STATUS) not in _NOT_YET for person in people(room))


class Keeper:
    """Holds a call to its limits, from `watch` until the session is closed."""

    def __init__(self, ctx: JobContext, session: AgentSession[Any], limits: LimitsConfig) -> None:
        self._ctx = ctx
        self._session = session
        self._limits = limits
        self._course = Course()
        self._changed = asyncio.Event()
        self._words = {
            Step.WARN: limits.warn_words,
            Step.END: limits.max_call_words,
            Step.END_OF_SILENCE: limits.max_silence_words,
        }

    def watch(self) -> None:
        """Begin; the room must be joined."""
        for event in ("participant_connected", "participant_attributes_changed"):
            self._ctx.room.on(event, lambda *_: self._note())
        for event in ("agent_state_changed", "user_state_changed"):
            self._session.on(event, lambda *_: self._note())  # type: ignore[arg-type]
        # words that voice activity has missed
        self._session.on("user_input_transcribed", lambda *_: self._note(heard=True))
        task = asyncio.create_task(self._keep(), name="limits")
        self._session.on("close", lambda *_: task.cancel())
        self._note()

    def _note(self, heard: bool = False) -> None:
        now = time.monotonic()
        if self._course.began is None and somebody_is_there(self._ctx.room):
            self._course.began = now
        if not is_quiet(self._session):
            self._course.quiet_since = None
        elif heard or self._course.quiet_since is None:
            self._course.quiet_since = now
        self._changed.set()

    async def _keep(self) -> None:
        while not is_ending(self._session):
            self._changed.clear()
            match next_step(self._limits, self._course, time.monotonic()):
                case Step.WARN:
                    self._course.warned = True
                    self._warn()
                case Step() as step:
                    words = self._words[step]
                    end_call(self._ctx, self._session, step.value, words, interrupt=step is Step.END)
                case seconds:
                    await self._wait(seconds)

    def _warn(self) -> None:
        if not (words := self._words[Step.WARN]) or not people(self._ctx.room):
            return
        try:
            # words into somebody's own would be cut off at once
            utter(self._session, words, interruptible=is_quiet(self._session))
        except RuntimeError:  # the session closes
            logger.info("the call is over, nobody is warned")

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
