"""What a server tells of rooms, participants and dispatches, as far as it counts and within bounds."""

import time
from typing import Any

import pytest
from livekit import api
from livekit.protocol.models import ParticipantInfo, ParticipantPermission, TrackInfo

from livekit_operator.clients.livekit_views import (
    MAX_NAME,
    MOST_JOBS,
    dispatch_view,
    is_recorder,
    participant_view,
    room_view,
)
from livekit_operator.views import JobView, RoomSettings, RoomView, remembered
from tests.unit.operator.clients.livekit_server import ROOM, SETTINGS

AGENT = ParticipantInfo.Kind.AGENT
State = ParticipantInfo.State


def test_a_room() -> None:
    assert room_view(ROOM) == RoomView("RM_1", SETTINGS, 2)
    assert room_view(api.Room(sid="RM_2", name="other", num_publishers=1)) == RoomView(
        "RM_2", RoomSettings("other", 0, 0, 0, ""), publishers=1
    )


def test_long_metadata_is_kept_as_its_digest() -> None:
    text = "m" * 60_000
    view = room_view(api.Room(sid="RM_1", name="r", metadata=text))
    assert view.settings.metadata == remembered(text)
    assert len(view.settings.metadata) < 100


def test_nobody_counts_more_than_a_million() -> None:
    view = room_view(api.Room(sid="RM_1", name="r", num_participants=2**32 - 1, num_publishers=2**32 - 1))
    assert (view.participants, view.publishers) == (1_000_000, 1_000_000)


LONG = "x" * (MAX_NAME + 1)


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (room_view, api.Room(sid="RM_1", name=LONG)),
        (room_view, api.Room(sid="x" * 129, name="r")),
        (participant_view, ParticipantInfo(identity=LONG)),
        (participant_view, ParticipantInfo(identity="a", kind=AGENT, attributes={"lk.agent.name": LONG})),
        (dispatch_view, api.AgentDispatch(id=LONG)),
        (dispatch_view, api.AgentDispatch(agent_name=LONG)),
        (dispatch_view, api.AgentDispatch(deployment=LONG)),
        (dispatch_view, api.AgentDispatch(state={"jobs": [api.Job(id=LONG)]})),
        (dispatch_view, api.AgentDispatch(state={"jobs": [api.Job()] * (MOST_JOBS + 1)})),
    ],
)
def test_what_is_longer_than_anybodys_is_refused(view: Any, told: Any) -> None:
    with pytest.raises(ValueError, match=r"a name of|more than 1000 jobs"):
        view(told)


@pytest.mark.parametrize(
    ("info", "agent_name"),
    [
        pytest.param({"kind": AGENT, "attributes": {"lk.agent.name": "desk"}}, "desk", id="an agent"),
        pytest.param({"kind": AGENT}, "", id="an agent without a name"),
        pytest.param({"kind": AGENT, "attributes": {"lk.agent_name": "desk"}}, "desk", id="livekit-agents 1.3"),
        pytest.param(
            {"kind": AGENT, "attributes": {"lk.agent_name": "", "lk.agent.name": "desk"}}, "desk", id="it says more"
        ),
        pytest.param(
            {"attributes": {"lk.agent.name": "desk"}, "permission": ParticipantPermission(agent=True)},
            None,
            id="somebody who would be one",
        ),
    ],
)
def test_who_is_an_agent_is_said_by_the_server(info: dict[str, Any], agent_name: str | None) -> None:
    view = participant_view(ParticipantInfo(identity="alice", **info))
    assert (view.identity, view.agent_name) == ("alice", agent_name)


def test_only_of_an_agent_is_it_known_what_it_does() -> None:
    doing = {"lk.agent.state": "listening " + "x" * 100}
    assert participant_view(ParticipantInfo(identity="a", kind=AGENT, attributes=doing)).state.startswith("listening x")
    assert len(participant_view(ParticipantInfo(identity="a", kind=AGENT, attributes=doing)).state) == 32
    assert participant_view(ParticipantInfo(identity="a", attributes=doing)).state == ""


@pytest.mark.parametrize(
    ("info", "recorder"),
    [
        ({"kind": ParticipantInfo.Kind.EGRESS}, True),
        ({"permission": ParticipantPermission(recorder=True)}, True),
        ({"kind": AGENT}, False),
        ({}, False),
    ],
)
def test_who_records_is_no_participant(info: dict[str, Any], recorder: bool) -> None:
    assert is_recorder(ParticipantInfo(identity="a", **info)) is recorder


@pytest.mark.parametrize(
    ("info", "connected"),
    [
        ({"state": State.JOINING}, False),
        ({"state": State.JOINED}, False),
        ({"state": State.JOINED, "attributes": {"lk.agent.state": "initializing"}}, False),
        ({"state": State.JOINED, "attributes": {"lk.agent.state": "listening"}}, True),
        ({"state": State.JOINED, "tracks": [TrackInfo(sid="TR_1")]}, True),
        ({"state": State.ACTIVE}, True),
    ],
)
def test_who_has_joined_is_connected_once_media_can_flow(info: dict[str, Any], connected: bool) -> None:
    joined_at = int(time.time()) - 30
    found = participant_view(ParticipantInfo(identity="agent-1", kind=AGENT, joined_at=joined_at, **info))
    assert found.connected is connected
    assert 30 <= found.age < 60


def test_a_dispatch() -> None:
    made_at = int((time.time() - 100) * 1e9)
    jobs = [api.Job(id="AJ_1", state={"participant_identity": "agent-AJ_1"})]
    told = api.AgentDispatch(
        id="AD_1", agent_name="front-desk", deployment="blue", state={"created_at": made_at, "jobs": jobs}
    )
    view = dispatch_view(told)
    assert (view.id, view.agent_name, view.deployment) == ("AD_1", "front-desk", "blue")
    assert view.jobs == (JobView("AJ_1", "agent-AJ_1"),)
    assert 100 <= view.age < 200


@pytest.mark.parametrize("created", [0, int((time.time() + 900) * 1e9)], ids=["untold", "a clock that is ahead"])
def test_a_dispatch_whose_age_nobody_knows_is_new(created: int) -> None:
    assert dispatch_view(api.AgentDispatch(id="AD_2", state={"created_at": created})).age == 0.0


def test_a_participant_whose_clock_is_ahead_has_just_come() -> None:
    assert participant_view(ParticipantInfo(identity="a", joined_at=int(time.time()) + 900)).age == 0.0


def test_who_publishes_has_tracks() -> None:
    told = [ParticipantInfo(identity="alice"), ParticipantInfo(identity="bob", tracks=[TrackInfo(sid="TR_1")])]
    assert [participant_view(one).publishes for one in told] == [False, True]
