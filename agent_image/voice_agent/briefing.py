"""Tells the agent of its call what its prompts ask for: the room, and the first person in it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext
from livekit.agents.llm import RealtimeError

from . import templates
from .config import AgentConfig
from .ending import is_ending, utter
from .presence import people
from .templates import Facts

logger = logging.getLogger(__name__)


def opening(config: AgentConfig, ctx: JobContext) -> str:
    """What the agent is told before it has joined the room, by what the server sent with the job."""
    if not config.prompt_templates:
        return config.instructions
    room = ctx.job.room
    return templates.instructions(config.instructions, Facts(room_name=room.name, room_metadata=room.metadata))


def facts_of(room: rtc.Room, person: rtc.RemoteParticipant | None) -> Facts:
    """What is known in the room."""
    if person is None:
        return Facts(room_name=room.name, room_metadata=room.metadata or "")
    return Facts(
        room_name=room.name,
        room_metadata=room.metadata or "",
        identity=person.identity,
        name=person.name,
        metadata=person.metadata,
        attributes=tuple(person.attributes.items()),
    )


class Briefing:
    """Of one call: instructions are told again when the first person is there, and a greeting that names one waits."""

    def __init__(self, ctx: JobContext, session: AgentSession[Any], agent: Agent, config: AgentConfig) -> None:
        self._ctx = ctx
        self._session = session
        self._agent = agent
        self._config = config
        self._greeted = not config.greeting
        self._meeting: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin; the room must be joined and the session started."""
        if present := people(self._ctx.room):
            await self._meet(present[0])
            return
        self._ctx.room.on("participant_connected", self._on_joined)
        await self._instruct(None)
        if not templates.names_participant(self._config.greeting or ""):
            self._greet(None)

    def _on_joined(self, _: rtc.RemoteParticipant) -> None:
        # recorders and other agents join as well
        if self._meeting is None and (present := people(self._ctx.room)):
            self._meeting = asyncio.create_task(self._meet(present[0]), name="briefing")

    async def _meet(self, person: rtc.RemoteParticipant) -> None:
        await self._instruct(person)
        self._greet(person)

    async def _instruct(self, person: rtc.RemoteParticipant | None) -> None:
        told = templates.instructions(self._config.instructions, facts_of(self._ctx.room, person))
        if told != self._agent.instructions:
            try:
                await self._agent.update_instructions(told)
            except RealtimeError:
                logger.exception("the realtime model does not take its instructions")

    def _greet(self, person: rtc.RemoteParticipant | None) -> None:
        if self._greeted or is_ending(self._session):
            return
        self._greeted = True
        # a realtime model reads the words as an instruction
        quoted = self._session.tts is None
        words = templates.render(self._config.greeting or "", facts_of(self._ctx.room, person), quoted=quoted)
        try:
            if words.strip():
                utter(self._session, words)
        except RuntimeError:  # the session closes
            logger.info("the call is over, nobody is greeted")
