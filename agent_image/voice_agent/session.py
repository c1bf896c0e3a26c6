"""The reference agent: what a job process prepares before a call, and what it does during one."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    Agent,
    AgentSession,
    AutoSubscribe,
    JobContext,
    JobProcess,
    TurnHandlingOptions,
    room_io,
)
from livekit.agents.llm import Tool, Toolset
from livekit.agents.voice.agent_session import SessionConnectOptions

from . import providers, proxies, tools
from .briefing import Briefing, opening
from .config import ROLES, AgentConfig
from .ending import utter
from .failures import report_failures
from .handoffs import Team
from .limits import Keeper
from .never_say import CarefulAgent
from .noise import NoiseSuppressor
from .pacing import YieldingAudioOutput
from .presence import leave_with_the_last
from .provider_errors import ProviderErrorBoard
from .providers import Plugins

logger = logging.getLogger(__name__)


def prewarm(config: AgentConfig, process: JobProcess) -> None:
    """Prepare a process for its one call; runs before the process counts as warm."""
    process.userdata.update(config=config, plugins=providers.build(config), tools=tools.build(config.tools))


def turn_handling(config: AgentConfig, plugins: Plugins) -> TurnHandlingOptions:
    """The library's options; who ends turns is always named: its default is a model that is loaded only where asked."""
    turns = config.turn_handling
    return {
        "turn_detection": plugins.turn_detector or ("stt" if providers.hears_turns(config) else "vad"),
        "endpointing": {
            "min_delay": endpointing_delay(turns.min_endpointing_delay_ms, config),
            "max_delay": endpointing_delay(turns.max_endpointing_delay_ms, config),
        },
        "interruption": {
            "enabled": turns.allow_interruptions,
            "mode": "vad",  # the other mode, "adaptive", asks a hosted service
            "min_duration": turns.min_interruption_ms / 1000,
            "false_interruption_timeout": turns.false_interruption_timeout_ms / 1000,
        },
        "preemptive_generation": {"enabled": turns.preemptive_generation, "preemptive_tts": turns.preemptive_speech},
    }


def realtime_turns(plugins: Plugins) -> TurnHandlingOptions:
    """The same for a realtime model, which says whose turn it is unless a detector stands beside it."""
    return {
        "turn_detection": "realtime_llm" if plugins.vad is None else "vad",
        "interruption": {"mode": "vad"},
    }


def endpointing_delay(since_speech_ms: int, config: AgentConfig) -> float:
    """Seconds the library has to wait so that a turn ends `since_speech_ms` after the last sound of speech.

    Deepgram says that speech ended after its own endpointing, without saying when it did; the library then counts
    its delay from the moment it is told (audio_recognition.py, END_OF_SPEECH without speech_end_time), and the
    caller would wait for the sum of both.
    """
    already_waited = config.stt.endpointing_ms if providers.hears_turns(config) else 0
    return max(since_speech_ms - already_waited, 0) / 1000


def subscription(config: AgentConfig) -> AutoSubscribe:
    """Which of the room's tracks the agent receives; text streams are none of them."""
    return AutoSubscribe.AUDIO_ONLY if config.audio_only else AutoSubscribe.SUBSCRIBE_ALL


def connect_options(config: AgentConfig) -> SessionConnectOptions:
    """How long a provider has, and how often it is asked.

    Where there are others each is asked once (providers.py), and all of them again as often as a lone one: the library
    ends the call at the fourth failure for good, which would come within two seconds.
    """
    quick = replace(DEFAULT_API_CONNECT_OPTIONS, timeout=providers.ATTEMPT_TIMEOUT)
    stt, llm, tts = (quick if len(config.places(role)) > 1 else DEFAULT_API_CONNECT_OPTIONS for role in ROLES[:3])
    return SessionConnectOptions(stt_conn_options=stt, llm_conn_options=llm, tts_conn_options=tts)


def build_session(config: AgentConfig, plugins: Plugins) -> AgentSession[None]:
    """The session of a call, not started."""
    return AgentSession[None](
        vad=plugins.vad,
        stt=plugins.stt or NOT_GIVEN,
        llm=plugins.llm,
        tts=plugins.tts or NOT_GIVEN,
        turn_handling=realtime_turns(plugins) if config.realtime else turn_handling(config, plugins),
        conn_options=connect_options(config),
        use_tts_aligned_transcript=config.turn_handling.aligned_transcript,
        # nobody reads the last words of a caller who has hung up; the library would keep the job for 2 s to get them
        session_close_transcript_timeout=0.1,
    )


def build_agent(config: AgentConfig, made: list[Tool | Toolset], instructions: str | None = None) -> Agent:
    """Who speaks, with the tools that this process has made, told its instructions if not those of the file."""
    told = config.instructions if instructions is None else instructions
    if config.never_say:
        return CarefulAgent(config.never_say, instructions=told, tools=made)
    return Agent(instructions=told, tools=made)


def sound_options(config: AgentConfig) -> room_io.AudioInputOptions:
    """What is done to the caller's sound before anybody hears it; levels are evened out either way."""
    noise = NoiseSuppressor() if config.noise_suppression else None
    return room_io.AudioInputOptions(noise_cancellation=noise, auto_gain_control=True)


def room_options(config: AgentConfig) -> room_io.RoomOptions:
    """What passes between the session and the room: sound and text, both ways."""
    return room_io.RoomOptions(
        audio_input=sound_options(config),
        video_input=False,
        text_output=room_io.TextOutputOptions(sync_transcription=config.turn_handling.aligned_transcript),
        # presence.py decides when to leave: the library leaves with the first participant, others or not
        close_on_disconnect=False,
    )


async def entrypoint(ctx: JobContext) -> None:
    """One call, from joining the room to handing over to the session's own tasks."""
    config: AgentConfig = ctx.proc.userdata["config"]
    plugins: Plugins = ctx.proc.userdata["plugins"]
    ctx.log_context_fields = {"room": ctx.job.room.name, "job_id": ctx.job.id}

    proxies.use_in(ctx)
    # joining, the session's start and the provider's handshake all take a round trip or more: do them at once
    joining = asyncio.create_task(ctx.connect(auto_subscribe=subscription(config)))
    if plugins.tts is not None:
        plugins.tts.prewarm()
    await asyncio.sleep(0)  # session.start() would join too, with other options: let ours be first at the lock

    session = build_session(config, plugins)
    servers = tools.connect(ctx, config.tools, ProviderErrorBoard.default())
    report_failures(ctx, session, ProviderErrorBoard.default(), config, plugins.by_place)
    leave_with_the_last(ctx, session)
    made = [*ctx.proc.userdata["tools"], *Team(ctx, config).of_the_first()]
    agent = build_agent(config, made, opening(config, ctx))
    await session.start(
        agent,
        room=ctx.room,
        room_options=room_options(config),
        record=False,
    )
    servers.give_to(session)
    await joining
    if session.output.audio is not None:
        session.output.audio = YieldingAudioOutput(session.output.audio)
    if config.limits:
        Keeper(ctx, session, config.limits).watch()
    if config.prompt_templates:
        await Briefing(ctx, session, agent, config).begin()
    elif config.greeting:
        # at once, also into an empty room: the speech waits until somebody has subscribed to the track
        utter(session, config.greeting)
