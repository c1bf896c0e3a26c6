"""A table of reasons as Markdown: what it shows, and what it leaves empty."""

from livekit_operator import reasons
from livekit_operator.api.writers.reasons import build_table
from livekit_operator.reasons.tables import EVENT, Row, Table


def test_a_row_for_several_reasons_and_for_those_that_are_told_elsewhere() -> None:
    rows = (
        Row((reasons.STARTING, reasons.DRAINING), "pods come and go"),
        Row((reasons.ALL_WORKERS_FULL,), "", "wait", others=True),
    )
    table = Table("docs/x.md", "x", ("VoiceAgentPool",), ("reason", "meaning", "what to do"), rows)
    assert build_table(table).splitlines() == [
        "| reason | meaning | what to do |",
        "|---|---|---|",
        "| `Starting`, `Draining` | pods come and go | |",
        "| `AllWorkersFull`, … | | wait |",
    ]


def test_a_condition_is_named_once_and_each_event() -> None:
    rows = (
        Row((reasons.STARTING,), "a", condition="Progressing", most="ten"),
        Row((reasons.UP_TO_DATE,), "b", condition="Progressing"),
        Row((reasons.WORKER_ENDS,), "c", condition=EVENT),
        Row((reasons.ADOPTED,), "d", condition=EVENT),
    )
    table = Table("docs/x.md", "x", ("VoiceAgentPool",), ("condition", "reason of it", "what it is", "the most"), rows)
    assert build_table(table).splitlines()[2:] == [
        "| `Progressing` | `Starting` | a | ten |",
        "| | `UpToDate` | b | |",
        "| Event | `WorkerEnds` | c | |",
        "| Event | `Adopted` | d | |",
    ]
