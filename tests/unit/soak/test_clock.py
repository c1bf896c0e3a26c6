"""The operator's pod with a clock that can be moved, and the program's time by it."""

import copy
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import packages
from tests.soak import clock
from tests.soak.clock import OperatorsClock, with_clock

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "operator"}},
    "spec": {"containers": [{"name": "operator", "env": [{"name": "LOG", "value": "info"}]}, {"name": "other"}]},
}


def test_the_first_container_runs_by_the_clock() -> None:
    before = copy.deepcopy(TEMPLATE)
    changed = with_clock(TEMPLATE)
    assert before == TEMPLATE
    operator, other = changed["spec"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in operator["env"]}
    assert environment["LOG"] == "info"
    assert environment["LD_PRELOAD"].startswith(f"{operator['volumeMounts'][0]['mountPath']}/")
    assert operator["volumeMounts"][0]["name"] == changed["spec"]["volumes"][0]["name"]
    assert changed["spec"]["volumes"][0]["hostPath"]["path"] == str(clock._FOLDER)
    assert other == {"name": "other"}
    assert changed["metadata"] == TEMPLATE["metadata"]


def test_a_clock_is_moved_while_a_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.ensure()
    monkeypatch.setattr(clock, "_FOLDER", tmp_path / "clock")
    moved = OperatorsClock()
    clock._prepare()
    moved.move(0)
    container = with_clock(TEMPLATE)["spec"]["containers"][0]
    settings = {e["name"]: e["value"].replace("/clock", str(tmp_path / "clock")) for e in container["env"]}
    program = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin
        assert running.stdout

        def off() -> tuple[float, float]:
            assert running.stdin
            assert running.stdout
            print("now", file=running.stdin, flush=True)
            said, monotonic = running.stdout.readline().split()
            return float(said) - time.time(), float(monotonic) - time.monotonic()

        assert abs(off()[0]) < 5
        for seconds in (3600, -7200, 0):
            moved.move(seconds)
            deadline = time.monotonic() + 20
            while abs(off()[0] - seconds) > 5:
                assert time.monotonic() < deadline, f"its clock is not off by {seconds} s"
            assert abs(off()[1]) < 5, "timers go by another clock now"
        running.stdin.close()
