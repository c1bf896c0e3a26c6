"""Speaks Deepgram's streaming text-to-speech protocol with espeak-ng's voice.

livekit-plugins-deepgram 1.8.9 (tts.py, SynthesizeStream._run_ws) sends one `Speak` a word and one `Flush` at the end,
takes binary PCM and ends the segment at `Flushed`, which is required; an interruption drops the socket. Like the real
service, a sentence is spoken as soon as it is complete, before the flush.
"""

import asyncio
import json
import uuid
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from .audio import to_pcm16
from .control import Control, Fault, forever
from .keys import Keys, refusal
from .script import sentences
from .speech import AGENT_VOICE, speak

_CHUNK_SECONDS = 0.1


@dataclass
class _Session:
    """One websocket of a client."""

    socket: web.WebSocketResponse
    request: web.Request
    connection: str
    rate: int
    fault: Fault
    text: str = ""
    flushes: int = 0
    sent: int = 0
    segment: list[str] = field(default_factory=list)


class _DroppedError(Exception):
    """The connection was cut on purpose."""


class Speak:
    """The route of text-to-speech."""

    def __init__(self, control: Control, keys: Keys) -> None:
        self._control = control
        self._keys = keys

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/speak", self._stream)]

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        connection = uuid.uuid4().hex[:8]
        fault = self._control.fault("tts")
        status = 401 if not self._keys.accepts("deepgram", request) else fault.status
        if status is not None:
            self._control.log("tts", "refused", connection, status=status)
            return refusal("deepgram", status)
        encoding = request.query.get("encoding", "linear16")
        if encoding != "linear16":
            return web.json_response(
                {"err_code": "INVALID_QUERY_PARAMETER", "err_msg": f"the stand-in speaks linear16, not {encoding}"},
                status=400,
            )
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = _Session(socket, request, connection, int(request.query.get("sample_rate", 24000)), fault)
        self._control.log("tts", "connected", connection, sample_rate=session.rate)
        await socket.send_json(
            {"type": "Metadata", "request_id": str(uuid.uuid4()), "model_name": request.query.get("model", "")}
        )
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and not await self._obey(session, json.loads(message.data)):
                    break
        except (_DroppedError, ConnectionError):
            return socket
        self._control.log("tts", "closed", connection)
        await socket.close()
        return socket

    async def _obey(self, session: _Session, message: dict[str, str]) -> bool:
        """Do what one message asks; false when it asks to close."""
        match message.get("type"):
            case "Speak":
                await self._add(session, message.get("text", ""))
            case "Flush":
                await self._flush(session)
            case "Clear":
                session.text, session.segment = "", []
                await self._send(session, {"type": "Cleared", "sequence_id": session.flushes})
            case "Close":
                return False
            case other:
                await self._send(session, {"type": "Warning", "warn_msg": f"unknown message type {other!r}"})
        return True

    async def _add(self, session: _Session, text: str) -> None:
        if not session.text and not session.segment:
            self._control.log("tts", "asked", session.connection)
        session.text += text
        complete = sentences(session.text)
        # A sentence is known to be complete when the next one has begun.
        if len(complete) > 1:
            for sentence in complete[:-1]:
                await self._say(session, sentence)
            session.text = complete[-1] + (" " if text[-1:].isspace() else "")

    async def _flush(self, session: _Session) -> None:
        for sentence in sentences(session.text):
            await self._say(session, sentence)
        self._control.log("tts", "said", session.connection, text=" ".join(session.segment))
        session.text, session.segment = "", []
        await self._send(session, {"type": "Flushed", "sequence_id": session.flushes})
        session.flushes += 1

    async def _say(self, session: _Session, sentence: str) -> None:
        if session.fault.hang:
            self._control.log("tts", "hanging", session.connection)
            await forever()
        first = not session.segment
        utterance = await asyncio.to_thread(speak, sentence, session.rate, AGENT_VOICE)
        if first:
            await asyncio.sleep(self._control.delays.tts_first_audio_ms / 1000)
            self._control.log("tts", "first_audio", session.connection)
        session.segment.append(sentence)
        pcm = to_pcm16(utterance.samples)
        step = 2 * round(session.rate * _CHUNK_SECONDS)
        for begin in range(0, len(pcm), step):
            await self._send(session, pcm[begin : begin + step])
            if self._control.delays.tts_pace:
                await asyncio.sleep(_CHUNK_SECONDS / self._control.delays.tts_pace)

    async def _send(self, session: _Session, message: bytes | dict[str, object]) -> None:
        if session.fault.drop_after is not None and session.sent >= session.fault.drop_after:
            self._control.log("tts", "dropped", session.connection, messages=session.sent)
            if session.request.transport is not None:
                session.request.transport.abort()
            raise _DroppedError
        session.sent += 1
        if isinstance(message, bytes):
            await session.socket.send_bytes(message)
        else:
            await session.socket.send_json(message)
