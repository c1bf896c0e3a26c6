"""`python -m tests.benchmarks`: calls, pools, servers and polling, on the cluster that is up.

Prints a table and, last, one line of JSON; each part is a line of `.cluster/bench.jsonl` as well. Everything is
measured in one run on one machine. A part that fails says so and gives no figure; the others are printed, and the exit
code is 1.
"""

import argparse
import asyncio
import json
import secrets
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.benchmarks import polling, record
from tests.benchmarks.calls import KINDS, measure_calls
from tests.benchmarks.pools import bursts, costs, demand, greetings, losses, replies
from tests.benchmarks.servers import measure_servers
from tests.benchmarks.table import Figure, summary, table
from tests.harness import install
from tests.harness.kubectl import Kubectl
from tests.harness.resources import quickstart
from tests.harness.target import Target, find_target

# What can be measured, and the options that say how often.
PARTS: Mapping[str, Sequence[str]] = {
    "polling": (),
    "calls": ("calls", "starts"),
    "replies": ("questions",),
    "warm": ("calls",),
    "zero": ("times",),
    "burst": ("times",),
    "demand": ("times",),
    "lost": ("times",),
    "cost": (),
    "servers": ("rollouts",),
}


class Benchmarks:
    """What can be measured: a method for each of the parts."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._greetings = greetings.GreetingFigures()
        self._target: Target | None = None

    async def polling(self) -> list[Figure]:
        """Measure the operator alone: the one part that needs no cluster."""
        return polling.figures(await polling.measure_polling())

    async def calls(self) -> list[Figure]:
        """Measure conversations with the quickstart's agent."""
        async with self._namespace() as kubectl:
            return (await measure_calls(kubectl, self._options.calls, self._options.starts)).figures()

    async def replies(self) -> list[Figure]:
        """Measure replies by what ends the caller's turn."""
        figures = replies.ReplyFigures()
        agent = quickstart()[1]["spec"]["agent"]
        for mode in replies.MODES:
            async with self._namespace() as kubectl:
                await replies.measure_replies(kubectl, figures, mode, agent, self._options.questions)
        return figures.figures()

    async def warm(self) -> list[Figure]:
        """Measure greetings of a warm pool."""
        async with self._namespace() as kubectl:
            await greetings.measure_warm(kubectl, self._greetings, self._options.calls)
        return self._greetings.warm_figures()

    async def zero(self) -> list[Figure]:
        """Measure greetings of a pool that sleeps."""
        async with self._namespace() as kubectl:
            await greetings.measure_zero(kubectl, self._greetings, self._options.times)
        return self._greetings.zero_figures()

    async def burst(self) -> list[Figure]:
        """Measure calls that come at once."""
        figures = bursts.BurstFigures()
        for pods in (1, 2):
            async with self._namespace() as kubectl:
                await bursts.measure_burst(kubectl, figures, pods, self._options.times)
        return figures.figures()

    async def demand(self) -> list[Figure]:
        """Measure how soon a pool grows."""
        figures = demand.DemandFigures()
        async with self._namespace() as kubectl:
            await demand.measure_demand(kubectl, figures, self._options.times)
        return figures.figures()

    async def lost(self) -> list[Figure]:
        """Measure how soon a call has an agent again."""
        figures = losses.LossFigures()
        for pods in (2, 1):
            async with self._namespace() as kubectl:
                await losses.measure_loss(kubectl, figures, pods, self._options.times)
        return figures.figures()

    async def cost(self) -> list[Figure]:
        """Measure what pods use."""
        figures = costs.CostFigures()
        async with self._namespace() as kubectl:
            await costs.measure_cost(kubectl, figures)
        return figures.figures()

    async def servers(self) -> list[Figure]:
        """Measure how servers change."""
        async with self._namespace() as kubectl:
            return (await measure_servers(kubectl, self._options.rollouts)).figures()

    @asynccontextmanager
    async def _namespace(self) -> AsyncIterator[Kubectl]:
        """Give a part an empty namespace with the providers' keys, on a cluster with the chart and the stand-ins."""
        if self._target is None:
            self._target = await _install()
        kubectl = Kubectl(self._target, f"benchmark-{secrets.token_hex(3)}")
        await kubectl.create_namespace()
        try:
            await kubectl.apply(install.provider_secret(install.TEST_KEYS))
            yield kubectl
        finally:
            # A namespace that still has something with a finalizer is looked at again only after eight seconds.
            await kubectl("delete", KINDS, "--all", "--wait", "--timeout", "60s")
            await kubectl.delete_namespace()


async def _install() -> Target:
    target = find_target()
    images = install.find_images(target)
    base_urls = await install.install_providers(target, images)
    await install.install_chart(target, images, base_urls=base_urls)
    await install.remove_demo(target)
    return target


async def _measure(benchmarks: Benchmarks, options: argparse.Namespace) -> tuple[list[list[Figure]], list[str]]:
    """Return the figures of the wanted parts, and the names of those that failed."""
    task = asyncio.current_task()
    assert task
    # Whatever ends it, no namespace is left behind.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    found, failed = [], []
    for part in [part for part in PARTS if part in options.only]:
        measure: Callable[[], Awaitable[list[Figure]]] = getattr(benchmarks, part)
        began = record.circumstances()
        try:
            figures = await measure()
            print(table([figures]), file=sys.stderr)  # a part that lacks a figure fails here
            record.write_figures(part, {name: getattr(options, name) for name in PARTS[part]}, began, figures)
        except Exception:  # noqa: BLE001 - an hour's figures must not be lost with the last one
            traceback.print_exc()
            failed.append(part)
        else:
            found.append(figures)
    return found, failed


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="what to measure (default everything)"
    )
    parser.add_argument("--calls", type=int, default=10, help="calls, one after the other (default 10)")
    parser.add_argument("--questions", type=int, default=10, help="questions to each agent of replies (default 10)")
    parser.add_argument("--starts", type=int, default=5, help="first calls, each to a pod just started (default 5)")
    parser.add_argument("--times", type=int, default=5, help="bursts, wakings, demands and losses of pools (default 5)")
    parser.add_argument("--rollouts", type=int, default=3, help="rollouts and losses of servers (default 3)")
    options = parser.parse_args()
    found, failed = asyncio.run(_measure(Benchmarks(options), options))
    if found:
        print(table(found))
        print(json.dumps(summary(found)))
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
