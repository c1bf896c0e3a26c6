"""Secrets of somebody else: read when they are needed, and not at every pass."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from livekit_operator.errors import Blocked
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.foreign_secrets import find_value, forget_old, read_secret, read_value, require_secret
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

KEY = (NAMESPACE, "providers")
Read = Callable[[Context], Awaitable[Any]]


def strictly(context: Context) -> Awaitable[Any]:
    return read_secret(context, KEY)


def may_miss(context: Context) -> Awaitable[Any]:
    return read_secret(context, KEY, may_miss=True)


@pytest.mark.parametrize(
    ("there", "read", "pause", "reads"),
    [
        pytest.param(True, strictly, 9, 1, id="one that exists is read once"),
        pytest.param(True, strictly, 10, 2, id="and again after ten seconds"),
        pytest.param(False, strictly, 0, 2, id="one that is missing is looked for each time"),
        pytest.param(False, may_miss, 9, 1, id="but not where it may be missing"),
        pytest.param(False, may_miss, 10, 2, id="for ten seconds"),
    ],
)
async def test_how_often_a_secret_is_read(there: bool, read: Read, pause: float, reads: int) -> None:
    world = World()
    if there:
        world.kubernetes.put(manifests.providers_secret())
    world.forget()
    for _ in range(2):
        assert (await read(world.context) is not None) is there
        world.clock.advance(pause)
    assert world.kubernetes.reads == ["get Secret/providers"] * reads


async def test_what_nobody_asks_for_is_forgotten_after_a_minute() -> None:
    world = World()
    world.kubernetes.put(manifests.providers_secret())
    await strictly(world.context)
    world.clock.advance(60)
    forget_old(world.context)
    assert list(world.context.foreign_secrets) == [KEY]
    world.clock.advance(1)
    await read_secret(world.context, (NAMESPACE, "another"))
    assert KEY not in world.context.foreign_secrets


async def test_a_missing_secret_blocks_with_its_name_and_its_field() -> None:
    world = World()
    with pytest.raises(Blocked) as raised:
        await require_secret(world.context, NAMESPACE, "providers", "spec.agent.stt.apiKeySecretRef")
    problem = raised.value.problem
    assert (problem.reason, problem.retry_after) == ("SecretNotFound", 3.0)
    assert "Secret providers of spec.agent.stt.apiKeySecretRef does not exist" in problem.message


@pytest.mark.parametrize("values", [{}, {"deepgram": ""}])
async def test_a_missing_key_blocks_and_is_looked_for_at_each_pass(values: dict[str, str]) -> None:
    world = World()
    world.kubernetes.put(manifests.secret("providers", **values))
    with pytest.raises(Blocked, match="Secret providers of spec has no key deepgram") as raised:
        await read_value(world.context, NAMESPACE, "providers", "deepgram", "spec")
    assert (raised.value.problem.reason, raised.value.problem.retry_after) == ("SecretKeyMissing", 3.0)
    world.kubernetes.edit("Secret", NAMESPACE, "providers", {"data": {"deepgram": "ZGctaw=="}})
    assert await read_value(world.context, NAMESPACE, "providers", "deepgram", "spec") == "ZGctaw=="


async def test_a_value_that_may_be_missing() -> None:
    world = World()
    for _ in range(2):
        assert await find_value(world.context, NAMESPACE, "nowhere", "a") is None
    assert world.kubernetes.reads == ["get Secret/nowhere"]
    world.kubernetes.put(manifests.secret("some", a="b"))
    assert await find_value(world.context, NAMESPACE, "some", "other") is None
    assert await find_value(world.context, NAMESPACE, "some", "a") == "Yg=="
