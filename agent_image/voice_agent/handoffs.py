"""Several agents in one call, who hand the caller over to each other.

The model of the one who speaks calls a function for that. The next one has the same tools and all that was said, and
speaks first: its greeting, or an answer to what was said last.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from livekit.agents import Agent, JobContext, RunContext, ToolError
from livekit.agents.llm import Tool, Toolset, function_tool

from . import templates
from .briefing import facts_of
from .config import AgentConfig, HandoffConfig
from .ending import utter
from .never_say import CarefulAgent
from .presence import people

logger = logging.getLogger(__name__)

FUNCTION = "hand_over"


class Successor(Agent):
    """One to whom a caller was handed over."""

    words = ""
    """What it says first; its model answers when empty."""

    async def on_enter(self) -> None:
        """Speak first."""
        if self.words:
            utter(self.session, self.words)
        else:
            self.session.generate_reply()


class CarefulSuccessor(Successor, CarefulAgent):
    """The same, who never says some words."""


class Team:
    """The agents of one call."""

    def __init__(self, ctx: JobContext, config: AgentConfig) -> None:
        self._ctx = ctx
        self._config = config
        self._agents = {one.name: one for one in config.agents}
        self._greeted = set(list(self._agents)[:1])  # it greets at the beginning of the call

    def of_the_first(self) -> list[Tool]:
        """The function by which the one who begins hands over; none where there is nobody else."""
        return [self._function(one) for one in self._config.agents[:1] if one.handoff_to]

    def _function(self, one: HandoffConfig) -> Tool:
        choices = [f"{to} ({why})" if (why := self._agents[to].description) else to for to in one.handoff_to]
        to = {"type": "string", "enum": list(one.handoff_to), "description": f"To whom: {'; '.join(choices)}."}

        async def hand_over(ctx: RunContext[Any], raw_arguments: dict[str, object]) -> Agent:
            name = str(raw_arguments.get("to"))
            if name not in one.handoff_to:
                raise ToolError(f"{FUNCTION} failed: to must be one of {', '.join(one.handoff_to)}.")
            logger.info("the caller is handed over", extra={"to": name})
            return self._successor(self._agents[name], ctx.session.current_agent, quoted=ctx.session.tts is None)

        parameters = {"type": "object", "properties": {"to": to}, "required": ["to"]}
        description = "Hands the caller over to another agent, who has heard all of the call and goes on by itself."
        return function_tool(
            hand_over, raw_schema={"name": FUNCTION, "description": description, "parameters": parameters}
        )

    def _successor(self, one: HandoffConfig, before: Agent, *, quoted: bool) -> Successor:
        present = people(self._ctx.room)
        facts = facts_of(self._ctx.room, present[0] if present else None)
        told, words = one.instructions, "" if one.name in self._greeted else one.greeting or ""
        if self._config.prompt_templates:
            told, words = templates.instructions(told, facts), templates.render(words, facts, quoted=quoted)
        self._greeted.add(one.name)
        tools = self._tools(one, before.tools)
        chat = before.chat_ctx.copy(exclude_instructions=True, exclude_config_update=True)
        successor = (
            CarefulSuccessor(self._config.never_say, instructions=told, tools=tools, chat_ctx=chat)
            if self._config.never_say
            else Successor(instructions=told, tools=tools, chat_ctx=chat)
        )
        successor.words = words.strip()
        return successor

    def _tools(self, one: HandoffConfig, before: Sequence[Tool | Toolset]) -> list[Tool | Toolset]:
        shared = [tool for tool in before if tool.id != FUNCTION]
        return [*shared, self._function(one)] if one.handoff_to else shared
