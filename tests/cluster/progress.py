"""Steps shown with the time since the command began, and kept as timings.

[  0.1s] packages: installed already
[ 10.1s]   ... kubernetes: 412 packages compiled (10s)
[ 93.4s] kubernetes: built (93.2s)
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import layout

HEARTBEAT_SECONDS = 10.0
# Below this a duration is noise.
SHOWN_SECONDS = 0.5

_began = time.monotonic()
_timings: dict[str, float] = {}
_under_way: list["Step"] = []


def say(text: str) -> None:
    """Print one line with the time since the command began."""
    print(f"[{time.monotonic() - _began:6.1f}s] {text}", flush=True)


class Step:
    """One step under way: what it is doing now, and how it ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.doing = "under way"
        self.result = "done"


def doing(text: str) -> None:
    """Say what the step under way is doing now; its next sign of life shows it."""
    if _under_way:
        _under_way[-1].doing = text


@contextmanager
def step(name: str) -> Iterator[Step]:
    """Show a step's end and, every ten seconds, that it is still under way."""
    current = Step(name)
    began = time.monotonic()
    ended = threading.Event()
    heartbeat = threading.Thread(target=_beat, args=(current, began, ended), daemon=True)
    heartbeat.start()
    _under_way.append(current)
    try:
        yield current
    finally:
        _under_way.remove(current)
        ended.set()
        heartbeat.join()
    took = time.monotonic() - began
    _timings[name] = round(took, 2)
    say(f"{name}: {current.result}" + (f" ({took:.1f}s)" if took >= SHOWN_SECONDS else ""))


def _beat(current: Step, began: float, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        # A step within this one speaks for it.
        if _under_way[-1:] == [current]:
            say(f"  ... {current.name}: {current.doing} ({time.monotonic() - began:.0f}s)")


def keep_timings(command: str) -> None:
    """Write what each step of this command took; the other commands' stay."""
    layout.STATE.mkdir(parents=True, exist_ok=True)
    try:
        kept = json.loads(layout.TIMINGS.read_text())
    except (FileNotFoundError, ValueError):
        kept = {}
    kept[command] = {**_timings, "total": round(time.monotonic() - _began, 2)}
    layout.TIMINGS.write_text(json.dumps(kept, indent=2) + "\n")
