"""Speaks Deepgram's streaming speech-to-text protocol; what it hears is recognised from the sound alone.

livekit-plugins-deepgram 1.8.9 (stt.py, SpeechStream) sends 50 ms PCM messages, `KeepAlive` at connect and every five
seconds, `Finalize` at a flush and `CloseStream` at the end; a `Results` message needs metadata.request_id, is_final,
speech_final and alternatives[].words, or it is dropped. `endpointing` and `interim_results` work in the time of the
sound, as with the real service. Differences: one utterance gives one final result, however long it is; and sound that
is no known line gives an empty transcript instead of a guess.
"""

import asyncio
import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from .audio import Samples, from_pcm16
from .control import Control, Fault, forever
from .endpointing import Endpointer, Mark
from .keys import Keys, refusal
from .recognition import Recognised, Recogniser, Unrecognised
from .script import normalised
from .speech import Word

_INTERIM_SECONDS = 0.3
_KEPT_SECONDS = 25.0  # the sound kept for recognition; longer speech is finished there
_IDLE_SECONDS = 12.0  # Deepgram closes a stream after 10 s without sound or KeepAlive
_LEAD_SECONDS = 0.05  # sound kept before the detected start


@dataclass(frozen=True)
class Options:
    """What the client asked for in the query."""

    rate: int
    channels: int
    interim: bool
    vad_events: bool
    punctuate: bool
    endpointing: float | None
    utterance_end: float | None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Options":
        def flag(name: str) -> bool:
            return query.get(name, "false") == "true"

        endpointing = query.get("endpointing", "10")  # Deepgram's own default, in milliseconds
        utterance_end = query.get("utterance_end_ms")
        return cls(
            rate=int(query.get("sample_rate", 16000)),
            channels=int(query.get("channels", 1)),
            interim=flag("interim_results"),
            vad_events=flag("vad_events"),
            punctuate=flag("punctuate") or flag("smart_format"),
            endpointing=None if endpointing == "false" else int(endpointing) / 1000,
            utterance_end=None if utterance_end is None else int(utterance_end) / 1000,
        )


class _DroppedError(Exception):
    """The connection was cut on purpose."""


class Listen:
    """The route of speech-to-text."""

    def __init__(self, control: Control, keys: Keys, recogniser: Recogniser) -> None:
        self._control = control
        self._keys = keys
        self._recogniser = recogniser

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/listen", self._stream)]

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        connection = uuid.uuid4().hex[:8]
        fault = self._control.fault("stt")
        status = 401 if not self._keys.accepts("deepgram", request) else fault.status
        if status is None and "keywords" in request.query and request.query.get("model", "").startswith("nova-3"):
            status = 400
        if status is not None:
            self._control.log("stt", "refused", connection, status=status)
            return refusal("deepgram", status)
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        options = Options.read(request.query)
        self._control.log(
            "stt", "connected", connection, sample_rate=options.rate, endpointing=request.query.get("endpointing")
        )
        hearing = _Hearing(socket, request, connection, options, fault, self._control, self._recogniser)
        try:
            await hearing.run()
        except (_DroppedError, ConnectionError):
            return socket
        self._control.log("stt", "closed", connection, seconds=round(hearing.seconds, 2))
        return socket


class _Hearing:
    """One stream of sound and the results sent back."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        connection: str,
        options: Options,
        fault: Fault,
        control: Control,
        recogniser: Recogniser,
    ) -> None:
        self._socket = socket
        self._request = request
        self._connection = connection
        self._options = options
        self._fault = fault
        self._control = control
        self._recogniser = recogniser
        self._request_id = str(uuid.uuid4())
        self._endpointer = Endpointer(options.rate, options.endpointing)
        self._sound = np.zeros(0, dtype=np.float32)
        self._sound_start = 0.0  # time of the first kept sample
        self._interim_at = 0.0
        self._utterance_open = False
        self._sent = 0

    @property
    def seconds(self) -> float:
        return self._endpointer.clock

    async def run(self) -> None:
        """Serve the stream until the client closes it."""
        while True:
            try:
                message = await self._socket.receive(timeout=_IDLE_SECONDS)
            except TimeoutError:
                await self._socket.close(code=1011, message=b"NET-0001")
                return
            if message.type is WSMsgType.BINARY:
                if not message.data:
                    break  # an empty message closes the stream, as with the real service
                if self._fault.hang:
                    await forever()
                await self._hear(from_pcm16(message.data, self._options.channels))
            elif message.type is WSMsgType.TEXT:
                kind = json.loads(message.data).get("type")
                if kind == "Finalize":
                    await self._finish(from_finalize=True)
                elif kind == "CloseStream":
                    break
            else:
                return
        await self._finish(from_finalize=False)
        await self._send(
            {
                "type": "Metadata",
                "request_id": self._request_id,
                "duration": self.seconds,
                "channels": self._options.channels,
            }
        )
        await self._socket.close()

    async def _hear(self, samples: Samples) -> None:
        self._sound = np.concatenate([self._sound, samples])
        for boundary in self._endpointer.feed(samples):
            if boundary.mark is Mark.STARTED:
                await self._started(boundary.at)
            else:
                await self._final(boundary.at, speech_final=True)
        start = self._endpointer.speech_start
        if start is None:
            self._forget_before(self.seconds - _LEAD_SECONDS - 0.1)
            await self._end_utterance_after_silence()
        elif self.seconds - start > _KEPT_SECONDS:
            self._endpointer.finish()
            await self._final(self.seconds, speech_final=False)
        elif self._options.interim and self.seconds - self._interim_at >= _INTERIM_SECONDS:
            self._interim_at = self.seconds
            await self._interim(start)

    async def _started(self, at: float) -> None:
        self._control.log("stt", "speech_started", self._connection, audio_s=round(at, 3))
        self._forget_before(at - _LEAD_SECONDS)
        self._speech_start = at
        self._interim_at = at
        if self._options.vad_events:
            await self._send({"type": "SpeechStarted", "channel": [0, 1], "timestamp": round(at, 3)})

    async def _interim(self, start: float) -> None:
        found = self._recognise(start, self._endpointer.speech_end)
        if isinstance(found, Recognised):
            await self._send(self._results(found, start, self.seconds, is_final=False, speech_final=False))

    async def _final(self, end: float, *, speech_final: bool, from_finalize: bool = False) -> None:
        start = self._speech_start
        found = self._recognise(start, end)
        detail: dict[str, Any] = {"audio_s": round(end, 3), "after_ms": round((self.seconds - end) * 1000)}
        if isinstance(found, Recognised):
            detail |= {"text": found.text, "distance": round(found.distance, 3)}
        else:
            detail |= {
                "text": "",
                "why": found.reason,
                "nearest": found.nearest,
                "distance": round(found.distance, 3),
                "seconds": round(end - start, 2),
            }
        self._forget_before(end)
        self._utterance_open = True
        await asyncio.sleep(self._control.delays.stt_final_ms / 1000)
        self._control.log("stt", "heard", self._connection, **detail)
        results = self._results(found, start, end, is_final=True, speech_final=speech_final)
        if from_finalize:
            results["from_finalize"] = True
        await self._send(results)

    async def _finish(self, *, from_finalize: bool) -> None:
        """Give what was heard so far as a final result."""
        if self._endpointer.speech_start is not None:
            boundary = self._endpointer.finish()
            await self._final(boundary.at, speech_final=from_finalize, from_finalize=from_finalize)

    async def _end_utterance_after_silence(self) -> None:
        wait = self._options.utterance_end
        if wait is None or not self._utterance_open or self.seconds - self._endpointer.speech_end < wait:
            return
        self._utterance_open = False
        await self._send(
            {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": round(self._endpointer.speech_end, 3)}
        )

    def _recognise(self, start: float, end: float) -> Recognised | Unrecognised:
        rate = self._options.rate
        begin = max(0, round((start - self._sound_start) * rate))
        return self._recogniser.recognise(self._sound[begin : round((end - self._sound_start) * rate)], rate)

    def _forget_before(self, at: float) -> None:
        count = math.floor((at - self._sound_start) * self._options.rate)
        if count > 0:
            self._sound = self._sound[count:]
            self._sound_start += count / self._options.rate

    def _results(
        self, found: Recognised | Unrecognised, start: float, end: float, *, is_final: bool, speech_final: bool
    ) -> dict[str, Any]:
        words = found.words if isinstance(found, Recognised) else ()
        confidence = round(1.0 - found.distance, 4) if words else 0.0
        alternative = {
            "transcript": " ".join(self._spelled(word) for word in words),
            "confidence": confidence,
            "words": [
                {
                    "word": normalised(word.text),
                    "punctuated_word": word.text,
                    "start": round(start + word.start, 3),
                    "end": round(start + word.end, 3),
                    "confidence": confidence,
                }
                for word in words
            ],
        }
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": round(start, 3),
            "duration": round(end - start, 3),
            "is_final": is_final,
            "speech_final": speech_final,
            "from_finalize": False,
            "channel": {"alternatives": [alternative]},
            "metadata": {"request_id": self._request_id, "model_info": {"name": "stand-in", "version": "1"}},
        }

    def _spelled(self, word: Word) -> str:
        return word.text if self._options.punctuate else normalised(word.text)

    async def _send(self, message: Mapping[str, Any]) -> None:
        if self._fault.drop_after is not None and self._sent >= self._fault.drop_after:
            self._control.log("stt", "dropped", self._connection, messages=self._sent)
            if self._request.transport is not None:
                self._request.transport.abort()
            raise _DroppedError
        self._sent += 1
        await self._socket.send_json(message)
