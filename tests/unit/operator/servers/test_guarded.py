"""What a client's calls tell the breaker of a server."""

from collections.abc import Callable

import pytest

from livekit_operator.errors import RoomUnanswered, ServerNonsense, ServerRefused, ServerTimedOut, ServerUnreachable
from livekit_operator.servers import guarded
from livekit_operator.servers.decisions.breaker import FAILURES, Breaker
from livekit_operator.servers.guarded import Guarded
from tests.fakes.clock import Clock
from tests.fakes.livekit import FakeLiveKit


class Asked:
    def __init__(self) -> None:
        self.clock, self.breaker, self.turns = Clock(), Breaker(), 0
        self.server = FakeLiveKit(self.clock)
        self.client = Guarded(self.server, self.breaker, self.clock, self.turned).client

    def turned(self) -> None:
        self.turns += 1

    async def fail(self, error: ServerUnreachable | ServerRefused, times: int) -> None:
        self.server.problem = error
        for _ in range(times):
            with pytest.raises((ServerUnreachable, ServerRefused)):
                await self.client.list_participants("r")
        self.server.problem = None


@pytest.mark.parametrize("error", [ServerTimedOut("no answer in time"), ServerNonsense("it has more than 9 bytes")])
async def test_time_outs_and_nonsense_open_it_and_an_answer_closes_it(error: ServerUnreachable) -> None:
    asked = Asked()
    await asked.fail(error, FAILURES)
    assert (asked.breaker.open, asked.turns) == (True, 1)
    with pytest.raises(ServerUnreachable, match="delete its pod") as caught:
        await asked.client.list_participants("r")
    assert caught.value.retry_after == 5.0
    assert await asked.client.list_rooms() == [], "listings have their own pace"
    assert asked.breaker.open, "and tell nothing of the rest"
    asked.clock.advance(5)
    assert await asked.client.list_participants("r") == []
    assert (asked.breaker.open, asked.turns) == (False, 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServerUnreachable("connection refused"),
        lambda: ServerRefused("unauthenticated", "no"),
        lambda: RoomUnanswered("unavailable: no response from servers"),
    ],
)
async def test_what_fails_at_once_keeps_no_worker(make: Callable[[], ServerUnreachable]) -> None:
    asked = Asked()
    await asked.fail(make(), 3 * FAILURES)
    assert not asked.breaker.open


async def test_an_answer_that_comes_late_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    monkeypatch.setattr(guarded, "SLOW_SECONDS", 0.0)
    for _ in range(FAILURES):
        assert await asked.client.list_participants("r") == []
    assert asked.breaker.open
