"""Requests beyond what is promised are named: of which kind, to which object, by whom, and what they changed."""

import json
from typing import Any

import pytest

from tests.benchmarks.rooms.api import parse_changing
from tests.benchmarks.rooms.trail import Trail, counted_beyond, described, table

OURS, KUBELET = "livekit-operator", "kubelet"


def managed(name: str, manager: str, at: int = 0, subresource: str = "", **more: Any) -> dict[str, Any]:
    """Return an object that a manager has written."""
    entry = {
        "manager": manager,
        "operation": "Update",
        "time": at,
        **({"subresource": subresource} if subresource else {}),
    }
    return {"metadata": {"name": name, "namespace": "team", "resourceVersion": at, "managedFields": [entry]}, **more}


def see(trail: Trail, plural: str, event: str, manifest: dict[str, Any]) -> None:
    assert trail.see(plural, json.dumps({"type": event, "object": manifest}).encode())


def seen(lines: list[str]) -> list[str]:
    """Return lines without their moments."""
    return [line.split(" s ", 1)[1] for line in lines]


def condition(status: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "Ready", "status": status}], "sid": "RM_1"}}


def test_what_is_promised_is_not_told() -> None:
    trail = Trail()
    see(trail, "meetingrooms", "ADDED", managed("a", "kubectl"))
    see(trail, "meetingrooms", "MODIFIED", managed("a", OURS, 1))
    see(trail, "secrets", "ADDED", managed("a-alice", OURS))
    assert trail.beyond({"meetingrooms": 2, "secrets": 1}) == []


def test_a_write_too_many_is_told_with_its_writer_and_what_it_changed() -> None:
    trail = Trail()
    see(trail, "meetingrooms", "ADDED", managed("a", "kubectl"))
    see(trail, "meetingrooms", "MODIFIED", managed("a", OURS, 1, "status", **condition("True")))
    see(trail, "meetingrooms", "MODIFIED", managed("a", OURS, 2, "status", **condition("False")))
    (line,) = seen(trail.beyond({"meetingrooms": 2}))
    who, what = line.split(": ", 1)
    assert who == "changed meetingrooms/team/a by livekit-operator Update status"
    assert what == 'status.conditions[Ready].status "True" -> "False"'


def test_what_was_there_before_is_compared_with_as_it_was() -> None:
    trail = Trail()
    trail.know("livekitservers", managed("voice", OURS, 1, "status", status={"rooms": 7}))
    see(trail, "livekitservers", "MODIFIED", managed("voice", OURS, 2, "status", status={"rooms": None}))
    see(trail, "livekitservers", "MODIFIED", managed("voice", OURS, 2, "status", status={"rooms": None}))
    assert seen(trail.beyond({"livekitservers": 0})) == [
        "changed livekitservers/team/voice by livekit-operator Update status: status.rooms 7 -> null",
        "changed livekitservers/team/voice by unknown: no field differs",
    ]


def test_values_are_told_of_statuses_alone() -> None:
    before, after = {"data": {"token": "c2VjcmV0"}, "spec": {"a": 1}}, {"data": {"token": "b3RoZXI="}, "spec": {"a": 2}}
    assert described(before, after) == ["data.token", "spec.a"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"status": {"a": 1}}, {"status": {}}, ["status.a 1 -> null"]),
        (
            {"status": {"s": [{"name": "x", "n": 1}]}},
            {"status": {"s": [{"name": "x", "n": 2}]}},
            ["status.s[x].n 1 -> 2"],
        ),
        ({"status": {"s": ["a"]}}, {"status": {"s": ["a", "b"]}}, ['status.s[1] null -> "b"']),
        ({"status": {"a": "x" * 99}}, {"status": {"a": 1}}, [f'status.a "{"x" * 58}… -> 1']),
        (
            {"status": {}},
            {"status": {str(n): 1 for n in range(9)}},
            [*(f"status.{n} null -> 1" for n in range(6)), "and 3 more fields"],
        ),
        ({"metadata": {"resourceVersion": "1"}}, {"metadata": {"resourceVersion": "2"}}, ["no field differs"]),
    ],
)
def test_fields_that_differ_are_told(before: dict[str, Any], after: dict[str, Any], told: list[str]) -> None:
    assert described(before, after) == told


def test_others_are_left_out_when_one_is_asked_for_and_nobody_is_cleared_by_a_write_that_names_none() -> None:
    trail = Trail()
    trail.know("pods", managed("p", KUBELET, 1))
    see(trail, "pods", "MODIFIED", managed("p", KUBELET, 2))
    see(trail, "pods", "DELETED", managed("p", KUBELET, 3))
    see(trail, "pods", "ADDED", managed("p", OURS, 4))
    assert seen(trail.beyond({"pods": 0}, manager=OURS)) == [
        "deleted pods/team/p by unknown",
        "made pods/team/p by livekit-operator Update",
    ]


def test_an_event_is_told_in_its_own_words() -> None:
    trail = Trail()
    words: dict[str, Any] = {
        "reason": "Unhealthy",
        "message": "no answer",
        "involvedObject": {"kind": "Pod", "name": "p"},
    }
    see(trail, "events", "ADDED", managed("p.1", KUBELET, **words))
    see(trail, "leases", "ADDED", managed("node", KUBELET))
    assert seen(trail.beyond({"events": 0})) == [
        "made events/team/p.1 by kubelet Update: Unhealthy of Pod p: no answer"
    ]


def test_a_watch_that_lost_its_place_is_told() -> None:
    trail = Trail()
    assert not trail.see("secrets", b'{"type": "ERROR", "object": {"kind": "Status", "code": 410}}')
    assert trail.beyond({"secrets": 1}) == ["the watch of secrets lost its place 1 times"]


def test_requests_beyond_the_promised_are_told_by_kind_beside_the_operators_own_count() -> None:
    counted = {"PATCH meetingrooms 200": 21, "DELETE secrets 404": 2, "POST secrets 201": 10, "POST events 201": 0}
    promised = {"PATCH meetingrooms 200": 20, "POST secrets 201": 10, "POST meetingrooms 201": 10}
    assert counted_beyond(counted, promised, {"PATCH meetingrooms 200": 21}) == [
        "2 of DELETE secrets 404: 2 in all, 0 of the operator",
        "1 of PATCH meetingrooms 200: 21 in all, 21 of the operator",
    ]


def test_the_table_tells_of_every_phase() -> None:
    assert table({"restart": [], "create": ["one", "two"]}) == [
        "restart, beyond what is promised:",
        "  nothing",
        "create, beyond what is promised:",
        "  one",
        "  two",
    ]


def test_requests_that_change_something_are_counted_by_kind() -> None:
    metrics = """\
apiserver_request_total{code="200",resource="meetingrooms",subresource="status",verb="PATCH"} 5
apiserver_request_total{code="200",resource="meetingrooms",subresource="",verb="APPLY"} 2
apiserver_request_total{code="404",resource="secrets",subresource="",verb="DELETE"} 1
apiserver_request_total{code="200",resource="secrets",subresource="",verb="GET"} 9
"""
    assert parse_changing(metrics) == {"PATCH meetingrooms 200": 7, "DELETE secrets 404": 1}
