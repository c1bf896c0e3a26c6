"""A node that is drained, as an administrator does it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.harness.kubectl import CommandError, Kubectl

LABEL = "story"


@asynccontextmanager
async def draining_node(kubectl: Kubectl, node: str) -> AsyncIterator[asyncio.Task[str]]:
    """Drain a node of the pods whose label `story` names this namespace; it takes pods again afterwards."""
    only = ("--pod-selector", f"{LABEL}={kubectl.namespace}", "--delete-emptydir-data", "--ignore-daemonsets")
    drain = asyncio.create_task(kubectl("drain", node, *only, "--timeout", "240s"))
    try:
        yield drain
    finally:
        await kubectl("uncordon", node)
        with suppress(CommandError, TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(drain, 1)
