"""What happens when a provider fails during a call: it is reported, and the agent does not stay on in silence."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    APIConnectionError,
    APIError,
    CloseEvent,
    CloseReason,
    ConversationItemAddedEvent,
    ErrorEvent,
    JobContext,
    UserInputTranscribedEvent,
)
from livekit.agents.llm import ChatMessage

from .config import ROLES, AgentConfig
from .provider_errors import KEY_REFUSED, ProviderError, ProviderErrorBoard, role_of
from .runner.sessions import last_words, report_failure

logger = logging.getLogger(__name__)

_ROLES = {"stt_error": "stt", "llm_error": "llm", "tts_error": "tts", "realtime_model_error": "realtime"}


class Failed(Protocol):
    """An error of a provider, as livekit-agents tells it (STTError, LLMError, TTSError)."""

    error: Exception
    recoverable: bool


class Plugin(Protocol):
    """A provider's plugin, as far as it tells what becomes of its requests."""

    def on(self, event: Any, callback: Any) -> Any:
        """Call back at each event."""


def status_code(error: BaseException) -> int:
    """The HTTP status (or websocket close code) behind an error, 0 when there was no answer."""
    # Some libraries have a word there, as gRPC's UNAUTHENTICATED.
    codes = getattr(error, "status_code", 0), getattr(error.__cause__, "status", 0)
    code = next((found for found in codes if isinstance(found, int) and found), 0)
    if not code and isinstance(error, APIError) and not isinstance(error, APIConnectionError):
        # it answered: a realtime model says what is wrong in an event, without a number
        return 500
    return max(int(code), 0)


class Telling:
    """Tells of a call's providers: errors on the board, and why the call ends by them."""

    def __init__(self, ctx: JobContext, board: ProviderErrorBoard, config: AgentConfig) -> None:
        self._ctx = ctx
        self._board = board
        self._config = config
        self._alone = {role for role in ROLES if len(config.places(role)) == 1}

    def by_itself(self, role: str) -> bool:
        """Whether a role has one provider: then whatever is said of the role is said of that."""
        return role in self._alone

    def failed(self, place: str, failed: Failed) -> None:
        """A provider failed."""
        code = status_code(failed.error)
        if failed.recoverable and code not in KEY_REFUSED:
            return
        error = ProviderError.now(place, self._config.providers[place].name, code)
        self._board.report(error)
        logger.error("provider failed in a call: %s", error.message, extra={"role": place, "code": code})
        role = role_of(place)
        if code in KEY_REFUSED and self._refused(role):
            report_failure(self._ctx.job.id, f"{role}: {error.message}")
            # the library would go on for three more turns, each of them silent
            self._ctx.shutdown(f"{role}: {error.message}")

    def _refused(self, role: str) -> bool:
        """Whether every provider of a role refuses its key."""
        refused = {error.role for error in self._board.current() if error.code in KEY_REFUSED}
        return refused.issuperset(self._config.places(role))

    def served(self, role: str) -> None:
        """A role was served, whoever of its providers did it."""
        if self.by_itself(role):
            self._board.clear(role)

    def listen(self, plugins: Mapping[str, Plugin]) -> None:
        """Hear each provider of a role with fallbacks itself.

        Its adapter says only that all have failed, and the session's events do not say who served. Metrics are emitted
        by the plugin that did (livekit-agents stt.py, llm.py, tts.py: none after an error).
        """
        for place, plugin in plugins.items():
            if not self.by_itself(role_of(place)):
                plugin.on("error", functools.partial(self.failed, place))
                plugin.on("metrics_collected", lambda *_, place=place: self._board.clear(place))


def report_failures(
    ctx: JobContext,
    session: AgentSession[Any],
    board: ProviderErrorBoard,
    config: AgentConfig,
    plugins: Mapping[str, Plugin],
) -> None:
    """Write errors to the board, wipe them after a success, and leave the room when the session has ended.

    `plugins` has each provider's own by its place.
    """
    telling = Telling(ctx, board, config)
    telling.listen(plugins)
    heard_the_caller = False

    @session.on("error")
    def on_error(event: ErrorEvent) -> None:
        role = _ROLES.get(getattr(event.error, "type", ""))
        if role and telling.by_itself(role):
            telling.failed(role, event.error)

    @session.on("close")
    def on_close(event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            error = getattr(event.error, "error", None)
            report_failure(ctx.job.id, last_words(error) if error else "the session closed by an error")
        # closing the session leaves agent and track in the room: end the job with it
        ctx.shutdown(f"session closed: {event.reason.value}")

    @session.on("user_input_transcribed")
    def on_transcript(event: UserInputTranscribedEvent) -> None:
        nonlocal heard_the_caller
        if event.is_final:
            heard_the_caller = True
            telling.served("stt")

    @session.on("conversation_item_added")
    def on_item(event: ConversationItemAddedEvent) -> None:
        # before the caller spoke, the only item is the greeting, which no model wrote
        if heard_the_caller and isinstance(event.item, ChatMessage) and event.item.role == "assistant":
            telling.served("llm")

    @session.on("agent_state_changed")
    def on_state(event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            telling.served("tts")
            telling.served("realtime")
