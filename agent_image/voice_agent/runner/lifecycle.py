"""From start to exit: run the worker, drain on SIGTERM, say how it ended.

Neither way of starting that the library offers fits a pod. `python -m livekit.agents start` (cli._run_worker)
is current, but it serves nothing before the processes are warm, leaves no place for the status server, ends
with exit code 0 even when the worker failed, and exits at once, calls and all, on a second SIGTERM;
`cli.run_app` is deprecated. Both are thin shells over AgentServer.run(), drain() and aclose(), which are
public: that is what runs here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable

from aiohttp import web

from .status import STATUS_PORT, WorkerStatus, application

logger = logging.getLogger(__name__)


async def run(
    status: WorkerStatus, background: Callable[[], Awaitable[None]] | None = None, status_port: int = STATUS_PORT
) -> int:
    """Serve until told to stop, drain, and return the exit code; `background` runs beside the worker."""
    stop = asyncio.Event()
    _on_signals(stop)
    runner = web.AppRunner(application(status), access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, port=status_port).start()

    worker = asyncio.create_task(status.server.run(), name="worker")
    beside = asyncio.create_task(_logged(background), name="background") if background else None
    stopped = asyncio.create_task(stop.wait(), name="stop signal")
    try:
        await asyncio.wait({worker, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if worker.done() and (error := worker.exception()) is not None:
            status.failure = "the worker stopped by itself"
            logger.critical(status.failure, exc_info=error)
        status.stopping = True
        await _drain(status)
        return 1 if status.failure else 0
    finally:
        for task in (stopped, beside, worker):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        await runner.cleanup()


async def _drain(status: WorkerStatus) -> None:
    logger.info("draining", extra={"activeSessions": status.server.guard.occupied})
    try:
        await status.server.drain()
    except TimeoutError:
        logger.warning("drain timed out, ending the calls left", extra={"activeSessions": status.server.guard.occupied})
    await status.server.aclose()
    logger.info("stopped")


def _on_signals(stop: asyncio.Event) -> None:
    """SIGTERM drains, however often it comes; a second SIGINT, from someone at a terminal, exits at once."""

    def interrupt() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)


async def _logged(background: Callable[[], Awaitable[None]]) -> None:
    try:
        await background()
    except Exception:
        logger.exception("a background task failed")
