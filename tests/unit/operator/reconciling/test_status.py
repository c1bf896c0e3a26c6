"""What a status patch says."""

from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.common import Status
from livekit_operator.api.livekitserver import KeyStatus, LiveKitServerStatus, ServerPort, ServerReplica
from livekit_operator.api.meetingroom import MeetingRoomStatus, RoomAgentStatus
from livekit_operator.api.tokens import TokenStatus
from livekit_operator.api.voiceagentpool import CanaryStatus, SessionStatus, VersionStatus, VoiceAgentPoolStatus
from livekit_operator.errors import Problem
from livekit_operator.reconciling.status import Outcome, halted, joined, merge_patch, plain, whole_patch, write
from tests.fakes import manifests, models, schema
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, {"a": {"b": 2, "c": 3}}),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, {"a": [{"c": 1}]}),
        ({"a": {"b": 1}}, {"a": "text"}, {"a": "text"}),
        ({"a": {"b": 1}}, {}, {"a": None}),
    ],
)
def test_a_patch_also_takes_away(old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]) -> None:
    assert merge_patch(old, new) == patch


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 1}, {"a": 1, "c": 2}, {"a": 1, "b": None, "c": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"b": 1, "c": None}}),
        ({"a": {"b": 1}}, {"a": "text"}, {"a": "text"}),
        ({"a": "text"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_a_whole_patch_also_says_what_stays(old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]) -> None:
    assert whole_patch(old, new) == patch


SERVER = LiveKitServerStatus(
    version="v1.13.5",
    replicas=2,
    external_url=None,
    keys=KeyStatus(phase="Stable", rotation=None, accepted=1),
    ports=[ServerPort(name="media", protocol="UDP", port=50000, end_port=50100, needed_by="clients")],
    servers=[
        ServerReplica(name="voice-0", state="Draining", rooms=0, leaves_by="2026-01-01T00:00:00Z", waits_for=["a"]),
        ServerReplica(name="voice-1", node=None, state="Pending", waits_for=None),
    ],
    rooms=0,
)
POOL = VoiceAgentPoolStatus(
    replicas=0,
    desired_reason="spec.replicas",
    sessions=[SessionStatus(room="r", pod="p", state=None, start_time="2026-01-01T00:00:00Z")],
    versions=[VersionStatus(revision="abc", track="Stable", replicas=0, image="i:1", message=None)],
    canary=CanaryStatus(revision="def", weight=10, sessions=0, failed_sessions=0),
)
ROOM = MeetingRoomStatus(
    room_name="support-42",
    participant_identities=[],
    empty_since=None,
    agents=[RoomAgentStatus(pool="p", agent_name="n", state="Joined", activity=None)],
    agents_joined=1,
    tokens=[TokenStatus(identity="alice", secret_name="s", expires_at="2026-01-01T00:00:00Z")],
)


@pytest.mark.parametrize(
    ("kind", "status", "written"),
    [
        (
            "LiveKitServer",
            SERVER,
            {
                "version": "v1.13.5",
                "replicas": 2,
                "keys": {"phase": "Stable", "accepted": 1},
                "ports": [{"name": "media", "protocol": "UDP", "port": 50000, "endPort": 50100, "neededBy": "clients"}],
                "servers": [
                    {
                        "name": "voice-0",
                        "state": "Draining",
                        "rooms": 0,
                        "leavesBy": "2026-01-01T00:00:00Z",
                        "waitsFor": ["a"],
                    },
                    {"name": "voice-1", "state": "Pending"},
                ],
                "rooms": 0,
            },
        ),
        (
            "VoiceAgentPool",
            POOL,
            {
                "replicas": 0,
                "desiredReason": "spec.replicas",
                "sessions": [{"room": "r", "pod": "p", "startTime": "2026-01-01T00:00:00Z"}],
                "versions": [{"revision": "abc", "track": "Stable", "replicas": 0, "image": "i:1"}],
                "canary": {"revision": "def", "weight": 10, "sessions": 0, "failedSessions": 0},
            },
        ),
        (
            "MeetingRoom",
            ROOM,
            {
                "roomName": "support-42",
                "participantIdentities": [],
                "agents": [{"pool": "p", "agentName": "n", "state": "Joined"}],
                "agentsJoined": 1,
                "tokens": [{"identity": "alice", "secretName": "s", "expiresAt": "2026-01-01T00:00:00Z"}],
            },
        ),
    ],
)
def test_what_is_set_and_is_not_none_is_written(kind: str, status: Status, written: dict[str, Any]) -> None:
    assert plain(status) == written
    assert schema.problems(kind, "status", written) == []


def test_one_status_joined_to_another_sets_what_the_other_sets() -> None:
    told = joined(VoiceAgentPoolStatus(replicas=1, revision="abc"), VoiceAgentPoolStatus(replicas=2, sessions=[]))
    assert plain(told) == {"replicas": 2, "revision": "abc", "sessions": []}


async def test_a_pass_that_could_not_go_on_changes_only_the_fields_that_it_sets() -> None:
    world, server = World(), models.server()
    former = {"version": "v1.13.5", "replicas": 3, "rooms": 7, "observedGeneration": 1}
    world.kubernetes.put({**manifests.server(), "status": former})
    server = server.model_copy(update={"status": former})
    told = halted(server, Problem(reasons.DELETING, "m"), LiveKitServerStatus(replicas=0, rooms=None))
    await write(world.context, server, told)
    status = world.get("LiveKitServer", "voice")["status"]
    assert {key: status[key] for key in status.keys() - {"conditions", "observedGeneration"}} == {
        "version": "v1.13.5",
        "replicas": 0,
    }
    await write(world.context, server, Outcome(told.conditions, None))
    status = world.get("LiveKitServer", "voice")["status"]
    assert status["rooms"] == 7, "no fields at all keep those that were written last"


async def test_a_status_is_whole_where_the_store_has_another_one_than_is_known() -> None:
    world = World()
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.settle()
    # Put back while no watch tells of it: the room was closed then, and one of its fields is gone since.
    stored = world.kubernetes.objects["MeetingRoom", NAMESPACE, "support-42"]
    closed = {"type": "Ready", "status": "False", "reason": "Closed", "message": "m", "observedGeneration": 0}
    stored["status"] = {"conditions": [closed], "observedGeneration": 0, "agentsJoined": 7, "lastHandledRecreate": "a"}
    world.livekit.join("support-42", "alice")
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", "support-42")
    await world.reconcile("MeetingRoom", "support-42")
    status = world.kubernetes.objects["MeetingRoom", NAMESPACE, "support-42"]["status"]
    assert status == world.get("MeetingRoom", "support-42")["status"]
    assert status["participants"] == 1
    assert "lastHandledRecreate" not in status
    assert [c["type"] for c in status["conditions"]] == ["Ready"], "nothing says that it is not kept as it is written"
