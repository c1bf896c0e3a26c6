"""Where references point to, and what is there: parsed once for all, and anew when it changes."""

from collections import Counter

import pytest

from livekit_operator.api.common import ObjectRef
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.errors import Blocked
from livekit_operator.pools.access import find_pool
from livekit_operator.reconciling import references
from livekit_operator.reconciling.references import is_allowed, target, understood
from livekit_operator.reconciling.understanding import parse
from livekit_operator.servers.access import find_server
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


def test_what_many_refer_to_is_parsed_once_for_all_of_them() -> None:
    world = World()
    world.kubernetes.put(manifests.server())
    one, other = models.room("one"), models.room("other")
    first = find_server(world.context, one, one.spec.server_ref)
    assert find_server(world.context, other, other.spec.server_ref) is first
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 2}})
    assert find_server(world.context, one, one.spec.server_ref).spec.replicas == 2


def test_what_is_deleted_is_not_remembered() -> None:
    world, room = World(), models.room(agents=[{"poolRef": {"name": "front-desk"}}])
    world.kubernetes.put(manifests.pool())
    reference = room.spec.agents[0].pool_ref
    assert find_pool(world.context, room, reference) is not None
    world.kubernetes.vanish("VoiceAgentPool", NAMESPACE, "front-desk")
    assert find_pool(world.context, room, reference) is None


def test_what_is_not_understood_any_more_is_not_remembered_either() -> None:
    world, room = World(), models.room()
    world.kubernetes.put(manifests.server())
    find_server(world.context, room, room.spec.server_ref)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": "many"}}, checked=False)
    with pytest.raises(Blocked, match=r"LiveKitServer voice is not understood at spec\.replicas"):
        find_server(world.context, room, room.spec.server_ref)


@pytest.mark.parametrize(("namespace", "expected"), [(None, ("team", "voice")), ("others", ("others", "voice"))])
def test_a_reference_without_a_namespace_stays_at_home(namespace: str | None, expected: Key) -> None:
    assert target(models.room(), ObjectRef(name="voice", namespace=namespace)) == expected


@pytest.mark.parametrize(
    ("namespace", "allowed", "expected"),
    [
        ("home", [], True),
        ("guests", [], False),
        ("guests", ["guests"], True),
        ("guests", ["others"], False),
        ("guests", ["*"], True),
        ("guests", ["guest"], False),
    ],
)
def test_who_is_allowed(namespace: str, allowed: list[str], expected: bool) -> None:
    assert is_allowed(namespace, "home", allowed) is expected


def test_what_is_not_understood_is_parsed_once_for_all_that_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    world, parsed = World(), Counter[str]()

    def counted(model: type[MeetingRoom], manifest: Manifest) -> MeetingRoom:
        parsed["times"] += 1
        return parse(model, manifest)

    monkeypatch.setattr(references, "parse", counted)
    room = manifests.stored(manifests.room())
    wrong = {**room, "spec": {**room["spec"], "maxParticipants": "many"}}
    for _ in range(3):
        with pytest.raises(Blocked, match=r"MeetingRoom support-42 is not understood at spec\.maxParticipants") as told:
            understood(world.context, MeetingRoom, wrong)
        assert told.value.problem.reason == "MeetingRoomNotUnderstood"
    for _ in range(3):
        understood(world.context, MeetingRoom, room)
    assert parsed["times"] == 2
