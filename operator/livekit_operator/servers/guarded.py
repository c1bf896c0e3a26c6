"""A client of a server through the breaker: rooms do not ask a server that hangs."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, cast

from livekit_operator.clients.livekit import LiveKit
from livekit_operator.errors import RoomUnanswered, ServerNonsense, ServerRefused, ServerTimedOut, ServerUnreachable
from livekit_operator.servers.decisions.breaker import FAILURES, FIRST_PAUSE, SLOW_SECONDS, Breaker

# The listing has its own schedule and time limit: one for each server every few seconds.
_UNGUARDED = frozenset({"list_rooms", "close"})


class Guarded:
    """Wraps a client; `turned` is called when requests begin to be held back, and when that ends.

    Raises ServerUnreachable with `retry_after` for a request that is held back.
    """

    def __init__(
        self, client: LiveKit, breaker: Breaker, now: Callable[[], datetime], turned: Callable[[], None]
    ) -> None:
        self._client = client
        self._breaker = breaker
        self._now = now
        self._turned = turned

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._client, name)
        if name in _UNGUARDED:
            return asked

        async def ask(*arguments: Any) -> Any:
            if (seconds := self._breaker.wait(self._now())) is not None:
                raise _held_back(seconds)
            try:
                return await self._watched(asked(*arguments))
            except (ServerTimedOut, ServerNonsense) as error:
                if not self._breaker.open:
                    raise
                # The same message as all the others get, so that statuses do not differ by who found out.
                raise _held_back(FIRST_PAUSE.total_seconds()) from error

        return ask

    async def _watched(self, asking: Awaitable[Any]) -> Any:
        """Return the answer, and report to the breaker whether it came in time."""
        loop = asyncio.get_running_loop()
        began, answered = loop.time(), False
        try:
            answer = await asking
            answered = True
        except (ServerRefused, RoomUnanswered):
            answered = True
            raise
        except (ServerTimedOut, ServerNonsense):
            began = -SLOW_SECONDS  # whatever its limit was, and however soon the nonsense came
            raise
        finally:
            turned = False
            if loop.time() - began >= SLOW_SECONDS:
                turned = self._breaker.timed_out(self._now())
            elif answered:
                turned = self._breaker.answered()
            else:
                self._breaker.abandoned(self._now())
            if turned:
                self._turned()
        return answer

    @property
    def client(self) -> LiveKit:
        """Return this as the client that it stands in for."""
        return cast(LiveKit, self)


def _held_back(seconds: float) -> ServerUnreachable:
    return ServerUnreachable(
        f"{FAILURES} requests in a row ran out of time or were answered with nonsense, so it is asked by one at a time "
        f"until it answers: see its log, and delete its pod if it hangs",
        retry_after=seconds,
    )
