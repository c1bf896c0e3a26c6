"""Servers and pools that others refer to: parsed once, and anew when they change."""

import pytest

from livekit_operator.errors import Blocked
from livekit_operator.pools.access import find_pool
from livekit_operator.servers.access import find_server
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator import models


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
