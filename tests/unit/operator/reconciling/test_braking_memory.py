"""What the brake of pods remembers of what was observed."""

from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.moments import timestamp
from livekit_operator.reconciling.braking import note_made, observe_pods, remember_pods
from tests.fakes import models
from tests.fakes.world import World


def test_what_is_observed_of_pods_is_remembered_only_when_the_pass_says_so() -> None:
    world, room = World(), models.room()
    pod = {"metadata": {"name": "a", "uid": "uid-a", "creationTimestamp": timestamp(world.clock())}}
    seen = observe_pods(world.context, room, COMPONENT_SERVER, [pod])
    assert list(seen.made) == ["uid-a"]
    assert list(observe_pods(world.context, room, COMPONENT_SERVER, []).made) == []
    remember_pods(world.context, room, COMPONENT_SERVER, seen)
    world.clock.advance(1)
    other = {"metadata": {**pod["metadata"], "uid": "uid-c"}}
    assert list(observe_pods(world.context, room, COMPONENT_SERVER, [other]).made) == ["uid-a", "uid-c"]
    assert list(observe_pods(world.context, room, COMPONENT_SERVER, []).made) == ["uid-a"]
    note_made(world.context, room, COMPONENT_SERVER, {"metadata": {"uid": "uid-b"}})
    assert list(seen.made) == ["uid-a"]
