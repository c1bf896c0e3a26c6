"""`python -m tests.soak`: rooms, calls and faults at random on the local cluster, and what must hold after them.

Prints the seed first, then each fault on a line, and last the tables. The exit code is 1 when an invariant does not
hold; the command that repeats the soak is printed with it.
"""

import argparse
import asyncio
import random
import secrets
import signal
import sys
from collections.abc import Sequence

from tests.e2e.conftest import Platform, Story
from tests.harness import install
from tests.harness.contents import OWN_KINDS
from tests.harness.kubectl import CommandError, Kubectl
from tests.harness.target import Target, TargetError, find_target
from tests.harness.witness import Witness
from tests.soak.course import Soak, say
from tests.soak.plan import Kind, Plan, Sizes, make_plan
from tests.soak.report import Outcome, report

_SEEDS = 10**6


async def soak(target: Target, plan: Plan) -> Outcome:
    """Do what is planned in a namespace of its own, which is deleted afterwards."""
    platform = Platform(target, Kubectl(target, install.SYSTEM_NAMESPACE))
    kubectl = Kubectl(target, f"soak-{secrets.token_hex(3)}")
    await kubectl.create_namespace()
    deployment = f"/apis/apps/v1/namespaces/{install.SYSTEM_NAMESPACE}/deployments/{install.RELEASE}"
    try:
        async with Witness(target, lambda name: name == kubectl.namespace, deployment) as witness:
            return await Soak(Story(platform, kubectl), plan, witness.jury.found.values).run()
    finally:
        # A namespace that still has something with a finalizer is looked at again only after eight seconds.
        await kubectl("delete", OWN_KINDS, "--all", "--wait", "--timeout", "120s")
        await kubectl.delete_namespace()


async def _soaks(plans: Sequence[Plan]) -> list[Outcome]:
    target = find_target()
    if not target.local:
        raise TargetError("A soak takes nodes and the API server away: it is for the local cluster alone.")
    task = asyncio.current_task()
    assert task
    # Whatever ends it, no namespace is left behind and no fault goes on.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    images = install.find_images(target)
    base_urls = await install.install_providers(target, images)
    await install.install_chart(target, images, base_urls=base_urls)
    await install.remove_demo(target)
    outcomes = []
    for number, plan in enumerate(plans, 1):
        say(f"soak {number} of {len(plans)}: seed {plan.seed}, {len(plan.faults)} faults planned")
        outcomes.append(await soak(target, plan))
        print(f"\n{report(outcomes[-1])}\n", flush=True)
    return outcomes


def plans(words: Sequence[str] | None = None) -> list[Plan]:
    """Return what the command line asks for."""
    usual = Sizes()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="what all follows from (default at random)")
    parser.add_argument("--times", type=int, default=1, help="how many soaks, each of the next seed (default 1)")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help=f"of faults (default {usual.minutes:g})")
    parser.add_argument("--rooms", type=int, default=usual.rooms, help=f"MeetingRooms (default {usual.rooms})")
    parser.add_argument("--kills", type=int, default=usual.kills, help=f"while they come (default {usual.kills})")
    parser.add_argument("--calls", type=int, default=usual.calls, help=f"beside faults (default {usual.calls})")
    parser.add_argument("--faults", default="", help=f"kinds, with commas between (default all: {', '.join(Kind)})")
    options = parser.parse_args(words)
    kinds = tuple(Kind(name.strip()) for name in options.faults.split(",")) if options.faults else usual.kinds
    sizes = Sizes(options.rooms, options.kills, options.calls, options.minutes, kinds)
    first = random.randrange(_SEEDS) if options.seed is None else options.seed
    return [make_plan(first + number, sizes) for number in range(options.times)]


def main() -> int:
    """Soak and report."""
    wanted = plans()
    print(f"seed {wanted[0].seed}", flush=True)
    try:
        outcomes = asyncio.run(_soaks(wanted))
    except (TargetError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    broken = [outcome for outcome in outcomes if outcome.problems]
    for outcome in broken:
        print(f"seed {outcome.plan.seed} does not hold; again: {outcome.command}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
