"""`python -m voice_agent`: read the configuration, run the worker until told to stop."""

from __future__ import annotations

import os
import signal

# The kernel drops signals to a container's first process that it has no handler for: one that comes while this still
# imports would be lost, and only one is sent. Nothing has begun yet, so there is nothing to end.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

# Read by libraries when they are imported, here or in the job processes.
# The local turn model would cost 244 MB: preload.py loads it where the configuration asks for it.
os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
# All the linear algebra is a small transform; a pool of threads per process only costs memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# onnxruntime's own builds report to its maker from Linux too, and keep a device identifier (its Privacy.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Every process looks whether its event loop is blocked, 100 times a second by default, which makes up most of what
# idle processes cost; with this limit it looks 40 times.
os.environ.setdefault("LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS", "250")

import asyncio
import functools
import logging
import sys
from pathlib import Path

from livekit.agents import AgentServer

from . import config as configuration
from . import job, logs, plugins, provider_errors, proxies
from .config import AgentConfig, ConfigError
from .provider_checks import ProviderMonitor
from .provider_errors import ProviderErrorBoard
from .runner import lifecycle, stacks
from .runner.settings import EXIT_CONFIG, Settings, say_last_words
from .runner.status import WorkerStatus
from .runner.worker import SupervisedWorker

logger = logging.getLogger("voice_agent")

WORKER_PORT = 8081


def main() -> int:
    _trim_secrets()
    proxies.name_for_websockets(os.environ)
    logs.configure(
        os.environ.get("LIVEKIT_LOG_LEVEL", "INFO").upper(),
        [os.environ[name] for name in configuration.secrets_of(os.environ)],
    )
    try:
        config = configuration.load()
        plugins.check(config)
    except ConfigError as error:
        logger.critical("cannot start: %s", error)
        say_last_words(str(error))
        return EXIT_CONFIG
    return asyncio.run(serve(config))


async def serve(config: AgentConfig) -> int:
    """Run the worker and its companions."""
    _let_children_import_this_package()
    stacks.protect()

    server = AgentServer(
        # the file may change under a running pod: every process of this worker gets what the worker read
        setup_fnc=functools.partial(job.prewarm, config),
        preload_modules=["voice_agent.preload"],
        initialize_process_timeout=float(config.initialize_timeout_seconds),
        port=int(os.environ.get("WORKER_PORT", WORKER_PORT)),
    )
    server.rtc_session(job.entrypoint, agent_name=config.agent_name)
    worker = SupervisedWorker(server, settings(config))
    worker.apply()
    board = ProviderErrorBoard.default()
    board.reset()
    status = WorkerStatus(worker, lambda: provider_errors.document(board.current(), config))
    monitor = ProviderMonitor(config, os.environ, board)
    try:
        await lifecycle.run(status, server.run, monitor.run, signals=(signal.SIGTERM, signal.SIGINT))
    except Exception:  # noqa: BLE001  it has told why
        return 1
    return 0


def settings(config: AgentConfig) -> Settings:
    """What the runner needs of the configuration."""
    return Settings(
        agent_name=config.agent_name,
        sessions_per_pod=config.sessions_per_pod,
        idle_processes=config.idle_processes,
        drain_timeout_seconds=config.drain_timeout_seconds,
        metrics_port=config.metrics_port,
    )


def _let_children_import_this_package() -> None:
    """The fork server starts with an empty sys.path[0] (python/cpython#117378): name the package's folder."""
    folder = str(Path(__file__).resolve().parent.parent)
    paths = [folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


def _trim_secrets() -> None:
    """A Secret made from a file ends with a line break, which no HTTP header may hold."""
    for name in list(configuration.secrets_of(os.environ)):
        os.environ[name] = os.environ[name].strip()


if __name__ == "__main__":
    sys.exit(main())
