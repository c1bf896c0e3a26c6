"""What a person sees of a soak."""

from tests.soak.calling import Record
from tests.soak.memory import Growth
from tests.soak.plan import QUICK, Fault, Kind, Plan, Sizes
from tests.soak.report import Happened, Outcome, report

KINDS = (Kind.SERVER, Kind.CPU)
FAULTS = (
    Fault(1, Kind.SERVER, pause=2.0, lasts=0.0, chance=0.5),
    Fault(2, Kind.CPU, pause=2.0, lasts=20.0, chance=0.5),
    Fault(3, Kind.SERVER, pause=2.0, lasts=0.0, chance=0.5),
    Fault(4, Kind.CPU, pause=2.0, lasts=20.0, chance=0.5),
)
PLAN = Plan(7, Sizes(rooms=10, kills=1, calls=3, minutes=2.5, kinds=KINDS), (5,), FAULTS, ())
HAPPENED = [Happened(FAULTS[0], "voice-0", 21.34), Happened(FAULTS[1], "", 3.0), Happened(FAULTS[2], "voice-1", 8.0)]
RECORDS = [
    Record("call-1", waited=1.0),
    Record("call-2", waited=4.0, cut="SERVER_SHUTDOWN", cause="server killed"),
    Record("call-3", waited=2.0, cut="its agent left"),
    Record("call-4", failed="no agent"),
]


def test_each_fault_is_told_on_a_line() -> None:
    assert str(HAPPENED[0]) == "fault 1: server killed (voice-0); healed after 21.3 s"
    assert str(HAPPENED[1]) == "fault 2: CPU taken for 20 s; healed after 3.0 s"
    assert str(Happened(FAULTS[2], "voice-1", None)) == "fault 3: server killed (voice-1); NOT HEALED"


def test_a_soak_that_holds() -> None:
    outcome = Outcome(PLAN, HAPPENED, RECORDS[:2], Growth(60.0, 100.0, 1.25), {"every room is ready": []})
    assert report(outcome) == (
        "fault                   times  slowest healing   bound\n"
        "server killed               2           21.3 s   120 s\n"
        "CPU taken                   1            3.0 s    60 s\n"
        "3 of 4 planned faults happened\n"
        "\n"
        "calls: 2 made, 1 cut (server killed 1)\n"
        "seconds until an agent was there: median 4.0, longest 4.0\n"
        "operator's memory: +1.2 MiB in 60 s, from 100 MiB; 10 at most\n"
        "\n"
        "invariants\n"
        "  holds   every room is ready"
    )
    assert outcome.problems == []


def test_a_soak_that_does_not_hold_says_how_to_repeat_it() -> None:
    broken = [f"MeetingRoom {number} is gone" for number in range(7)]
    happened = [*HAPPENED, Happened(FAULTS[3], "", None)]
    told = report(Outcome(PLAN, happened, RECORDS, None, {"every room is ready": broken, "no memory growing": []}))
    assert "CPU taken                   2            NEVER    60 s\n" in told
    assert "calls: 4 made, 2 cut (NO CAUSE 1, server killed 1)\n" in told
    assert "median 2.0, longest 4.0\n" in told
    assert "  BROKEN  every room is ready\n            MeetingRoom 0 is gone\n" in told
    assert "MeetingRoom 4 is gone\n            and 2 more\n" in told
    assert told.endswith(
        "\n\nagain: make soak SEED=7 MINUTES=2.5 ROOMS=10 CALLS=3 KILLS=1 FAULTS='server killed,CPU taken'"
    )


def test_where_all_kinds_happen_none_is_named() -> None:
    sizes = Sizes(rooms=10, kills=1, calls=3, minutes=2)
    assert Outcome(Plan(7, sizes, (), (), ())).command == "make soak SEED=7 MINUTES=2 ROOMS=10 CALLS=3 KILLS=1"
    quick = Sizes(rooms=10, kills=1, calls=3, minutes=2, kinds=QUICK)
    assert "FAULTS='operator killed," in Outcome(Plan(7, quick, (), (), ())).command
