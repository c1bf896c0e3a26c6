"""An agent as a user writes one: it knows nothing of the runner. Its jobs never join a room."""

import asyncio
import os
from pathlib import Path

from livekit.agents import AgentServer, JobContext, JobExecutorType, JobRequest, cli

server = AgentServer(
    job_executor_type=JobExecutorType[os.environ.get("EXECUTOR", "PROCESS")],
    port=0,
    load_fnc=lambda: 0.0,
    num_idle_processes=5,
    drain_timeout=1,
    max_retry=1,
)


async def on_request(request: JobRequest) -> None:
    if request.job.metadata == "unwanted":
        await request.reject()
        return
    await asyncio.sleep(0.1)  # a decision takes time, in which the next request comes
    await request.accept(identity="the one")


@server.rtc_session(agent_name="name-in-the-code", on_request=on_request)
async def entrypoint(ctx: JobContext) -> None:
    if ctx.job.metadata == "raise":
        raise RuntimeError("the entrypoint of the test")
    if ctx.job.metadata == "hang up":
        ctx.shutdown()
    if ctx.job.metadata == "pid":
        Path("pid").write_text(str(os.getpid()))  # noqa: ASYNC240
    if ctx.job.metadata == "crash":
        os._exit(3)


if __name__ == "__main__":
    cli.run_app(server)
