"""`python -m voice_agent`: read the configuration, run the worker until told to stop."""

from __future__ import annotations

import os

# Read by libraries when they are imported, here or in the job processes.
# The local turn model would cost 244 MB and is not used: the detector is always named.
os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
# All the linear algebra is a small transform; a pool of threads per process only costs memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# onnxruntime's own builds report to its maker from Linux too, and keep a device identifier (its Privacy.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import asyncio
import functools
import logging
import sys
from pathlib import Path

from . import config as configuration
from . import job
from .config import AgentConfig, ConfigError
from .provider_checks import ProviderMonitor
from .runner import lifecycle, logs
from .runner.provider_errors import ProviderErrorBoard
from .runner.server import WORKER_PORT, RunnerServer
from .runner.status import STATUS_PORT, WorkerStatus

logger = logging.getLogger("voice_agent")

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
SECRET_VARIABLES = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", *configuration.KEY_VARIABLES.values())
TERMINATION_LOG = Path("/dev/termination-log")


def main() -> int:
    _trim_secrets()
    logs.configure(
        os.environ.get("LIVEKIT_LOG_LEVEL", "INFO").upper(), (os.environ.get(name, "") for name in SECRET_VARIABLES)
    )
    try:
        config = configuration.load()
    except ConfigError as error:
        logger.critical("cannot start: %s", error)
        _say_last_words(str(error))
        return EXIT_CONFIG
    return asyncio.run(serve(config))


async def serve(config: AgentConfig) -> int:
    """Run the worker and its companions."""
    _let_children_import_this_package()

    server = RunnerServer(
        capacity=config.sessions_per_pod,
        idle_processes=config.idle_processes,
        drain_timeout=config.drain_timeout_seconds,
        # the file may change under a running pod: every process of this worker gets what the worker read
        setup=functools.partial(job.prewarm, config),
        preload=["voice_agent.preload"],
        port=int(os.environ.get("WORKER_PORT", WORKER_PORT)),
    )
    server.rtc_session(job.entrypoint, agent_name=config.agent_name, on_request=server.guard.on_request)
    board = ProviderErrorBoard.default()
    board.reset()
    monitor = ProviderMonitor(config, os.environ, board)
    return await lifecycle.run(
        WorkerStatus(server, board), monitor.run, status_port=int(os.environ.get("STATUS_PORT", STATUS_PORT))
    )


def _let_children_import_this_package() -> None:
    """The fork server starts with an empty sys.path[0] (python/cpython#117378): name the package's folder."""
    folder = str(Path(__file__).resolve().parent.parent)
    paths = [folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


def _trim_secrets() -> None:
    """A Secret made from a file ends with a line break, which no HTTP header may hold."""
    for name in SECRET_VARIABLES:
        if name in os.environ:
            os.environ[name] = os.environ[name].strip()


def _say_last_words(message: str) -> None:
    """Leave the reason where Kubernetes shows it: the container's termination message."""
    if TERMINATION_LOG.exists():
        try:
            TERMINATION_LOG.write_text(message[:4000], encoding="utf-8")
        except OSError:
            logger.debug("no termination message written", exc_info=True)


if __name__ == "__main__":
    sys.exit(main())
