"""Speaks OpenAI's speech with espeak-ng's voice, as kokoro and speaches do.

livekit-plugins-openai 1.8.9 (tts.py, ChunkedStream._run) asks for server-sent events of every model but tts-1 and takes
the sound itself from those that do not know them. OpenAI's own models, `gpt-…`, answer with events here; the others,
like compatible servers, with the sound.
"""

import asyncio
import base64
import io
import json
import uuid
import wave
from typing import Any

from aiohttp import web

from .audio import to_pcm16
from .control import Control, Fault, forever
from .keys import Keys, refusal
from .speech import AGENT_VOICE, speak

_RATE = 24000
_CHUNK_BYTES = 4800  # a tenth of a second


class Speech:
    """The route of text-to-speech for whole texts."""

    def __init__(self, control: Control, keys: Keys) -> None:
        self._control = control
        self._keys = keys

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/audio/speech", self._speak)]

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        connection = uuid.uuid4().hex[:8]
        fault = self._control.fault("speech")
        status = 401 if not self._keys.accepts("openai", request) else fault.status
        body: dict[str, Any] = await request.json()
        written = body.get("response_format", "mp3")
        if status is None and (written not in ("pcm", "wav") or not body.get("voice")):
            status = 400
        if status is not None:
            self._control.log("speech", "refused", connection, status=status)
            return refusal("openai", status)
        self._control.log("speech", "asked", connection, model=body.get("model"), voice=body["voice"])
        if fault.hang:
            await forever()
        utterance = await asyncio.to_thread(speak, str(body["input"]), _RATE, AGENT_VOICE)
        pcm = to_pcm16(utterance.samples)
        sound = pcm if written == "pcm" else _wav(pcm)
        await asyncio.sleep(self._control.delays.tts_first_audio_ms / 1000)
        events = body.get("stream_format") == "sse" and str(body.get("model", "")).startswith("gpt-")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream" if events else f"audio/{written}", "x-request-id": connection}
        )
        await response.prepare(request)
        if not await self._send(request, response, sound, events, fault):
            self._control.log("speech", "dropped", connection)
            return response
        if events:
            usage = {"input_tokens": len(str(body["input"]).split()), "output_tokens": 1, "total_tokens": 2}
            await response.write(_event({"type": "speech.audio.done", "usage": usage}))
        self._control.log("speech", "said", connection, text=body["input"])
        await response.write_eof()
        return response

    async def _send(
        self, request: web.Request, response: web.StreamResponse, sound: bytes, events: bool, fault: Fault
    ) -> bool:
        """Send the sound in pieces; false when the connection was cut on purpose."""
        for sent, begin in enumerate(range(0, len(sound), _CHUNK_BYTES)):
            if fault.drop_after is not None and sent >= fault.drop_after:
                assert request.transport is not None
                request.transport.abort()
                return False
            piece = sound[begin : begin + _CHUNK_BYTES]
            delta = {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
            await response.write(_event(delta) if events else piece)
            if self._control.delays.tts_pace:
                await asyncio.sleep(len(piece) / 2 / _RATE / self._control.delays.tts_pace)
        return True


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _wav(pcm: bytes) -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(pcm)
    return written.getvalue()
