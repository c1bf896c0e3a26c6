"""The reference agent: what a job process prepares before a call, and what it does during one."""

from __future__ import annotations

import asyncio
import logging
import os

from livekit import rtc
from livekit.agents import (
    Agent,
    AgentSession,
    AutoSubscribe,
    JobContext,
    JobProcess,
    TurnHandlingOptions,
    room_io,
)

from . import providers
from .config import KEY_VARIABLES, AgentConfig, TurnHandlingConfig
from .failures import report_failures
from .presence import leave_with_the_last
from .providers import Plugins
from .runner.provider_errors import ProviderErrorBoard

logger = logging.getLogger(__name__)


def prewarm(config: AgentConfig, process: JobProcess) -> None:
    """Prepare a process for its one call; runs before the process counts as warm."""
    plugins = Plugins(
        vad=providers.build_vad(),
        stt=providers.build_stt(config.stt, os.environ[KEY_VARIABLES["stt"]]),
        llm=providers.build_llm(config.llm, os.environ[KEY_VARIABLES["llm"]]),
        tts=providers.build_tts(config.tts, os.environ[KEY_VARIABLES["tts"]]),
    )
    _start_media_engine(config.tts.sample_rate)
    process.userdata.update(config=config, plugins=plugins)


def _start_media_engine(sample_rate: int) -> None:
    """Let the native library start its threads and its WebRTC engine now instead of while a caller waits."""
    loop = asyncio.new_event_loop()
    try:
        source = rtc.AudioSource(sample_rate, 1, loop=loop)
        rtc.LocalAudioTrack.create_audio_track("warm-up", source)
    finally:
        loop.close()


def turn_handling(config: TurnHandlingConfig) -> TurnHandlingOptions:
    """The library's options; the detector is always named, its default is a local model the image does not load."""
    return {
        "turn_detection": config.detection,
        "endpointing": {
            "min_delay": config.min_endpointing_delay_ms / 1000,
            "max_delay": config.max_endpointing_delay_ms / 1000,
        },
        "interruption": {
            "enabled": config.allow_interruptions,
            "mode": "vad",  # the other mode, "adaptive", asks a hosted service
            "min_duration": config.min_interruption_ms / 1000,
            "false_interruption_timeout": config.false_interruption_timeout_ms / 1000,
        },
        "preemptive_generation": {"enabled": config.preemptive_generation},
    }


async def entrypoint(ctx: JobContext) -> None:
    """One call, from joining the room to handing over to the session's own tasks."""
    config: AgentConfig = ctx.proc.userdata["config"]
    plugins: Plugins = ctx.proc.userdata["plugins"]
    ctx.log_context_fields = {"room": ctx.job.room.name, "job_id": ctx.job.id}

    # joining, the session's start and the provider's handshake all take a round trip or more: do them at once
    joining = asyncio.create_task(ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY))
    plugins.tts.prewarm()
    await asyncio.sleep(0)  # session.start() would join too, with other options: let ours be first at the lock

    session = AgentSession[None](
        vad=plugins.vad,
        stt=plugins.stt,
        llm=plugins.llm,
        tts=plugins.tts,
        turn_handling=turn_handling(config.turn_handling),
        use_tts_aligned_transcript=config.turn_handling.aligned_transcript,
    )
    report_failures(ctx, session, ProviderErrorBoard.default(), config)
    leave_with_the_last(ctx, session)
    await session.start(
        Agent(instructions=config.instructions),
        room=ctx.room,
        room_options=room_io.RoomOptions(
            video_input=False,
            text_output=room_io.TextOutputOptions(sync_transcription=config.turn_handling.aligned_transcript),
            # presence.py decides when to leave: the library leaves with the first participant, others or not
            close_on_disconnect=False,
        ),
        record=False,
    )
    await joining
    if config.greeting:
        # Said at once, also into an empty room: the speech waits until somebody has subscribed to the track.
        session.say(config.greeting)
