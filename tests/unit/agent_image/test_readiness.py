"""When a worker is ready, and what it says when it is not."""

import pytest

from voice_agent.runner.readiness import WorkerState, reasons_not_ready


@pytest.mark.parametrize(
    ("state", "reasons"),
    [
        (WorkerState(True, True, False), []),
        (WorkerState(False, True, False), ["idle processes are not warm yet"]),
        (
            WorkerState(False, True, False, None, "the last one failed: no model"),
            ["idle processes are not warm yet: the last one failed: no model"],
        ),
        (WorkerState(True, True, False, None, "one failed, and another was warm"), []),
        (WorkerState(True, False, False), ["not registered with the LiveKit server"]),
        (WorkerState(True, True, True), ["draining"]),
        (
            WorkerState(False, False, False),
            ["idle processes are not warm yet", "not registered with the LiveKit server"],
        ),
        (WorkerState(True, True, False, "it broke"), ["failed: it broke"]),
    ],
)
def test_reasons(state: WorkerState, reasons: list[str]) -> None:
    assert reasons_not_ready(state) == reasons
