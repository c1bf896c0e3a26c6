"""Whatever becomes of a pass, the status says so and the next pass is due when it should be."""

from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

import pytest

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.conditions import Observed
from livekit_operator.errors import (
    Blocked,
    KubernetesError,
    NamespaceTerminating,
    OperatorError,
    Problem,
    ServerRefused,
    ServerUnreachable,
)
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.decisions.brakes import Held
from livekit_operator.reconciling.frame import reconcile
from livekit_operator.reconciling.status import Outcome
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

KEY = (NAMESPACE, "support-42")
READY = Outcome([Observed.ready("It is there.")], None, 7.0)
QUOTA = KubernetesError(403, "Forbidden", "exceeded quota")
MISSING = Problem(reasons.SECRET_NOT_FOUND, "Create it.", retry_after=3.0)


async def a_pass(_context: Context, _room: MeetingRoom, *, ends: Outcome | OperatorError | None) -> Outcome | None:
    if isinstance(ends, OperatorError):
        raise ends
    return ends


def with_room() -> World:
    world = World()
    world.kubernetes.put(manifests.room())
    return world


def run(world: World, ends: Outcome | OperatorError | None) -> Awaitable[float | None]:
    return reconcile(world.context, MeetingRoom, KEY, partial(a_pass, ends=ends))


@pytest.mark.parametrize(
    ("ends", "ready", "again"),
    [
        (READY, ("True", "Ready"), 7.0),
        (replace(READY, again=None), ("True", "Ready"), None),
        (Blocked(MISSING), ("False", "SecretNotFound"), 3.0),
        (ServerUnreachable("no answer"), ("False", "ServerUnreachable"), 5.0),
        (ServerRefused("unauthenticated", "no"), ("False", "ServerRefused"), 5.0),
        (NamespaceTerminating(403, "Forbidden", "m"), ("False", "NamespaceTerminating"), 10.0),
    ],
)
async def test_how_a_pass_ends(ends: Outcome | OperatorError, ready: tuple[str, str], again: float | None) -> None:
    world = with_room()
    assert await run(world, ends) == again
    assert world.ready("MeetingRoom", "support-42") == ready


@pytest.mark.parametrize(("ends", "again"), [(None, None), (replace(READY, silent=True), 7.0)])
async def test_a_pass_that_knows_nothing_new_leaves_the_status_alone(ends: Outcome | None, again: float | None) -> None:
    world = with_room()
    assert await run(world, ends) == again
    assert world.kubernetes.writes == []


async def test_what_the_api_server_refuses_is_told_and_left_to_the_engine() -> None:
    world = with_room()
    with pytest.raises(KubernetesError):
        await run(world, QUOTA)
    assert world.ready("MeetingRoom", "support-42") == ("False", "KubernetesRefused")


async def test_any_other_error_of_the_api_server_is_nothing_to_tell() -> None:
    world = with_room()
    with pytest.raises(KubernetesError):
        await run(world, KubernetesError(500, "InternalError", "away"))
    assert world.kubernetes.writes == []


async def test_a_resource_that_is_gone_has_no_pass() -> None:
    world = World()
    assert await run(world, QUOTA) is None


async def test_a_resource_that_is_not_understood_has_no_pass() -> None:
    world = World()
    room = manifests.room()
    world.kubernetes.put({**room, "spec": {**room["spec"], "maxParticipants": "many"}}, checked=False)
    assert await run(world, QUOTA) is None
    assert world.ready("MeetingRoom", "support-42") == ("False", "NotUnderstood")


async def test_what_is_held_back_is_told_and_tried_when_it_may_be() -> None:
    world = with_room()
    room = MeetingRoom.model_validate(world.get("MeetingRoom", "support-42"))
    held = Held(Problem(reasons.BACKING_OFF, "It waits."), world.clock())
    world.clock.advance(-2)
    world.context.brakes_of(room).hold("pods", held, world.clock())
    assert await run(world, READY) == 2.0, "sooner than the pass asks for"
    assert world.condition("MeetingRoom", "support-42", "Degraded") == ("True", "BackingOff")


async def test_a_pass_that_may_not_write_is_put_off() -> None:
    world = with_room()
    room = MeetingRoom.model_validate(world.get("MeetingRoom", "support-42"))
    world.context.brakes_of(room).writes.add(10_000)
    again = await run(world, QUOTA)
    assert isinstance(again, float)
    assert again > 0
    assert world.condition("MeetingRoom", "support-42", "Degraded")[0] == "True"
