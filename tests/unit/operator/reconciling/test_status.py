"""What a status patch says."""

from typing import Any

import pytest

from livekit_operator.reconciling.status import merge_patch, whole_patch
from tests.fakes import manifests
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
