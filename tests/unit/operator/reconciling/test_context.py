"""What every pass is given: brakes of its resource, and what counts of a node."""

from typing import Any

import pytest

from livekit_operator.reconciling.context import node_facts
from livekit_operator.servers.links import to_server
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


def conditions(ready: str) -> dict[str, Any]:
    return {"conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": ready}]}


@pytest.mark.parametrize(
    ("node", "unschedulable", "ready", "public"),
    [
        ({}, False, False, ""),
        ({"spec": {"unschedulable": True}, "status": conditions("True")}, True, True, ""),
        ({"spec": {"podCIDR": "10.0.0.0/24"}, "status": conditions("Unknown")}, False, False, ""),
        ({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}, False, False, ""),
        (
            {"status": {"addresses": [{"type": "Hostname"}, {"type": "ExternalIP", "address": "192.0.2.1"}]}},
            False,
            False,
            "192.0.2.1",
        ),
        ({"status": {"addresses": [{"type": "ExternalIP"}]}}, False, False, ""),
    ],
)
def test_what_counts_of_a_node(node: dict[str, Any], unschedulable: bool, ready: bool, public: str) -> None:
    metadata = {"name": "node-1", "uid": "u", "resourceVersion": "1", "labels": {"zone": "a"}}
    facts = node_facts({"metadata": {**metadata, "annotations": {"long": "…"}}, **node})
    assert facts == {
        "kind": "Node",
        "metadata": metadata,
        "spec": {"unschedulable": unschedulable},
        "ready": ready,
        "public": public,
    }


def test_a_resource_keeps_its_brakes_and_a_new_one_of_its_name_gets_new_ones() -> None:
    context, room = World().context, models.room()
    brakes = context.brakes_of(room)
    assert context.brakes_of(room) is brakes
    assert context.brakes_of(models.room("other")) is not brakes
    anew = room.model_copy(update={"metadata": room.metadata.model_copy(update={"uid": "another"})})
    assert context.brakes_of(anew) is not brakes


def test_who_has_a_link_is_woken() -> None:
    world = World()
    world.kubernetes.put(manifests.room())
    world.kubernetes.put(manifests.room("elsewhere", serverRef={"name": "other"}))
    world.context.wake_users(to_server((NAMESPACE, "voice")))
    assert world.woken == {("MeetingRoom", (NAMESPACE, "support-42"))}
