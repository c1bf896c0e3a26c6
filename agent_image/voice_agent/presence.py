"""Who is in the room, and when the agent has nobody left to talk to."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, JobContext
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.agents.voice.room_io.types import DEFAULT_CLOSE_ON_DISCONNECT_REASONS

logger = logging.getLogger(__name__)

# Somebody whose network broke may be back in a moment; somebody who hung up will not.
RETURN_GRACE = 10.0


def people(room: rtc.Room) -> list[rtc.RemoteParticipant]:
    """The participants an agent talks to: neither agents nor recorders."""
    return [person for person in room.remote_participants.values() if person.kind in DEFAULT_PARTICIPANT_KINDS]


def seconds_to_wait(reason: int | None) -> float:
    """How long to stay after the last one left for this reason."""
    return 0.0 if reason in DEFAULT_CLOSE_ON_DISCONNECT_REASONS else RETURN_GRACE


def leave_with_the_last(ctx: JobContext, session: AgentSession[Any]) -> None:
    """End the job when the last person left; listen to another one when the one listened to left."""

    def leave_if_alone() -> None:
        if not people(ctx.room):
            ctx.shutdown("the last participant left")

    @ctx.room.on("participant_disconnected")
    def on_left(person: rtc.RemoteParticipant) -> None:
        others = people(ctx.room)
        if not others:
            asyncio.get_running_loop().call_later(seconds_to_wait(person.disconnect_reason), leave_if_alone)
            return
        linked = session.room_io.linked_participant
        if linked is None or linked.identity == person.identity:
            logger.info("listening to another participant")
            session.room_io.set_participant(others[0].identity)
