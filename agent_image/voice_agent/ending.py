"""How the agent ends a call: it says its last words, everybody leaves, and the job ends without a failure.

The room is closed, as EndCallTool of livekit-agents does (beta/tools/end_call.py): an agent that only leaves would keep
a caller on the phone in silence. A job that ends so is told as finished (docs/rooms.md), and no other agent is called.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import Any

import aiohttp
from livekit import api
from livekit.agents import NOT_GIVEN, AgentSession, JobContext
from livekit.agents.voice import SpeechHandle

from .presence import people

logger = logging.getLogger(__name__)

# Seconds that words may take beyond their own length, which is that of slow speech.
PATIENCE = 15.0
SLOW_SPEECH = 8  # letters a second
# Seconds before the server is asked again to close the room, and for one answer.
PAUSES = (0.0, 0.5, 2.0)
ANSWER_TIMEOUT = 5.0

_endings: weakref.WeakKeyDictionary[AgentSession[Any], asyncio.Task[None]] = weakref.WeakKeyDictionary()


def end_call(
    ctx: JobContext, session: AgentSession[Any], reason: str, words: str = "", *, interrupt: bool = False
) -> asyncio.Task[None]:
    """End the call, once: what is being said is said to its end, or interrupted, then `words`; then the call is over.

    May be called from anywhere. A tool must not wait for the task, which waits for the tool's own turn. `reason` is for
    the log and holds nothing that people said.
    """
    if (ending := _endings.get(session)) is None:
        logger.info("ending the call", extra={"reason": reason})
        ending = _endings[session] = asyncio.create_task(_end(ctx, session, reason, words, interrupt), name="end_call")
    return ending


def is_ending(session: AgentSession[Any]) -> bool:
    """Whether the call is being ended: nothing else is to be said."""
    return session in _endings


def utter(session: AgentSession[Any], words: str, *, interruptible: bool = True) -> SpeechHandle:
    """Have words spoken after what is being said; raises RuntimeError when the session does not run.

    A realtime model cannot be given words to speak, only be asked to say them.
    """
    if session.tts is None:
        return session.generate_reply(instructions=f"Say exactly these words and nothing else: {words}")
    return session.say(words, allow_interruptions=NOT_GIVEN if interruptible else False)


async def _end(ctx: JobContext, session: AgentSession[Any], reason: str, words: str, interrupt: bool) -> None:
    try:
        async with asyncio.timeout(PATIENCE + len(words) / SLOW_SPEECH):
            await _say_last(session, words, interrupt)
    except TimeoutError:
        logger.warning("the last words took too long")
    except Exception:
        logger.exception("the last words could not be said")
    # Whoever has hung up meanwhile needs no room to be closed, and the next caller of it may be in it.
    if ctx.room.isconnected() and people(ctx.room):
        await _close_room(ctx)
    ctx.shutdown(reason)


async def _say_last(session: AgentSession[Any], words: str, interrupt: bool) -> None:
    if interrupt:
        await session.interrupt(force=True)
    elif session.current_speech is not None:
        await session.current_speech
    if words:
        await utter(session, words, interruptible=False)


async def _close_room(ctx: JobContext) -> None:
    for pause in PAUSES:
        await asyncio.sleep(pause)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await ctx.api.room.delete_room(api.DeleteRoomRequest(room=ctx.room.name))
        except api.ServerError as error:
            if error.code == api.ServerErrorCode.NOT_FOUND:
                return
            logger.warning("the server does not close the room: %s", error.code)
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.warning("the server cannot be asked to close the room: %s", type(error).__name__)
        else:
            return
