"""An agent that plays a tone to whoever is in its room, until the last person leaves: `python agent.py start`.

An even tone shows what speech hides: every moment in which a caller does not hear the agent. It needs no provider and
no other file. It says in its attributes which pod it came from and which version that is.
"""

import asyncio
import os

# Read by the library: no local model is used, and no loop is watched for being blocked (100 wake-ups a second each).
os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
os.environ.setdefault("LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS", "0")

import numpy as np
from livekit import rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobRequest, cli

RATE = 48000
FRAME_SECONDS = 0.1
PEOPLE = {rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD, rtc.ParticipantKind.PARTICIPANT_KIND_SIP}

# Its own measure would take no call on a machine that others keep busy.
server = AgentServer(load_fnc=lambda: 0.0)


async def answer(request: JobRequest) -> None:
    """Take a call."""
    await request.accept(attributes={"pod": os.environ["HOSTNAME"], "version": os.environ.get("VERSION", "")})


@server.rtc_session(on_request=answer, agent_name=os.environ.get("LIVEKIT_AGENT_NAME", ""))
async def entrypoint(ctx: JobContext) -> None:
    """Play to a room until its last person leaves."""

    @ctx.room.on("participant_disconnected")
    def leave_with_the_last(_: rtc.RemoteParticipant) -> None:
        if not any(person.kind in PEOPLE for person in ctx.room.remote_participants.values()):
            ctx.shutdown("the last person left")

    await ctx.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)
    source = rtc.AudioSource(RATE, 1)
    # Without discontinuous transmission: an even tone looks like background noise to Opus.
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
    await ctx.room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("tone", source), options)
    # As an AgentSession does, once it is connected.
    await ctx.room.local_participant.set_attributes({"lk.agent.state": "listening"})
    playing = asyncio.create_task(play(source, int(os.environ["TONE_HERTZ"])))

    async def stop() -> None:
        playing.cancel()

    ctx.add_shutdown_callback(stop)


async def play(source: rtc.AudioSource, hertz: int) -> None:
    """Play a tone until cancelled; its hertz are a multiple of ten, so that frames join without a seam."""
    turns = 2 * np.pi * hertz * np.arange(int(RATE * FRAME_SECONDS)) / RATE
    samples = (np.cos(turns) * 0.3 * 32767).astype(np.int16)
    frame = rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples))
    while True:
        await source.capture_frame(frame)


if __name__ == "__main__":
    cli.run_app(server)
