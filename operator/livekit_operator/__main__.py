"""`python -m livekit_operator`: the operator as a process."""

import asyncio
import gc
import os
from contextlib import suppress

import kopf
import uvloop

from livekit_operator import logs, process
from livekit_operator.process import hooks
from livekit_operator.settings import Settings, load_settings


def main() -> None:
    """Run until told to stop; raises pydantic.ValidationError when a setting is wrong."""
    logs.configure(os.environ.get("LIVEKIT_OPERATOR_LOG_LEVEL", "info"))
    # kopf names its identity after the user, and a container's uid has no name.
    os.environ.setdefault("LOGNAME", "livekit-operator")
    settings = load_settings()
    # The caches of ten thousand rooms are millions of objects that live on and make no cycles: to go through them at
    # Python's own pace, which counts every 700 that are made, would be work for nothing.
    gc.set_threshold(50_000, 20, 100)
    with suppress(asyncio.CancelledError), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_operate(settings))


async def _operate(settings: Settings) -> None:
    await kopf.operator(
        clusterwide=True,
        standalone=True,  # one replica, replaced and not doubled by its Deployment: there is no peer to yield to
        liveness_endpoint=f"http://0.0.0.0:{settings.liveness_port}/healthz",
        memo=kopf.Memo(),
    )


__all__ = ["hooks", "main", "process"]

if __name__ == "__main__":
    main()
