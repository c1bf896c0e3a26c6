"""Conditions keep their transition time while they hold, and people hear only of what matters."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from livekit_operator import reasons
from livekit_operator.conditions import Observed, Transition, merge, transition
from livekit_operator.errors import Problem
from livekit_operator.moments import timestamp
from livekit_operator.reasons import Reason

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EARLIER = "2026-03-01T11:00:00Z"


def before(status: str, reason: str = "Ready") -> list[dict[str, str]]:
    return [{"type": "Ready", "status": status, "reason": reason, "message": "m", "lastTransitionTime": EARLIER}]


@pytest.mark.parametrize(
    ("old", "observed", "expected_time"),
    [
        pytest.param([], Observed.ready("m"), timestamp(NOW), id="new"),
        pytest.param(before("True"), Observed.ready("other words"), EARLIER, id="same status, other message"),
        pytest.param(
            before("False", "A"), Observed.not_ready(Problem(Reason("B"), "m")), EARLIER, id="same status, other reason"
        ),
        pytest.param(before("True"), Observed.not_ready(Problem(Reason("A"), "m")), timestamp(NOW), id="turned False"),
        pytest.param(before("False"), Observed.ready("m"), timestamp(NOW), id="turned True"),
        pytest.param(before("True"), Observed("Ready", None, Reason("A"), "m"), timestamp(NOW), id="turned Unknown"),
        pytest.param([{"type": "Ready", "status": "True"}], Observed.ready("m"), timestamp(NOW), id="time was missing"),
    ],
)
def test_transition_time_moves_only_with_the_status(
    old: list[dict[str, str]], observed: Observed, expected_time: str
) -> None:
    [merged] = merge(old, [observed], generation=3, now=NOW)
    assert merged["lastTransitionTime"] == expected_time
    assert merged["observedGeneration"] == 3
    assert (merged["reason"], merged["message"]) == (observed.reason, observed.message)


def test_merging_drops_what_is_no_longer_observed() -> None:
    old = [*before("True"), {"type": "SettingsApplied", "status": "False", "lastTransitionTime": EARLIER}]
    merged = merge(old, [Observed.ready("m")], generation=1, now=NOW)
    assert [condition["type"] for condition in merged] == ["Ready"]


def test_merging_twice_changes_nothing() -> None:
    observed = [Observed.ready("m"), Observed("AgentsReady", None, reasons.NOT_ASKED, "m")]
    once = merge([], observed, generation=1, now=NOW)
    assert merge(once, observed, generation=1, now=NOW + timedelta(hours=1)) == once


@pytest.mark.parametrize(
    ("old", "observed", "told"),
    [
        pytest.param([], Observed.ready("m"), None, id="ready at the first look"),
        pytest.param(before("False", "Progressing"), Observed.ready("m"), "Normal", id="ready after progress"),
        pytest.param(before("False", "SecretNotFound"), Observed.ready("m"), "Normal", id="healed"),
        pytest.param(before("Unknown"), Observed.ready("m"), "Normal", id="ready after unknown"),
        pytest.param(before("True"), Observed.ready("other"), None, id="still ready"),
        pytest.param([], Observed.not_ready(Problem(reasons.PROGRESSING, "m")), None, id="progress of a new one"),
        pytest.param(
            before("True"), Observed.not_ready(Problem(reasons.PROGRESSING, "m")), "Warning", id="lost its readiness"
        ),
        pytest.param(
            [], Observed.not_ready(Problem(reasons.SECRET_NOT_FOUND, "m")), "Warning", id="a problem from the start"
        ),
        pytest.param(
            before("False", "SecretNotFound"),
            Observed.not_ready(Problem(reasons.SECRET_NOT_FOUND, "other")),
            None,
            id="same problem",
        ),
        pytest.param(
            before("False", "SecretNotFound"),
            Observed.not_ready(Problem(reasons.KEYS_INVALID, "m")),
            "Warning",
            id="other problem",
        ),
        pytest.param(
            before("True"),
            Observed.not_ready(Problem(reasons.DELETING, "m")),
            None,
            id="deleted by somebody who knows it",
        ),
        pytest.param(
            before("True"),
            Observed.not_ready(Problem(reasons.ROLLING_OUT, "m")),
            "Normal",
            id="a change somebody asked for",
        ),
        pytest.param(
            before("False"),
            Observed.not_ready(Problem(reasons.SCALED_TO_ZERO, "m")),
            None,
            id="asked for from the start",
        ),
        pytest.param(before("True"), Observed("AgentsReady", False, Reason("A"), "m"), None, id="another condition"),
    ],
)
def test_people_hear_of_problems_and_of_recovery(
    old: list[dict[str, str]], observed: Observed, told: str | None
) -> None:
    expected = Transition(told, observed.reason, observed.message) if told else None
    assert transition(old, [observed]) == expected


LIMITS = (
    "The API server refused: pods is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, minimum "
    "memory usage per Container is 64Mi, but request is 32Mi]. Refused: container agent."
)


@pytest.mark.parametrize(
    ("former", "message", "news"),
    [
        pytest.param(
            LIMITS,
            "The API server refused: pods is forbidden: [minimum memory usage per Container is 64Mi, but request is "
            "32Mi, minimum cpu usage per Container is 100m, but request is 50m]. Refused: container agent.",
            False,
            id="a LimitRange",
        ),
        pytest.param(
            "Unable to attach or mount volumes: unmounted volumes=[b a], failed to process volumes=[]: timed out",
            "Unable to attach or mount volumes: unmounted volumes=[a b], failed to process volumes=[]: timed out",
            False,
            id="the kubelet",
        ),
        pytest.param("Missing: a; b; c", "Missing: c; b; a", True, id="the first has words of its own"),
        pytest.param("Not allowed: [a, b]", "Not allowed: [b, a]", False, id="a list"),
        pytest.param("Not allowed: [a, b]", "Not allowed: [b, c]", True, id="another list"),
        pytest.param("Not allowed: [a, a, b]", "Not allowed: [a, b, b]", True, id="as long as the former"),
        pytest.param("1 of 2 pods are warm.", "2 of 1 pods are warm.", True, id="numbers"),
        pytest.param("Revision a failed. b runs.", "Revision b failed. a runs.", True, id="names"),
    ],
)
def test_the_same_list_in_another_order_is_no_news(former: str, message: str, news: bool) -> None:
    old = [{**before("False", "KubernetesRefused")[0], "message": former}]
    refused = Problem(reasons.KUBERNETES_REFUSED, message)
    [merged] = merge(old, [Observed.not_ready(refused)], generation=1, now=NOW)
    assert merged["message"] == (message if news else former)
    [other] = merge(old, [Observed.not_ready(replace(refused, reason=reasons.NOT_ALLOWED))], generation=1, now=NOW)
    assert other["message"] == message
