"""Tokens at a real API server: renewed by the clock and no sooner, put back within two seconds, told apart by name."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import jwt
import pytest

from livekit_operator.moments import parse_timestamp
from tests.fakes import manifests
from tests.fakes.clock import MovedClock
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.manifests import decoded
from tests.fakes.waiting import eventually, eventually_async
from tests.harness.api import Api
from tests.integration.operated import Operated, operated

HOUR, DAY = 3600, 86400
ROOMS = [f"room-{number}" for number in range(10)]
LIVES = {"hour": HOUR, "shift": 6 * HOUR, "week": 7 * DAY}
CLOCK_LOOK_SECONDS = 0.5


@pytest.fixture
async def operator(api: Api, namespace: str) -> AsyncIterator[Operated]:
    """Return a namespace with an operator."""
    async with operated(api, namespace) as made:
        yield made


async def test_the_clock_renews_what_is_due_and_nothing_else(api: Api, namespace: str) -> None:
    """Under a clock that is moved, and by an operator that was down meanwhile."""
    clock, livekit = MovedClock(), FakeLiveKit()
    tokens = [{"identity": identity, "ttlSeconds": seconds} for identity, seconds in LIVES.items()]
    async with operated(api, namespace, livekit, now=clock, clock_look_seconds=CLOCK_LOOK_SECONDS) as operator:
        await operator.with_server()
        await asyncio.gather(*(operator.create(manifests.room(name, tokens=tokens)) for name in ROOMS))
        await asyncio.gather(*(operator.reason("MeetingRoom", name) for name in ROOMS))
        made = await _tokens(operator)
        assert len(made) == len(ROOMS) * len(LIVES)

        # Nothing is due before a tenth of a life ahead of two thirds of it; real time goes on beside the moved one.
        await _move(operator, clock, HOUR * 0.5)
        assert await _tokens(operator) == made

        await _move(operator, clock, HOUR * 0.17)
        await operator.until("the renewal", partial(_renewed, operator, made, ["hour"]), seconds=20)
        renewed = await _tokens(operator)
        # Before the end of the old ones, by a third of their life.
        assert clock().timestamp() < min(_expiry(made[name]) for name in made) - HOUR * 0.3
        assert all(_expiry(renewed[name]) > _expiry(made[name]) for name in made if name.endswith("-hour"))

    clock.advance(5 * HOUR)
    assert clock().timestamp() > max(_expiry(renewed[name]) for name in renewed if name.endswith("-hour"))
    async with operated(api, namespace, livekit, now=clock) as operator:
        await operator.until("it to catch up", partial(_renewed, operator, renewed, ["hour", "shift"]), seconds=20)
        caught_up = await _tokens(operator)
        assert all(_expiry(text) > clock().timestamp() for text in caught_up.values())
        wanted = {name: _expiry(text) for name, text in caught_up.items()}
        await operator.until("the statuses to tell", partial(_tell, operator, wanted))


async def test_a_secret_touched_by_hand_is_back_within_two_seconds(operator: Operated) -> None:
    await operator.with_server()
    await operator.create(manifests.room(tokens=[{"identity": "alice"}]))
    await operator.reason("MeetingRoom", "support-42")
    name = "support-42-alice"
    before = (await operator.get("Secret", name))["metadata"]["uid"]

    async def is_whole() -> bool:
        secret = await operator.find("Secret", name)
        values = decoded(secret) if secret and secret.get("data") else {}
        return values.get("token", "").count(".") == 2 and values["identity"] == "alice"

    for number in range(5):
        await operator.patch("Secret", name, {"data": {"token": "eA==", "identity": None}})
        took = await _seconds_until(is_whole, f"edit {number} to be put right")
        print(f"edited by hand: back after {took:.3f} s")
        assert took < 2
    for number in range(5):
        await operator.api.delete("Secret", operator.namespace, name)
        took = await _seconds_until(is_whole, f"deletion {number} to be put right")
        print(f"deleted by hand: back after {took:.3f} s")
        assert took < 2
    assert (await operator.get("Secret", name))["metadata"]["uid"] != before


async def test_identities_that_collide_have_secrets_of_their_own_always_the_same(operator: Operated) -> None:
    identities = [
        "alice",
        "Alice",
        "ALICE",
        "alice.",
        "al_ice",
        "al-ice",
        "Älice",
        "alice@example.com",
        "愛",
        "a" * 256,
    ]
    await operator.with_server()
    names = []
    for room, order in ("first", identities), ("second", identities[::-1]):
        await operator.create(manifests.room(room, tokens=[{"identity": identity} for identity in order]))
        await operator.reason("MeetingRoom", room)
        told = (await operator.get("MeetingRoom", room))["status"]["tokens"]
        assert [token["identity"] for token in told] == order
        for token in told:
            values = decoded(await operator.get("Secret", token["secretName"]))
            claims = jwt.decode(values["token"], options={"verify_signature": False})
            assert (values["identity"], claims["sub"]) == (token["identity"], token["identity"])
        names.append({token["identity"]: token["secretName"].removeprefix(f"{room}-") for token in told})
    assert names[0] == names[1]
    assert len(set(names[0].values())) == len(identities)
    assert names[0]["alice"] == "alice", "a name that can be one stays"


async def _move(operator: Operated, clock: MovedClock, seconds: float) -> None:
    """Move the clock on and wait until every room has been looked at since."""
    value = operator.metrics.registry.get_sample_value
    labels = {"kind": "MeetingRoom", "result": "ok"}
    passes = value("livekit_operator_reconcile_total", labels) or 0
    clock.advance(seconds)
    wanted = passes + len(ROOMS)
    await eventually(lambda: (value("livekit_operator_reconcile_total", labels) or 0) >= wanted, "a pass of each room")


async def _tokens(operator: Operated) -> dict[str, str]:
    """Return the token in each Secret of the rooms."""
    secrets = await operator.api.list("Secret", operator.namespace)
    return {s["metadata"]["name"]: decoded(s)["token"] for s in secrets if s["metadata"]["name"].startswith("room-")}


async def _renewed(operator: Operated, before: dict[str, str], identities: Sequence[str]) -> bool:
    """Return whether the tokens of these identities are others; fails when one of another identity is."""
    now = await _tokens(operator)
    others = {name for name in before if now.get(name) != before[name]}
    due = {f"{room}-{identity}" for room in ROOMS for identity in identities}
    assert others <= due, f"renewed too soon: {sorted(others - due)}"
    return others == due


async def _tell(operator: Operated, expiries: dict[str, int]) -> bool:
    """Return whether the rooms' statuses tell these expiries of these Secrets."""
    rooms = await operator.api.list("MeetingRoom", operator.namespace)
    told = [token for room in rooms for token in room["status"]["tokens"]]
    moments = {token["secretName"]: parse_timestamp(token["expiresAt"]) for token in told}
    return {name: int(moment.timestamp()) for name, moment in moments.items()} == expiries


def _expiry(token: str) -> int:
    return int(jwt.decode(token, options={"verify_signature": False})["exp"])


async def _seconds_until(condition: Callable[[], Awaitable[bool]], what: str) -> float:
    began = time.monotonic()
    await eventually_async(condition, what, seconds=10, pause=0.01)
    return time.monotonic() - began
