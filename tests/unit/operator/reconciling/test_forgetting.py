"""What the kit remembers of resources and of others' objects is forgotten in time."""

from collections.abc import Callable

import pytest

from livekit_operator.reconciling import forgetting
from livekit_operator.reconciling.context import Context, HangingPod
from livekit_operator.reconciling.decisions.brakes import Brakes
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


async def test_brakes_go_with_their_resource(world: World) -> None:
    await world.with_server()
    assert ("LiveKitServer", (NAMESPACE, "voice")) in world.context.brakes
    world.kubernetes.vanish("LiveKitServer", NAMESPACE, "voice")
    await world.reconcile("LiveKitServer", "voice")
    assert world.context.brakes == {}


KEY = ("team", "support-42")
SECRETS, PODS, BRAKES = "foreign_secrets", "hanging", "brakes"


def filled(world: World) -> Context:
    """Have the kit remember something in each of its places, since now."""
    context = world.context
    context.foreign_secrets[KEY] = world.clock(), None
    context.hanging["uid"] = HangingPod(world.clock(), None)
    context.brakes["MeetingRoom", KEY] = Brakes("uid")
    context.brakes["MeetingRoom", ("team", "other")] = Brakes("uid")
    return context


@pytest.mark.parametrize(
    ("forget", "kept"),
    [
        (lambda context: forgetting.forget(context, "MeetingRoom", KEY), {SECRETS: 1, PODS: 1, BRAKES: 1}),
        (lambda context: forgetting.forget(context, "LiveKitServer", KEY), {SECRETS: 1, PODS: 1, BRAKES: 2}),
        (forgetting.forget_read, {SECRETS: 0, PODS: 0, BRAKES: 2}),
        (forgetting.set_back, {SECRETS: 0, PODS: 0, BRAKES: 0}),
        (forgetting.forget_old, {SECRETS: 1, PODS: 1, BRAKES: 2}),
    ],
)
def test_what_is_forgotten(forget: Callable[[Context], None], kept: dict[str, int]) -> None:
    context = filled(World())
    forget(context)
    assert {name: len(getattr(context, name)) for name in kept} == kept


def test_what_nobody_asked_for_lately_is_forgotten() -> None:
    world = World()
    context = filled(world)
    world.clock.advance(3600)
    forgetting.forget_old(context)
    assert (context.foreign_secrets, context.hanging) == ({}, {})
