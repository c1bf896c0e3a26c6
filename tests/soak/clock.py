"""The operator's clock, which a soak moves while the operator runs; nobody else's moves.

The operator's pod is given Debian's libfaketime, which reads from a file of this machine by how much the clock is off.
What timers go by is left alone, as it is where a machine's clock is set.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster import layout
from tests.harness.install import RELEASE
from tests.harness.kubectl import CommandError, Kubectl, Manifest
from tests.harness.operator import running_pod

_LIBRARY = "libfaketime.so.1"
_FOLDER = layout.DATA / "clock"
_MOUNTED = "/clock"


class OperatorsClock:
    """Moves the clock of the operator that runs, and of those that come after it."""

    def move(self, seconds: int) -> None:
        """Have the clock be so many seconds ahead, or behind; the operator reads it within a second."""
        # Moved into place whole: the operator reads it at any moment.
        written = _FOLDER / "offset.new"
        written.write_text(f"{seconds:+d}\n")
        written.replace(_FOLDER / "offset")


@asynccontextmanager
async def operators_clock(operator: Kubectl) -> AsyncIterator[OperatorsClock]:
    """Have the operator run by a clock that can be moved, and as it was afterwards; it starts anew both times."""
    clock = OperatorsClock()
    await asyncio.to_thread(_prepare)
    clock.move(0)
    before = (await operator.get("deployment", RELEASE))["spec"]["template"]
    try:
        await _replace(operator, with_clock(before))
        yield clock
    finally:
        clock.move(0)
        await _replace(operator, before)


def _prepare() -> None:
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{_LIBRARY}"))
    if not found:
        raise CommandError("the Debian package libfaketime is missing: `make cluster` installs it")
    _FOLDER.mkdir(exist_ok=True)
    _FOLDER.chmod(0o755)
    # Where every node's pods find it: a node has this machine's file system, but for some folders of its own.
    shutil.copy(found[0], _FOLDER / _LIBRARY)


def with_clock(template: Manifest) -> Manifest:
    """Return a pod's template whose first container runs by the clock."""
    changed: Manifest = json.loads(json.dumps(template))
    container = changed["spec"]["containers"][0]
    environment = {
        "LD_PRELOAD": f"{_MOUNTED}/{_LIBRARY}",
        "FAKETIME_TIMESTAMP_FILE": f"{_MOUNTED}/offset",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    container["env"] = [*container.get("env", ()), *({"name": k, "value": v} for k, v in environment.items())]
    mount = {"name": "clock", "mountPath": _MOUNTED, "readOnly": True}
    container["volumeMounts"] = [*container.get("volumeMounts", ()), mount]
    volume = {"name": "clock", "hostPath": {"path": str(_FOLDER), "type": "Directory"}}
    changed["spec"]["volumes"] = [*changed["spec"].get("volumes", ()), volume]
    return changed


async def _replace(operator: Kubectl, template: Manifest) -> None:
    patch = json.dumps([{"op": "replace", "path": "/spec/template", "value": template}])
    await operator("patch", "deployment", RELEASE, "--type", "json", "--patch", patch)
    await operator("rollout", "status", f"deployment/{RELEASE}", "--timeout=120s")
    await running_pod(operator)
