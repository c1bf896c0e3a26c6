"""What a user writes of a room is understood, defaults included, and what is wrong is not."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.meetingroom import MeetingRoom, MeetingRoomSpec
from tests.fakes import manifests, models

DESK = {"poolRef": {"name": "front-desk"}}


def test_the_least_a_user_must_write() -> None:
    room = MeetingRoomSpec.model_validate({"serverRef": {"name": "voice"}})
    assert (room.kind, room.persistent, room.tokens, room.agents) == ("Meeting", True, [], [])


@pytest.mark.parametrize(("agents", "standing"), [([], ()), ([DESK], ("AgentsReady",))])
def test_only_a_room_with_agents_says_whether_they_are_ready(agents: list[Any], standing: tuple[str, ...]) -> None:
    assert models.room(agents=agents).standing == standing


def test_a_room_that_is_not_understood_may_have_agents() -> None:
    metadata = manifests.stored(manifests.room())["metadata"]
    room = MeetingRoom.model_construct(metadata=metadata)  # type: ignore[call-arg]
    assert room.standing == ("AgentsReady",)


def test_a_room_needs_a_server() -> None:
    with pytest.raises(ValidationError, match="serverRef"):
        MeetingRoomSpec.model_validate({})


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"serverRef": {"name": "V_V"}}, "serverRef", id="a name that none can have"),
        pytest.param({"emptyTimeoutSeconds": -1}, "emptyTimeoutSeconds", id="negative timeout"),
        pytest.param({"kind": "Party"}, "kind", id="an unknown kind"),
        pytest.param({"expiresAt": "2026-03-01T12:00:00"}, "expiresAt", id="a moment without a zone"),
        pytest.param(
            {"tokens": [{"identity": f"{n}"} for n in range(101)]}, "tokens", id="more tokens than the maximum"
        ),
        pytest.param({"agents": [{**DESK, "dispatch": "Always"}]}, "dispatch", id="an unknown moment to call an agent"),
    ],
)
def test_a_wrong_value_is_named(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        MeetingRoomSpec.model_validate({"serverRef": {"name": "v"}, **spec})
