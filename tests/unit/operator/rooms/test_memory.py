"""How long what is remembered of a room holds, and when it is forgotten."""

from datetime import datetime, timedelta

import pytest

from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.rooms.memory import KeptTokens, RoomsMemory, Tokens, forget, set_back
from tests.fakes import manifests
from tests.fakes.clock import Clock
from tests.fakes.manifests import NAMESPACE, Manifest

LOBBY, HALL = (NAMESPACE, "lobby"), (NAMESPACE, "hall")
NOW = Clock().now
SOON = NOW + timedelta(seconds=1)
ALICE, BOB = manifests.secret("lobby-alice"), manifests.secret("lobby-bob")
INPUTS, SECRETS = ("spec", "keys"), [ALICE, BOB]


def kept(since: datetime = NOW, due: datetime | None = None) -> KeptTokens:
    return KeptTokens(INPUTS, SECRETS, Tokens((), due), since)


@pytest.mark.parametrize(
    ("since", "due", "holds"),
    [
        pytest.param(NOW, None, True, id="none is ever due"),
        pytest.param(NOW, SOON, True, id="none is due yet"),
        pytest.param(NOW - timedelta(hours=1), NOW, False, id="one is due"),
        pytest.param(NOW - timedelta(hours=1), NOW - timedelta(seconds=1), False, id="one is overdue"),
        pytest.param(SOON, None, False, id="noted by a clock that was ahead"),
    ],
)
def test_tokens_hold_until_one_is_due(since: datetime, due: datetime | None, holds: bool) -> None:
    assert kept(since, due).hold(INPUTS, SECRETS, NOW) is holds


@pytest.mark.parametrize(
    ("inputs", "secrets", "holds"),
    [
        pytest.param(("spec", "keys"), SECRETS, True, id="the same"),
        pytest.param(("spec", "other keys"), SECRETS, False, id="made of something else"),
        pytest.param(INPUTS, [ALICE], False, id="one was deleted"),
        pytest.param(INPUTS, [ALICE, BOB, BOB], False, id="one came"),
        pytest.param(INPUTS, [ALICE, dict(BOB)], False, id="another version of one, though it looks the same"),
    ],
)
def test_tokens_hold_while_nothing_of_them_is_another(
    inputs: tuple[object, ...], secrets: list[Manifest], holds: bool
) -> None:
    assert kept().hold(inputs, secrets, NOW) is holds


def remembered() -> RoomsMemory:
    """Return what is remembered of two rooms."""
    both = (LOBBY, HALL)
    return RoomsMemory(
        unanswered=dict.fromkeys(both, NOW),
        asked_agents={key: {"front-desk": AskedAgent(1)} for key in both},
        claims=dict.fromkeys(both, ("uid", "lobby")),
        kept_tokens={key: kept() for key in both},
    )


async def test_all_of_a_room_that_is_gone_is_forgotten_and_nothing_of_another() -> None:
    memory = remembered()
    await forget(memory, LOBBY)
    assert {name: list(of) for name, of in vars(memory).items()} == {name: [HALL] for name in vars(memory)}
    await forget(memory, LOBBY)  # again, without one that is known


def test_after_a_clock_was_set_back_no_moment_of_a_room_lies_ahead() -> None:
    memory = remembered()
    unanswered = memory.unanswered
    memory.unanswered[HALL] = NOW - timedelta(hours=9)
    set_back(memory, NOW - timedelta(hours=5))
    assert memory.unanswered is unanswered, "passes that run hold it too"
    assert unanswered == {LOBBY: NOW - timedelta(hours=5), HALL: NOW - timedelta(hours=9)}
    assert memory.kept_tokens == {}, "when they are due was reckoned by that clock"
