"""The two functions the worker hands to its job processes, light enough for the worker to import.

The worker only names them (they are pickled by name); the plugins behind them, some 30 MiB, live in the
job processes alone.
"""

from __future__ import annotations

from livekit.agents import JobContext, JobProcess

from .config import AgentConfig


def prewarm(config: AgentConfig, process: JobProcess) -> None:
    """Prepare a process for its one call."""
    from . import session

    session.prewarm(config, process)


async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    from . import session

    await session.entrypoint(ctx)
