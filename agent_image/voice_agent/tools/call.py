"""What the model may do with the call itself; each is listed by name in the pool.

The job's own token lets the agent publish data and keys. Closing the room and transferring are requests to the server
with the key that the worker has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from typing import Any

from livekit import api, rtc
from livekit.agents import AgentSession, JobContext, RunContext, SpeechCreatedEvent, ToolError, get_job_context
from livekit.agents.beta.tools import send_dtmf_events
from livekit.agents.beta.tools.end_call import END_CALL_DESCRIPTION
from livekit.agents.beta.workflows.utils import DtmfEvent
from livekit.agents.llm import RealtimeModel, Tool, ToolResult, function_tool
from livekit.agents.voice import SpeechHandle
from livekit.protocol.sip import STS_TRANSFER_FAILED

from voice_agent import ending
from voice_agent.presence import people
from voice_agent.tool_config import ToolsConfig, TransferTargetConfig

logger = logging.getLogger(__name__)

TOPIC = "agent-data"
MOST_BYTES = 15_000  # of reliable data in one packet: livekit's own limit is just above
_KEYS = re.compile(r"[0-9A-D*#]{1,32}")
_SECONDS = 5.0
_REASON = "the model ended it"
_endings: set[asyncio.Task[None]] = set()


def build(config: ToolsConfig) -> list[Tool]:
    """The functions that are listed, in that order."""
    makers: dict[str, Callable[[], Tool]] = {
        "EndCall": end_call,
        "SendData": send_data,
        "SendDtmf": send_dtmf,
        "TransferCall": lambda: transfer_call(config.transfer_to),
    }
    return [makers[name]() for name in config.built_in]


def end_call() -> Tool:
    """Have the model say goodbye, and end the call as the agent always does (ending.py)."""

    async def end(ctx: RunContext[Any]) -> str:
        job, model = get_job_context(), ctx.session.llm
        if isinstance(model, RealtimeModel) and model.capabilities.auto_tool_reply_generation:
            _endings.add(task := asyncio.create_task(_end_after_the_reply(job, ctx.session)))
            task.add_done_callback(_endings.discard)
        else:
            ending.end_call(job, ctx.session, _REASON)  # waits for this turn, and the goodbye is part of it
        return "Say goodbye to the user."

    return function_tool(end, name="end_call", description=END_CALL_DESCRIPTION)


async def _end_after_the_reply(job: JobContext, session: AgentSession[Any]) -> None:
    """End the call after what a model says of its own accord when it is given a function's result."""
    created: asyncio.Future[SpeechHandle] = asyncio.get_running_loop().create_future()

    def on_created(event: SpeechCreatedEvent) -> None:
        if not created.done():
            created.set_result(event.speech_handle)

    session.once("speech_created", on_created)
    with contextlib.suppress(TimeoutError):
        await (await asyncio.wait_for(created, _SECONDS))
    ending.end_call(job, session, _REASON)


def send_data() -> Tool:
    """Send a text to everybody in the room."""
    text = {"type": "string", "description": "The text."}

    async def send(raw_arguments: dict[str, object]) -> str:
        data = str(raw_arguments.get("text", "")).encode("utf-8", "replace")
        if not 0 < len(data) <= MOST_BYTES:
            raise ToolError(f"send_data failed: the text must have 1 to {MOST_BYTES} bytes.")
        await _published(get_job_context().room.local_participant.publish_data(data, topic=TOPIC), "send_data")
        return "Sent."

    return _function("send_data", "Sends a text to the participants' screens.", {"text": text}, send)


def send_dtmf() -> Tool:
    """Press keys towards a telephone line."""
    keys = {"type": "string", "description": "The keys in their order, of 0 to 9, *, # and A to D; at most 32."}

    async def press(ctx: RunContext[Any], raw_arguments: dict[str, object]) -> str:
        pressed = str(raw_arguments.get("keys", ""))
        if not _KEYS.fullmatch(pressed):
            raise ToolError("send_dtmf failed: keys must be 1 to 32 of 0 to 9, *, # and A to D.")
        _on_the_telephone("send_dtmf")
        said = await send_dtmf_events(ctx, [DtmfEvent(key) for key in pressed])
        if not said.startswith("Success"):
            raise ToolError("send_dtmf failed: the keys could not be sent.")
        return "Sent."

    description = "Presses keys of the telephone, for example to choose from the menu of who was called."
    return _function("send_dtmf", description, {"keys": keys}, press)


def transfer_call(targets: tuple[TransferTargetConfig, ...]) -> Tool:
    """Hand the caller over by a SIP REFER, to one of those that are listed."""
    known = {target.name: target for target in targets}
    choices = [f"{name} ({target.description})" if target.description else name for name, target in known.items()]
    to = {"type": "string", "enum": list(known), "description": f"To whom: {'; '.join(choices)}."}

    async def transfer(ctx: RunContext[Any], raw_arguments: dict[str, object]) -> ToolResult:
        target = known.get(str(raw_arguments.get("to")))
        if target is None:
            raise ToolError(f"transfer_call failed: to must be one of {', '.join(known)}.")
        job, caller = get_job_context(), _on_the_telephone("transfer_call")
        await ctx.wait_for_playout()  # what was said before would be cut
        request = api.TransferSIPParticipantRequest(
            room_name=job.room.name, participant_identity=caller.identity, transfer_to=target.to
        )
        try:
            answer = await job.api.sip.transfer_sip_participant(request)
        except Exception as error:  # noqa: BLE001  its words may have an address
            logger.warning("a call could not be transferred", extra={"to": target.name, "error": type(error).__name__})
            raise ToolError("transfer_call failed: the call could not be transferred.") from None
        if answer.status == STS_TRANSFER_FAILED:
            raise ToolError("transfer_call failed: nobody took the call.")
        others = [person for person in people(job.room) if person.identity != caller.identity]
        return ToolResult("The caller was transferred and has left.", reply_required=bool(others))

    description = "Hands the caller over by telephone. Tell the caller first, in the same answer."
    return _function("transfer_call", description, {"to": to}, transfer)


def _on_the_telephone(function: str) -> rtc.RemoteParticipant:
    """Who is on a telephone line: of several, the one that is listened to; raises ToolError for nobody."""
    job = get_job_context()
    found = [p for p in people(job.room) if p.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP]
    if not found:
        raise ToolError(f"{function} failed: nobody here is on a telephone.")
    heard = job.primary_session.room_io.linked_participant
    return next((person for person in found if heard is not None and person.identity == heard.identity), found[0])


async def _published(sending: Any, function: str) -> None:
    try:
        async with asyncio.timeout(_SECONDS):
            await sending
    except Exception as error:  # noqa: BLE001  the model needs to know no more
        logger.warning("could not publish", extra={"tool": function, "error": type(error).__name__})
        raise ToolError(f"{function} failed: it could not be sent.") from None


def _function(name: str, description: str, properties: dict[str, Any], call: Callable[..., Any]) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return function_tool(call, raw_schema={"name": name, "description": description, "parameters": parameters})
