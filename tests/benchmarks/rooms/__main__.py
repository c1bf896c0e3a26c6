"""`python -m tests.benchmarks.rooms --rooms N`: MeetingRooms by the thousand, on the local cluster that is up.

The API server and livekit-server are real. The operator is a process in a node's network, so that nothing else of a pod
is counted; an installed one is paused meanwhile. The floor is measured before and after it, with the same rooms, in the
same run.
Prints a table, what held the time, and, last, one line of JSON; `.cluster/bench.jsonl` gets a line as well.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from livekit_operator.constants import GROUP
from tests.benchmarks import record
from tests.benchmarks.rooms import profile, trail
from tests.benchmarks.rooms.api import Api
from tests.benchmarks.rooms.bench import NAMESPACE, Bench
from tests.benchmarks.rooms.figures import RATIOS, recorded, table
from tests.benchmarks.rooms.of_bare_script import BareScript
from tests.benchmarks.rooms.of_operator import MeasuredOperator
from tests.benchmarks.rooms.processes import forget, prepare
from tests.harness import install
from tests.harness.kubectl import Kubectl
from tests.harness.target import Target, find_target


@asynccontextmanager
async def _paused(target: Target) -> AsyncIterator[None]:
    """Keep an installed operator away: it would do everything as well."""
    system = Kubectl(target, install.SYSTEM_NAMESPACE)
    found = [d["metadata"]["name"] for d in await system.find("deployments", "app.kubernetes.io/name=livekit-operator")]
    for name in found:
        await system("scale", f"deployment/{name}", "--replicas=0")
        await system(
            "wait", "--for=delete", "pods", "--selector", "app.kubernetes.io/name=livekit-operator", "--timeout=60s"
        )
    try:
        yield
    finally:
        for name in found:
            await system("scale", f"deployment/{name}", "--replicas=1")


async def _run(bench: Bench) -> None:
    """Measure both: the bare script's creations before and after, as the machine gets faster and slower."""
    bare_script = BareScript(bench)
    if not bench.options.operator_only:
        await bare_script.measure()
    await MeasuredOperator(bench, bare_script).measure()
    if not bench.options.operator_only:
        await bare_script.measure_again()
    for key, one, other in RATIOS:
        if one in bench.figures and other in bench.figures:
            bench.tell(key, bench.figures[one] / bench.figures[other])


async def _measure(options: argparse.Namespace) -> Bench:
    target = find_target()
    if not target.local:
        raise SystemExit("the operator is a process on a node here: only the local cluster will do")
    api = await Api.connect(target)
    kubectl = Kubectl(target, NAMESPACE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # What a run that failed has left; an installed operator takes its finalizers off.
        await kubectl.delete_namespace()
        async with _paused(target):
            found = await kubectl.find("customresourcedefinitions")
            if not any(crd["spec"]["group"] == GROUP for crd in found):
                # Not over those that are there: the API server would end watches of their resources.
                await kubectl("apply", "--server-side", "--filename", "crds")
            await kubectl.create_namespace()
            await prepare(target, folder)
            bench = Bench(target, api, folder, options)
            try:
                await _run(bench)
            finally:
                await api.close()
                await forget(target)
            await kubectl.delete_namespace()
    return bench


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rooms", description=__doc__)
    parser.add_argument("--rooms", type=int, default=10000, help="rooms (default 10000)")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="seconds of nothing to do (default 60)")
    parser.add_argument(
        "--operator-only", action="store_true", help="without the bare script's rooms, in half the time"
    )
    parser.add_argument("--renewals", type=int, default=300, help="tokens made together and renewed (default 300)")
    parser.add_argument("--latency-rooms", type=int, default=100, help="rooms one by one (default 100)")
    options, began = parser.parse_args(), record.circumstances()
    measured = asyncio.run(_measure(options))
    print("\n".join([*table(measured.figures), "", *profile.table(measured.phases), "", *trail.table(measured.notes)]))
    print(json.dumps({key: round(value, 3) for key, value in measured.figures.items()}))
    record.write(record.FILE, record.Run("rooms", vars(options), began, recorded(measured.figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
