"""A replica is lost when nobody meant it to go."""

import pytest

from livekit_operator.servers.decisions.lost import Known, is_lost, is_unreachable, lost_with_its_pod


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param(Known("a", leaving=False), True, id="deleted by force, or its node is gone"),
        pytest.param(Known("a", leaving=True), False, id="it was terminating"),
        pytest.param(Known("", leaving=False), False, id="it never ran"),
        pytest.param(Known(None, leaving=False), False, id="it was never seen to run"),
    ],
)
def test_a_pod_that_is_gone(known: Known, expected: bool) -> None:
    assert lost_with_its_pod(known) is expected


@pytest.mark.parametrize(
    ("known", "container", "unreachable", "serving", "expected"),
    [
        pytest.param("a", "a", False, True, False, id="it runs"),
        pytest.param("", "a", False, True, False, id="it has just started"),
        pytest.param("a", "b", False, True, True, id="it restarted"),
        pytest.param("a", "", False, True, True, id="it ended"),
        pytest.param("a", "a", True, True, True, id="it does not answer and clients are led to it"),
        pytest.param("a", "a", True, False, False, id="it does not answer and nobody is led to it"),
    ],
)
def test_a_pod_that_is_there(known: str, container: str, unreachable: bool, serving: bool, expected: bool) -> None:
    assert is_lost(Known(known, leaving=False), container, unreachable=unreachable, serving=serving) is expected


@pytest.mark.parametrize(
    ("ready", "silent", "expected"),
    [(True, 0, False), (True, 1, False), (True, 2, True), (True, 3, True), (False, 3, False)],
)
def test_one_that_does_not_answer(ready: bool, silent: int, expected: bool) -> None:
    assert is_unreachable(ready=ready, silent=silent) is expected
