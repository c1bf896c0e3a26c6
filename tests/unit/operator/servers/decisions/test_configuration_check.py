"""When a new configuration is checked, checked again, and no longer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.errors import Problem
from livekit_operator.reconciling.decisions.brakes import PodHistory
from livekit_operator.servers.decisions.configuration_check import (
    CHECK_AGAIN_AFTER,
    Check,
    CheckPlan,
    CheckPod,
    plan_check,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_IMAGE = Problem(reasons.IMAGE_NOT_FOUND, "There is no such image.")
REFUSED = Problem(reasons.CONFIG_REJECTED, "It knows no such field.")
SAID = Problem(reasons.CONFIG_REJECTED, "It knows no such field.", retry_after=CHECK_AGAIN_AFTER.total_seconds())


def pod(name: str = "one", **fields: Any) -> CheckPod:
    given: dict[str, Any] = {"created": NOW, "wanted": True, **fields}
    return CheckPod(name, **given)


OTHER = pod("other", wanted=False)
LONG_AGO = NOW - CHECK_AGAIN_AFTER

NEEDED = [
    pytest.param([], CheckPlan(start=True, settled=False, again=1.0, braked=True), id="not checked yet"),
    pytest.param(
        [OTHER],
        CheckPlan(start=True, remove=("other",), settled=False, again=1.0, braked=True),
        id="another configuration was checked",
    ),
    pytest.param([pod()], CheckPlan(settled=False, again=1.0), id="it is being checked"),
    pytest.param([pod(problem=NO_IMAGE)], CheckPlan(settled=False, problem=NO_IMAGE), id="it cannot start"),
    pytest.param([pod(verdict="Accepted", finished=True)], CheckPlan(), id="accepted"),
    pytest.param(
        [pod(verdict="Accepted"), OTHER], CheckPlan(remove=("other", "one")), id="a sidecar would keep the pod for ever"
    ),
    pytest.param(
        [pod(verdict="Refused", problem=REFUSED)], CheckPlan(settled=False, problem=SAID, again=30.0), id="refused"
    ),
    pytest.param(
        [pod(verdict="Refused", problem=REFUSED, created=LONG_AGO)],
        CheckPlan(remove=("one",), settled=False, problem=SAID, again=30.0),
        id="refused a while ago, so asked once more",
    ),
    pytest.param(
        [pod(verdict="Silent", finished=True)],
        CheckPlan(remove=("one",), in_vain=("one",), settled=False, again=1.0),
        id="evicted before it said anything",
    ),
]


@pytest.mark.parametrize(("pods", "expected"), NEEDED)
def test_before_servers_are_replaced(pods: list[CheckPod], expected: CheckPlan) -> None:
    assert plan_check(Check(pods), needed=True, outdated=True, now=NOW) == expected


def test_what_was_accepted_needs_no_pod_any_more() -> None:
    assert plan_check(Check([OTHER], accepted=True), needed=True, outdated=True, now=NOW) == CheckPlan(
        remove=("other",)
    )


def test_while_older_servers_are_being_replaced_it_stays_to_be_read() -> None:
    assert plan_check(Check([pod(verdict="Accepted")]), needed=False, outdated=True, now=NOW) == CheckPlan()


def test_it_is_over_when_no_server_is_outdated() -> None:
    planned = plan_check(Check([pod(), OTHER]), needed=False, outdated=False, now=NOW)
    assert planned == CheckPlan(remove=("one", "other"), ends=True)


def test_pods_that_end_without_a_word_are_made_ever_more_slowly() -> None:
    brake = PodHistory()
    for number in range(3):
        brake.fail(f"uid-{number}", "evicted", NOW)
    planned = plan_check(Check(brake=brake), needed=True, outdated=True, now=NOW)
    assert (planned.start, planned.settled, planned.braked) == (False, False, True)
    assert planned.held is not None
    later = plan_check(Check(brake=brake), needed=True, outdated=True, now=NOW + timedelta(minutes=5))
    assert (later.start, later.held) == (True, None)
