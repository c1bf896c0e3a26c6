"""Speaks OpenAI's realtime protocol: hears, answers and speaks over one WebSocket.

livekit-agents 1.8.9 (llm/_realtime/openai.py) sends 24 kHz PCM as base64, has the server find turns (`server_vad`) and
takes an answer as response.created, output_item.added, content_part.added, audio and transcript deltas, and their ends.
Differences: an answer is sent at once whatever its length, and `conversation.item.truncate` changes nothing.
"""

import asyncio
import base64
import json
import uuid
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from . import calling
from .audio import from_pcm16, to_pcm16
from .control import Control, Fault, forever
from .endpointing import Endpointer, Mark
from .keys import Keys, refusal
from .recognition import Recognised, Recogniser
from .script import answer_to
from .speech import AGENT_VOICE, speak

_RATE = 24000
_CHUNK_BYTES = 4800  # a tenth of a second
_LEAD_SECONDS = 0.05
_ASKED_TO_SAY = "nothing else: "
_USAGE: dict[str, Any] = {
    "input_tokens": 1,
    "output_tokens": 1,
    "total_tokens": 2,
    "input_token_details": {},
    "output_token_details": {},
}


class Realtime:
    """The route of realtime models."""

    def __init__(self, control: Control, keys: Keys, recogniser: Recogniser) -> None:
        self._control = control
        self._keys = keys
        self._recogniser = recogniser

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/realtime", self._talk)]

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        connection = uuid.uuid4().hex[:8]
        fault = self._control.fault("realtime")
        status = 401 if not self._keys.accepts("openai", request) else fault.status
        if status is not None:
            self._control.log("realtime", "refused", connection, status=status)
            return refusal("openai", status)
        socket = web.WebSocketResponse(max_msg_size=1 << 24)
        await socket.prepare(request)
        self._control.log("realtime", "connected", connection, model=request.query.get("model"))
        await _Conversation(socket, connection, fault, self._control, self._recogniser).run()
        self._control.log("realtime", "closed", connection)
        return socket


class _Conversation:
    """One WebSocket of a client."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        connection: str,
        fault: Fault,
        control: Control,
        recogniser: Recogniser,
    ) -> None:
        self._socket = socket
        self._connection = connection
        self._fault = fault
        self._control = control
        self._recogniser = recogniser
        self._endpointer = Endpointer(_RATE, 0.5)
        self._sound = np.zeros(0, dtype=np.float32)
        self._start = 0.0
        self._item = ""
        self._last: str | None = None
        self._offered: list[str] = []
        self._result: str | None = None

    async def run(self) -> None:
        """Serve until the client closes."""
        await self._send("session.created", session={"id": f"sess_{self._connection}", "type": "realtime"})
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._obey(json.loads(message.data))

    async def _obey(self, event: dict[str, Any]) -> None:
        match event.get("type"):
            case "session.update":
                detection = ((event["session"].get("audio") or {}).get("input") or {}).get("turn_detection") or {}
                if milliseconds := detection.get("silence_duration_ms"):
                    self._endpointer = Endpointer(_RATE, milliseconds / 1000)
                if told := event["session"].get("instructions"):
                    self._control.log("realtime", "told", self._connection, text=told)
                if "tools" in event["session"]:
                    self._offered = calling.offered(event["session"]["tools"])
                await self._send("session.updated", session=event["session"])
            case "input_audio_buffer.append":
                if self._fault.hang:
                    await forever()
                await self._hear(base64.b64decode(event["audio"]))
            case "conversation.item.create":
                if event["item"]["type"] == "function_call_output":
                    self._result = str(event["item"]["output"])
                await self._add(event["item"])
            case "response.create":
                wanted = event.get("response") or {}
                told, self._result = self._result, None
                text = str(wanted.get("instructions") or "").partition(_ASKED_TO_SAY)[2] or told or answer_to(None)
                await self._answer(text, wanted.get("metadata"))

    async def _hear(self, pcm: bytes) -> None:
        samples = from_pcm16(pcm)
        self._sound = np.concatenate([self._sound, samples])
        for boundary in self._endpointer.feed(samples):
            milliseconds = round(boundary.at * 1000)
            if boundary.mark is Mark.STARTED:
                self._start, self._item = boundary.at, f"item_{uuid.uuid4().hex[:12]}"
                await self._send("input_audio_buffer.speech_started", item_id=self._item, audio_start_ms=milliseconds)
                continue
            begin = max(0, round((self._start - _LEAD_SECONDS) * _RATE))
            spoken = self._sound[begin : round(boundary.at * _RATE)]
            found = await asyncio.to_thread(self._recogniser.recognise, spoken, _RATE)
            await self._turn(found.text if isinstance(found, Recognised) else "", milliseconds)

    async def _turn(self, text: str, milliseconds: int) -> None:
        """Take the caller's turn as an item of the conversation, and answer."""
        self._control.log("realtime", "heard", self._connection, text=text)
        await self._send("input_audio_buffer.speech_stopped", item_id=self._item, audio_end_ms=milliseconds)
        await self._send("input_audio_buffer.committed", item_id=self._item, previous_item_id=self._last)
        content = [{"type": "input_audio", "transcript": None}]
        await self._add({"id": self._item, "type": "message", "role": "user", "content": content})
        await self._send(
            "conversation.item.input_audio_transcription.completed",
            item_id=self._item,
            content_index=0,
            transcript=text,
            usage={"type": "duration", "seconds": 1},
        )
        call = calling.scripted(self._control.calls, text)
        if call and call["name"] in self._offered:
            await self._call(call)
        elif text:
            await self._answer(calling.NOT_OFFERED if call else answer_to(text), None)

    async def _call(self, call: calling.Call) -> None:
        """Call a function; what comes of it is said when the client asks for another response."""
        self._control.log("realtime", "called", self._connection, **call)
        response: dict[str, Any] = {"id": f"resp_{uuid.uuid4().hex[:12]}", "object": "realtime.response"}
        done = calling.item(call)
        begun = {**done, "status": "in_progress", "arguments": ""}
        await self._send("response.created", response={**response, "status": "in_progress", "output": []})
        await self._send("response.output_item.added", response_id=response["id"], output_index=0, item=begun)
        await self._add(begun)
        await self._send("response.output_item.done", response_id=response["id"], output_index=0, item=done)
        await self._send(
            "response.done", response={**response, "status": "completed", "output": [done], "usage": _USAGE}
        )

    async def _add(self, item: dict[str, Any]) -> None:
        previous, self._last = self._last, item["id"]
        await self._send("conversation.item.added", previous_item_id=previous, item={"status": "completed", **item})

    async def _answer(self, text: str, metadata: object) -> None:
        response: dict[str, Any] = {
            "id": f"resp_{uuid.uuid4().hex[:12]}",
            "object": "realtime.response",
            "metadata": metadata,
        }
        item: dict[str, Any] = {
            "id": f"item_{uuid.uuid4().hex[:12]}",
            "type": "message",
            "role": "assistant",
            "content": [],
        }
        part: dict[str, Any] = {
            "response_id": response["id"],
            "item_id": item["id"],
            "output_index": 0,
            "content_index": 0,
        }
        await asyncio.sleep(self._control.delays.llm_first_token_ms / 1000)
        await self._send("response.created", response={**response, "status": "in_progress", "output": []})
        await self._send("response.output_item.added", response_id=response["id"], output_index=0, item=item)
        await self._add(item)
        await self._send("response.content_part.added", **part, part={"type": "audio", "transcript": ""})
        utterance = await asyncio.to_thread(speak, text, _RATE, AGENT_VOICE)
        pcm = to_pcm16(utterance.samples)
        await self._send("response.output_audio_transcript.delta", **part, delta=text)
        for begin in range(0, len(pcm), _CHUNK_BYTES):
            delta = base64.b64encode(pcm[begin : begin + _CHUNK_BYTES]).decode()
            await self._send("response.output_audio.delta", **part, delta=delta)
        await self._send("response.output_audio.done", **part)
        await self._send("response.output_audio_transcript.done", **part, transcript=text)
        done = {**item, "status": "completed", "content": [{"type": "output_audio", "transcript": text}]}
        await self._send("response.output_item.done", response_id=response["id"], output_index=0, item=done)
        self._control.log("realtime", "said", self._connection, text=text)
        await self._send(
            "response.done", response={**response, "status": "completed", "output": [done], "usage": _USAGE}
        )

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._socket.send_json({"type": kind, "event_id": f"event_{uuid.uuid4().hex[:12]}", **fields})
