"""Whom a call may blame."""

import pytest

from tests.soak.losses import Loss, Losses

LOSSES = Losses(
    [
        Loss(10.0, "worker killed", frozenset({"desk-1"})),
        Loss(20.0, "node killed", frozenset({"desk-2", "voice-0", "10.89.0.11"})),
        Loss(30.0, "server killed", frozenset({"voice-0"})),
    ]
)


@pytest.mark.parametrize(
    ("names", "since", "cause"),
    [
        ({"desk-1"}, 5.0, "worker killed"),
        ({"desk-1"}, 10.0, "worker killed"),
        ({"desk-1"}, 10.1, ""),  # killed before the call was there
        ({"desk-3"}, 0.0, ""),
        (set(), 0.0, ""),
        ({"desk-3", "10.89.0.11"}, 0.0, "node killed"),
        ({"voice-0"}, 0.0, "server killed"),  # the last of several
        ({"desk-2", "voice-1"}, 15.0, "node killed"),
    ],
)
def test_a_call_blames_what_killed_something_it_was_on(names: set[str], since: float, cause: str) -> None:
    assert LOSSES.cause(names, since) == cause


def test_what_is_noted_is_from_now_on() -> None:
    losses = Losses()
    assert losses.cause({"desk-1"}, 0.0) == ""
    losses.note("worker killed", ["desk-1"])
    assert losses.cause({"desk-1"}, 0.0) == "worker killed"
    assert losses.cause({"desk-1"}, losses.all[0].at + 1) == ""
