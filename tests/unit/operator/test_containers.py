"""A pod's containers are found by name, wherever in the pod they are."""

from typing import Any

import pytest

from livekit_operator.containers import container, container_status, other_statuses, waiting

POD: dict[str, Any] = {
    "spec": {"containers": [{"name": "proxy", "image": "proxy:1"}, {"name": "agent", "image": "agent:1"}]},
    "status": {
        "initContainerStatuses": [{"name": "runner", "restartCount": 1}],
        "containerStatuses": [{"name": "proxy", "restartCount": 2}, {"name": "agent", "restartCount": 3}],
    },
}
EMPTY: list[dict[str, Any]] = [{}, {"spec": None, "status": None}, {"spec": {"containers": None}, "status": {}}]


def test_a_container_is_found_by_its_name() -> None:
    assert container(POD, "agent") == {"name": "agent", "image": "agent:1"}
    assert container_status(POD, "agent") == {"name": "agent", "restartCount": 3}
    assert container(POD, "runner") == container_status(POD, "runner") == {}


def test_one_that_starts_first_is_found_as_well() -> None:
    first = {"name": "runner", "image": "agent:1"}
    assert container({"spec": {**POD["spec"], "initContainers": [first]}}, "runner") == first


def test_the_others_are_told_in_the_order_in_which_they_start() -> None:
    assert [status["name"] for status in other_statuses(POD, "agent")] == ["runner", "proxy"]


@pytest.mark.parametrize("pod", EMPTY)
def test_a_pod_of_which_nothing_is_known_has_none(pod: dict[str, Any]) -> None:
    assert container(pod, "agent") == container_status(pod, "agent") == {}
    assert list(other_statuses(pod, "agent")) == []


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (
            {"waiting": {"reason": "ImagePullBackOff", "message": " no such image\n"}},
            ("ImagePullBackOff", "no such image"),
        ),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, ("CrashLoopBackOff", "")),
        ({"waiting": {"reason": "ContainerCreating"}}, None),
        ({"waiting": {"reason": "PodInitializing"}}, None),
        ({"waiting": {}}, None),
        ({"running": {}}, None),
        ({"terminated": {"reason": "Error"}}, None),
        (None, None),
    ],
)
def test_why_a_container_cannot_start(state: dict[str, Any] | None, why: tuple[str, str] | None) -> None:
    assert waiting({"name": "agent", "state": state}) == why
