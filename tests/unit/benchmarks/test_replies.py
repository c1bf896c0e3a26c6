"""Replies side by side: whom is asked, what is measured and what is printed."""

from types import SimpleNamespace
from typing import Any, Self

import pytest

from livekit_operator.api.agent import AgentSpec
from tests.benchmarks.__main__ import PARTS, Benchmarks
from tests.benchmarks.pools import replies
from tests.benchmarks.pools.replies import MODES, Mode, ReplyFigures, measure_replies
from tests.benchmarks.table import NotMeasuredError, table
from tests.fakes import schema
from tests.harness.resources import quickstart
from tests.providers.recorded import QUESTION, recorded

AGENT = quickstart()[1]["spec"]["agent"]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.key)
def test_each_agent_is_one_that_there_can_be(mode: Mode) -> None:
    spec = {**quickstart()[1]["spec"], "agent": mode.agent(AGENT)}
    assert schema.problems("VoiceAgentPool", "spec", spec) == []
    parsed = AgentSpec.model_validate(spec["agent"])
    assert ("realtime" in parsed.providers) is (mode.key == "realtime")
    assert (parsed.turns.detection == "semantic") is ("semantic" in mode.key)
    assert parsed.greeting, "it is waited for"


class Caller:
    """A call in which every question is answered, each later than the one before."""

    asked: list[tuple[str, int]]

    def __init__(self, secret: dict[str, str]) -> None:
        assert secret == {"token": "x"}
        self.greeted = False
        self.asked = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def greeting(self) -> None:
        self.greeted = True

    async def ask(self, text: str, *, samples: Any) -> Any:
        assert self.greeted, "before that nobody listens"
        self.asked.append((text, len(samples)))
        return SimpleNamespace(reply_ms=100.0 * len(self.asked))


async def test_one_agent_is_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: dict[str, Any] = {}

    async def set_up(_kubectl: object, rooms: int, **spec: Any) -> list[dict[str, str]]:
        applied.update(spec, rooms=rooms)
        return [{"token": "x"}]

    async def warm_pods(_kubectl: object, count: int, processes: int) -> list[str]:
        assert (count, processes) == (1, applied["idleProcesses"])
        return ["pod"]

    monkeypatch.setattr(replies, "set_up", set_up)
    monkeypatch.setattr(replies, "warm_pods", warm_pods)
    monkeypatch.setattr(replies, "pss_mib", lambda pod: 310.0 if pod == "pod" else 0)
    monkeypatch.setattr(replies, "Call", Caller)
    figures = ReplyFigures()
    await measure_replies(SimpleNamespace(), figures, MODES[1], AGENT, 3)  # type: ignore[arg-type]
    assert applied["agent"]["preset"] == "Balanced"
    assert (figures.replies, figures.memory) == ({"balanced": [100.0, 200.0, 300.0]}, {"balanced": 310.0})


def test_all_stand_in_one_table_and_only_the_fast_ones_have_a_target() -> None:
    figures = ReplyFigures(
        {mode.key: [500.0 + number] for number, mode in enumerate(MODES)}, {"balanced": 300.0, "semantic": 500.0}
    )
    rows = table([figures.figures()]).splitlines()[2:]
    assert [row.split(":")[0] for row in rows] == [*(mode.label for mode in MODES), "Balanced", "semantic"]
    assert [row.split(":")[0] for row in rows if "target 600 met" in row] == ["Fast", "Fast, semantic"]
    assert " ".join(rows[-1].split()).endswith("(PSS) 500 MiB")


def test_nothing_is_printed_where_an_agent_was_not_asked() -> None:
    figures = ReplyFigures({mode.key: [500.0] for mode in MODES[1:]}, {"balanced": 300.0, "semantic": 500.0})
    with pytest.raises(NotMeasuredError, match="Fast: end of speech"):
        table([figures.figures()])


def test_it_is_a_part_that_can_be_asked_for() -> None:
    assert PARTS["replies"] == ("questions",)
    assert callable(Benchmarks.replies)


def test_the_question_begins_and_ends_with_speech() -> None:
    """Replies are measured from the last sample."""
    samples = abs(recorded(QUESTION, 48000).samples)
    assert max(samples[:1440]) > 0.005
    assert max(samples[-1440:]) > 0.005
