"""Supervises the worker of an agent that knows nothing of this package."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from . import stacks

logger = logging.getLogger(__name__)

# The first with AgentServer; before it a worker had its options at once, and nothing to change them by.
OLDEST = "1.3"
OWNER_VARIABLE = "LIVEKIT_RUNNER_PID"
_claimed = False


def patch(module: ModuleType) -> None:
    """Have the worker class of `livekit.agents.worker`, just imported, run under supervision.

    Little else is imported before a worker runs: job processes pass here too, and livekit.agents itself is not
    yet there as a whole.
    """
    kind = getattr(module, "AgentServer", None)
    if kind is None:
        _refuse_worker(getattr(module, "Worker", None))
        return
    original = kind.run

    @functools.wraps(original)
    async def run(self: Any, *args: Any, **options: Any) -> Any:
        start = functools.partial(original, self, *args, **options)
        if options.get("unregistered") or not _claim():
            return await start()
        return await supervise(self, start)

    kind.run = run
    stacks.protect()


def _refuse_worker(kind: Any) -> None:
    """Have no worker run of a livekit-agents before 1.3: nothing of it can be applied, and its calls have no cap."""
    if kind is None:
        logger.error("this livekit-agents has no AgentServer: the agent runs without the runner")
        return

    @functools.wraps(kind.run)
    async def run(*_: Any, **__: Any) -> None:
        from .settings import refuse

        version = getattr(sys.modules.get("livekit.agents"), "__version__", "of this image")
        refuse(
            f"livekit-agents {version} is too old for it. Put livekit-agents {OLDEST} or newer into the image, or set "
            "spec.agent.runner to None and have your code limit the calls and wait for them at SIGTERM."
        )

    kind.run = run


def _claim() -> bool:
    """Whether this is the container's first worker: a second one would find the status port taken."""
    global _claimed
    if _claimed or os.environ.get(OWNER_VARIABLE, str(os.getpid())) != str(os.getpid()):
        logger.warning("a second worker in one container runs without the runner")
        return False
    _claimed = True
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    return True


async def supervise(server: Any, start: Callable[[], Awaitable[Any]]) -> None:
    """Run a server, which `start` starts, as the pod's settings say."""
    from . import lifecycle
    from .settings import SettingsError, load, refuse
    from .status import WorkerStatus
    from .worker import SupervisedWorker

    try:
        settings = load()
    except SettingsError as error:
        refuse(str(error))
    worker = SupervisedWorker(server, settings)
    worker.apply()
    await lifecycle.run(WorkerStatus(worker), start)
