"""What happens when a provider fails during a call: it is reported, and the agent does not stay on in silence."""

from __future__ import annotations

import logging
from typing import Any

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    CloseReason,
    ConversationItemAddedEvent,
    ErrorEvent,
    JobContext,
    UserInputTranscribedEvent,
)
from livekit.agents.llm import ChatMessage

from .config import AgentConfig
from .provider_errors import ProviderError, ProviderErrorBoard
from .runner.sessions import report_failure

logger = logging.getLogger(__name__)

_ROLES = {"stt_error": "stt", "llm_error": "llm", "tts_error": "tts"}
KEY_REFUSED = frozenset({401, 403})


def status_code(error: BaseException) -> int:
    """The HTTP status (or websocket close code) behind an error, 0 when there was no answer."""
    return max(int(getattr(error, "status_code", 0) or 0), 0)


def report_failures(
    ctx: JobContext, session: AgentSession[Any], board: ProviderErrorBoard, config: AgentConfig
) -> None:
    """Write errors to the board, wipe them after a success, and leave the room when the session has ended."""
    names = {"stt": config.stt.provider, "llm": config.llm.provider, "tts": config.tts.provider}
    heard_the_caller = False

    @session.on("error")
    def on_error(event: ErrorEvent) -> None:
        role = _ROLES.get(getattr(event.error, "type", ""))
        code = status_code(event.error.error) if role else 0
        if role is None or (event.error.recoverable and code not in KEY_REFUSED):
            return
        error = ProviderError.now(role, names[role], code)
        board.report(error)
        logger.error("provider failed in a call: %s", error.message, extra={"role": role, "code": code})
        if code in KEY_REFUSED:
            report_failure(ctx.job.id)
            # the library would go on for three more turns, each of them silent
            ctx.shutdown(f"{role}: {error.message}")

    @session.on("close")
    def on_close(event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            report_failure(ctx.job.id)
        # closing the session leaves agent and track in the room: end the job with it
        ctx.shutdown(f"session closed: {event.reason.value}")

    @session.on("user_input_transcribed")
    def on_transcript(event: UserInputTranscribedEvent) -> None:
        nonlocal heard_the_caller
        if event.is_final:
            heard_the_caller = True
            board.clear("stt")

    @session.on("conversation_item_added")
    def on_item(event: ConversationItemAddedEvent) -> None:
        # before the caller spoke, the only item is the greeting, which no model wrote
        if heard_the_caller and isinstance(event.item, ChatMessage) and event.item.role == "assistant":
            board.clear("llm")

    @session.on("agent_state_changed")
    def on_state(event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            board.clear("tts")
