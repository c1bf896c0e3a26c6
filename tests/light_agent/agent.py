"""An agent that only keeps people company: `python agent.py start`.

It joins, says that it is listening, publishes and receives nothing, and leaves with the last person. It needs no
provider, no key but LiveKit's and no other file, so that one worker on little CPU holds hundreds of calls: all of
them as threads of one process.
"""

import os

# read by the library: no local model is used, and no loop is watched for being blocked (100 wake-ups a second each)
os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
os.environ.setdefault("LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS", "0")

from livekit import rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobExecutorType, cli
from livekit.rtc._ffi_client import FfiClient

SESSIONS = int(os.environ.get("LIGHT_AGENT_SESSIONS", "100"))
PEOPLE = {rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD, rtc.ParticipantKind.PARTICIPANT_KIND_SIP}

server = AgentServer(
    job_executor_type=JobExecutorType.THREAD,
    num_idle_processes=1,
    load_fnc=lambda worker: len(worker.active_jobs) / SESSIONS,
    load_threshold=1.0,
)


@server.rtc_session(agent_name=os.environ.get("LIVEKIT_AGENT_NAME") or "light")
async def entrypoint(ctx: JobContext) -> None:
    """Keep a room company until its last person leaves."""

    @ctx.room.on("participant_disconnected")
    def leave_with_the_last(_: rtc.RemoteParticipant) -> None:
        if not any(person.kind in PEOPLE for person in ctx.room.remote_participants.values()):
            ctx.shutdown("the last person left")

    await ctx.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)
    await ctx.room.local_participant.set_attributes({"lk.agent.state": "listening"})


if __name__ == "__main__":
    # Made before there are threads: two first calls at once would make two of them, and one call never connects.
    FfiClient.instance  # noqa: B018
    cli.run_app(server)
