"""Where the time of a reply goes, from the stand-ins' log: they write with the same clock as the caller."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.caller.report import CallReport
from tests.harness.install import PROVIDERS, PROVIDERS_PORT
from tests.harness.kubectl import Kubectl

Event = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """The parts of one reply in milliseconds; one that the log does not show is left out."""

    LABELS: ClassVar[dict[str, str]] = {
        "transcript": "end of speech -> final transcript sent (endpointing)",
        "speech": "final transcript -> first synthetic speech sent",
        "delivery": "first synthetic speech sent -> heard by the caller",
    }
    durations: dict[str, float]


async def provider_log(operator: Kubectl) -> list[Event]:
    """Return the stand-ins' log, through the API server."""
    path = f"/api/v1/namespaces/{operator.namespace}/services/{PROVIDERS}:{PROVIDERS_PORT}/proxy/control/log"
    answer = json.loads(await operator("get", "--raw", path))
    events: list[Event] = answer["events"] if isinstance(answer, dict) else answer
    return events


def reply_parts(report: CallReport, log: Sequence[Event]) -> Parts:
    """Return the parts of a call's first reply."""
    turn = next((turn for turn in report.turns if turn.reply_ms is not None), None)
    if turn is None or turn.reply_ms is None:
        return Parts({})
    spoken = report.placed_at_ms + turn.end_ms
    heard = spoken + turn.reply_ms
    marks = {
        "spoken": spoken,
        "transcript": _first(log, "stt", "heard", spoken, heard),
        "speech": _first(log, "tts", "first_audio", spoken, heard),
        "heard": heard,
    }
    pairs = {
        "transcript": ("spoken", "transcript"),
        "speech": ("transcript", "speech"),
        "delivery": ("speech", "heard"),
    }
    durations = {}
    for name, (begin, end) in pairs.items():
        started, ended = marks[begin], marks[end]
        if started is not None and ended is not None:
            durations[name] = ended - started
    return Parts(durations)


def _first(log: Sequence[Event], provider: str, event: str, after: float, before: float, **detail: Any) -> float | None:
    for entry in log:
        if entry["provider"] == provider and entry["event"] == event and after <= entry["at_ms"] <= before:
            return float(entry["at_ms"])
    return None
