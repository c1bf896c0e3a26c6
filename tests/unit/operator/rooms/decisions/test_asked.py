"""What is remembered of how a room asked for an agent."""

from datetime import UTC, datetime, timedelta

from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.rooms.memory import RoomsMemory, set_back
from livekit_operator.views import EndedCall, EndedJob

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_clock_that_is_set_back_leaves_no_long_pause() -> None:
    ahead = NOW + timedelta(hours=1)
    failure = EndedCall(EndedJob("AJ_1", "lobby", failed=True, error="LookupError: no"), ahead, "front-desk-1")
    asked = AskedAgent(failures=5, last_failure=failure, left_at=ahead)
    memory = RoomsMemory(asked_agents={("default", "lobby"): {"desk": asked, "night": AskedAgent()}})
    set_back(memory, NOW)
    known = memory.asked_agents["default", "lobby"]
    assert (known["desk"].pause(NOW, frozenset({"front-desk-1"})), known["desk"].left_at) == (8.0, NOW)
    assert known["night"] == AskedAgent()
