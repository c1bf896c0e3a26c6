"""What a pool refers to, and what of it concerns its rooms."""

from typing import Any

import pytest

from livekit_operator.pools.links import links, public_facts, wake_any_room, wake_rooms
from livekit_operator.servers.links import as_pool, by_name, to_server, undeclared_room
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

VOICE = (NAMESPACE, "voice")
THERE = {"serverRef": {"name": "voice", "namespace": "servers"}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [to_server(VOICE), as_pool(VOICE)]),
        (THERE, [to_server(("servers", "voice")), as_pool(("servers", "voice"))]),
        ({"roomPrefix": "phone-"}, [to_server(VOICE), as_pool(VOICE), by_name(VOICE)]),
        ({"roomPrefix": ""}, [to_server(VOICE), as_pool(VOICE), by_name(VOICE)]),
        ({"serverRef": {}, "roomPrefix": "phone-"}, []),
    ],
)
def test_what_a_pool_refers_to(spec: dict[str, Any], expected: list[Any]) -> None:
    assert list(links(manifests.pool(**spec))) == expected


def told(**changes: Any) -> Manifest:
    """Return a pool whose status says this."""
    status: dict[str, Any] = {"ready": "True", "available": ("True", "Available", "4 calls"), **changes}
    kind, reason, message = status["available"]
    ready = {"type": "Ready", "status": status["ready"], "reason": "Ready", "message": status.get("message", "")}
    available = {"type": "AgentsAvailable", "status": kind, "reason": reason, "message": message}
    conditions = {"conditions": [ready, available], "agentName": status.get("agentName", "front-desk")}
    return {**manifests.pool(**status.get("spec", {})), "status": {**conditions, **status.get("counts", {})}}


FULL = ("False", "AllWorkersFull", "Every agent is taken.")
CRASHED = ("False", "WorkerCrashed", "It ended.")


@pytest.mark.parametrize(
    ("before", "after", "concerns"),
    [
        pytest.param({}, {"counts": {"activeSessions": 5}}, False, id="a count"),
        pytest.param({}, {"message": "1 of 2 pods"}, False, id="the words of Ready"),
        pytest.param({}, {"ready": "False"}, True, id="whether it is ready"),
        pytest.param({}, {"available": ("True", "Available", "3 calls")}, False, id="how many are free"),
        pytest.param({}, {"available": FULL}, False, id="what concerns those who wait"),
        pytest.param({}, {"available": CRASHED}, True, id="why there is none"),
        pytest.param({"available": CRASHED}, {"available": (*CRASHED[:2], "Another.")}, True, id="in other words"),
        pytest.param({}, {"agentName": "desk"}, True, id="its agents' name"),
        pytest.param({}, {"spec": {"replicas": 3}}, False, id="how many pods are wanted"),
        pytest.param({}, {"spec": {"allowedNamespaces": ["guests"]}}, True, id="whom it allows"),
        pytest.param({}, {"spec": THERE}, True, id="its server"),
    ],
)
def test_what_concerns_its_rooms(before: dict[str, Any], after: dict[str, Any], concerns: bool) -> None:
    assert (public_facts(told(**before)) != public_facts(told(**after))) is concerns


def test_a_pool_without_a_status_has_facts() -> None:
    assert public_facts(manifests.pool()) != public_facts(told())


def test_who_is_woken_for_a_pool() -> None:
    world = World()
    for room in (
        manifests.room("names-it", agents=[{"poolRef": {"name": "front-desk"}}]),
        manifests.room("names-another", agents=[{"poolRef": {"name": "back-office"}}]),
        manifests.room("no-agent"),
        manifests.room("any", kind="VoiceAgent"),
        manifests.room("elsewhere", "guests", agents=[{"poolRef": {"name": "front-desk", "namespace": NAMESPACE}}]),
        manifests.room("its-own", "guests", agents=[{"poolRef": {"name": "front-desk"}}]),
    ):
        world.kubernetes.put(room)
    wake_rooms(world.context, (NAMESPACE, "front-desk"))
    keys = [(NAMESPACE, "any"), (NAMESPACE, "names-it"), ("guests", "elsewhere")]
    assert world.woken == {("MeetingRoom", key) for key in keys}


def test_a_room_is_woken_by_its_kind() -> None:
    world = World()
    wake_any_room(world.context, (NAMESPACE, "support-42"))
    wake_any_room(world.context, undeclared_room(VOICE, "phone-1"))
    assert world.woken == {
        ("MeetingRoom", (NAMESPACE, "support-42")),
        ("UndeclaredRoom", (f"{NAMESPACE}/voice", "phone-1")),
    }
