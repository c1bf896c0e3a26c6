"""From start to exit: run the worker, drain on SIGTERM, say how it ended.

None of the ways of starting that the library offers fits a pod: they serve nothing before the processes are warm,
and exit at once, calls and all, on a second SIGTERM (cli._run_worker). But all of them are shells over
AgentServer.run(), drain() and aclose(), which are public. So the whole life of a worker takes place in here, while
such a shell believes that run() is going on; when it comes to draining and closing, both are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from .status import STATUS_PORT, WorkerStatus, application

logger = logging.getLogger(__name__)


async def run(
    status: WorkerStatus,
    start: Callable[[], Awaitable[Any]],
    background: Callable[[], Awaitable[None]] | None = None,
    signals: Sequence[int] = (signal.SIGTERM,),
) -> None:
    """Serve until told to stop, then drain; `background` runs beside the worker.

    Raises what the worker raised when it stopped by itself.
    """
    stop = asyncio.Event()
    _on_signals(status, stop, signals)
    site = await _serve(status)
    worker = asyncio.ensure_future(start())
    beside = asyncio.ensure_future(_logged(background)) if background else None
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({worker, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if worker.done() and (error := worker.exception()) is not None:
            status.failure = "the worker stopped by itself"
            logger.critical(status.failure, exc_info=error)
        status.stopping = True
        await _drain(status)
        await worker
    finally:
        for task in (stopped, beside, worker):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        if site is not None:
            await site.cleanup()
        if stop.is_set():
            # what is left is to exit, with code 0
            for number in signals:
                signal.signal(number, signal.SIG_IGN)


async def _drain(status: WorkerStatus) -> None:
    server, left = status.worker.server, status.worker.guard
    logger.info("draining", extra={"activeSessions": left.occupied})
    try:
        await server.drain()
    except (TimeoutError, asyncio.TimeoutError):  # noqa: UP041  two exceptions before Python 3.11
        logger.warning("drain timed out, ending the calls left", extra={"activeSessions": left.occupied})
    status.worker.sessions.cutting = True
    await server.aclose()
    # whoever called run() drains and closes once more, which not every version of the library takes
    server.drain = server.aclose = _nothing_left
    logger.info("stopped")


async def _nothing_left(*_: Any, **__: Any) -> None: ...


async def _serve(status: WorkerStatus) -> web.AppRunner | None:
    runner = web.AppRunner(application(status), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=int(os.environ.get("STATUS_PORT", STATUS_PORT))).start()
    except OSError:
        # the agent itself works; that it is never ready tells the rest
        logger.exception("cannot serve the worker's status")
        await runner.cleanup()
        return None
    return runner


def _on_signals(status: WorkerStatus, stop: asyncio.Event, signals: Sequence[int]) -> None:
    """SIGTERM drains, however often it comes; a second SIGINT, from someone at a terminal, exits at once.

    So does the first signal to a worker whose processes are not warm yet: it has no call, and the library's drain would
    wait for them first.
    """
    loop = asyncio.get_running_loop()

    def handle(number: int, _: Any) -> None:
        if number == signal.SIGINT and stop.is_set():
            os._exit(130)
        if not status.worker.started:
            os._exit(0)
        loop.call_soon_threadsafe(stop.set)

    try:
        for number in signals:
            # not loop.add_signal_handler: closing the loop would make a late SIGTERM deadly again
            signal.signal(number, handle)
    except ValueError as error:
        status.worker.not_applied["singleDrain"] = f"the worker does not run in the main thread: {error}"
        return
    status.worker.applied.append("singleDrain")
    # the library's command line sets handlers of its own, exiting at once, whenever run() has returned
    command_line = sys.modules.get("livekit.agents.cli.cli")
    if handled := getattr(command_line, "HANDLED_SIGNALS", None):
        setattr(command_line, "HANDLED_SIGNALS", [number for number in handled if number not in signals])  # noqa: B010


async def _logged(background: Callable[[], Awaitable[None]]) -> None:
    try:
        await background()
    except Exception:
        logger.exception("a background task failed")
