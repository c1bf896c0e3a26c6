"""How the check of a configuration, the brake and what is missing hold a rollout back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from livekit_operator import reasons
from livekit_operator.errors import Problem
from livekit_operator.reconciling.decisions.brakes import PodHistory
from livekit_operator.servers.decisions.configuration_check import Check, CheckPlan, CheckPod
from livekit_operator.servers.decisions.plan import Circumstances, Goal, Plan, plan
from livekit_operator.servers.decisions.rollout import Leave, ServerPod

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOAL = Goal(replicas=1, shared=False, drain_timeout=timedelta(hours=1))
OLD = ServerPod("voice-livekit-0", 0, NOW, current=False, ready=True, serving=True, rooms=0, participants=0)
ENDED = ServerPod("voice-livekit-0", 0, NOW, finished=True)
ACCEPTED = Check([CheckPod("check", NOW, wanted=True, verdict="Accepted", finished=True)])
REFUSED = Check(
    [CheckPod("check", NOW, wanted=True, verdict="Refused", problem=Problem(reasons.CONFIG_REJECTED, "No."))]
)


def failing(pods: int) -> PodHistory:
    """Return the brake of a server whose pods have ended soon after they were made."""
    brake = PodHistory()
    for number in range(pods):
        brake.fail(f"uid-{number}", "evicted", NOW)
    return brake


def test_the_first_server_starts_at_once_and_unchecked() -> None:
    assert plan([], GOAL, Circumstances(), NOW) == Plan(
        slots=frozenset({0}), settled=True, check=CheckPlan(ends=True), start=(0,)
    )


@pytest.mark.parametrize(
    ("check", "start"),
    [
        pytest.param(Check(), (), id="not before it is checked"),
        pytest.param(REFUSED, (), id="nor when it is refused"),
        pytest.param(ACCEPTED, (1,), id="when it is accepted"),
    ],
)
def test_a_new_configuration_beside_a_server_that_works(check: Check, start: tuple[int, ...]) -> None:
    decided = plan([OLD], GOAL, Circumstances(check=check), NOW)
    assert decided.start == start
    assert decided.check.settled == bool(start)
    assert decided.slots == {0, 1}, "its Service is made meanwhile: a load balancer takes its time"
    assert not decided.settled, "the older server may need what the earlier spec wanted"


@pytest.mark.parametrize(
    "circumstances",
    [
        pytest.param(Circumstances(inputs_known=False), id="a Secret is missing"),
        pytest.param(Circumstances(startable=False), id="its ports are another's"),
    ],
)
def test_what_is_missing_keeps_a_server_from_starting_and_being_checked(circumstances: Circumstances) -> None:
    waiting = replace(circumstances, unaddressed={1: NOW - timedelta(hours=1)})
    decided = plan([OLD], GOAL, waiting, NOW)
    assert (decided.start, decided.yields, decided.check.start) == ((), (), False)
    assert decided.slots == {0, 1}


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        pytest.param(ACCEPTED, (Leave(OLD.name),), id="it could take the place"),
        pytest.param(REFUSED, (), id="it could not run there"),
    ],
)
def test_an_older_server_gives_up_its_place_only_to_one_that_can_run(check: Check, expected: tuple[Leave, ...]) -> None:
    waiting = Circumstances(check=check, unaddressed={1: NOW - timedelta(hours=1)})
    assert plan([OLD], GOAL, waiting, NOW).yields == expected


def test_while_the_brake_holds_the_pod_that_ended_stays_to_be_seen() -> None:
    decided = plan([ENDED], GOAL, Circumstances(brake=failing(3)), NOW)
    assert (decided.start, decided.leave) == ((), ())
    assert decided.held is not None
    later = plan([ENDED], GOAL, Circumstances(brake=failing(3)), NOW + timedelta(minutes=5))
    assert (later.start, later.leave, later.held) == ((1,), (Leave(ENDED.name),), None)


def test_the_brake_lets_only_some_of_many_start() -> None:
    brake = PodHistory(made={f"uid-{number}": NOW for number in range(40)})
    decided = plan([], replace(GOAL, replicas=12, shared=True), Circumstances(brake=brake), NOW)
    assert decided.start == tuple(range(6)), "ten and three for each wanted one in a minute"
    assert decided.held is not None


def test_slots_whose_node_ports_are_reserved_keep_their_service() -> None:
    decided = plan([], replace(GOAL, replicas=0, kept_slots=frozenset({0, 1})), Circumstances(), NOW)
    assert decided.slots == {0, 1}
