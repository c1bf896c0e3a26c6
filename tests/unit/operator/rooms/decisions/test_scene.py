"""What a room's scene says of who is there, and of what was asked for."""

from datetime import UTC, datetime, timedelta

from livekit_operator.rooms.decisions.scene import PoolFacts, Scene
from livekit_operator.views import DispatchView, ParticipantView

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_agents_are_no_people() -> None:
    there = [ParticipantView("alice", age=30.0), ParticipantView("agent-1", "desk"), ParticipantView("agent-2", "")]
    assert Scene("lobby", [], NOW, "Known", participants=there).people == (("alice", NOW - timedelta(seconds=30)),)


def test_only_requests_by_the_pools_name_are_its_own() -> None:
    asked = [DispatchView("AD_1", "desk", 1.0), DispatchView("AD_2", "night", 1.0), DispatchView("AD_3", "", 1.0)]
    scene = Scene("lobby", [], NOW, "Known", dispatches=asked)
    pools = [PoolFacts("desk", name, "OnCreate") for name in ("desk", "")]
    assert [[one.id for one in scene.requests(pool)] for pool in pools] == [["AD_1"], []]
