"""Speaks OpenAI's transcriptions, as whisper, speaches and vLLM do; what it hears is recognised from the sound alone.

livekit-plugins-openai 1.8.9 (stt.py, STT._recognize_impl) posts a whole utterance as a WAV file in a form, and wants
`verbose_json` of whisper-1 alone.
"""

import asyncio
import io
import uuid
import wave

from aiohttp import web

from .audio import Samples, from_pcm16
from .control import Control, forever
from .endpointing import Endpointer
from .keys import Keys, refusal
from .recognition import Recognised, Recogniser, Unrecognised


class Transcriptions:
    """The route of speech-to-text for whole utterances."""

    def __init__(self, control: Control, keys: Keys, recogniser: Recogniser) -> None:
        self._control = control
        self._keys = keys
        self._recogniser = recogniser

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/audio/transcriptions", self._transcribe)]

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        connection = uuid.uuid4().hex[:8]
        fault = self._control.fault("transcriptions")
        status = 401 if not self._keys.accepts("openai", request) else fault.status
        if status is not None:
            self._control.log("transcriptions", "refused", connection, status=status)
            return refusal("openai", status)
        form = await request.post()
        file = form.get("file")
        if not isinstance(file, web.FileField) or not form.get("model"):
            return refusal("openai", 400)
        if fault.hang:
            await forever()
        samples, rate = _read(file.file.read())
        found = await asyncio.to_thread(self._recognise, samples, rate)
        text = found.text if isinstance(found, Recognised) else ""
        await asyncio.sleep(self._control.delays.stt_final_ms / 1000)
        detail = {"model": form["model"], "language": form.get("language"), "seconds": round(len(samples) / rate, 2)}
        self._control.log("transcriptions", "heard", connection, text=text, **detail)
        if form.get("response_format") != "verbose_json":
            return web.json_response({"text": text})
        words = {"task": "transcribe", "language": "english", "duration": len(samples) / rate, "segments": []}
        return web.json_response({"text": text, **words})

    def _recognise(self, samples: Samples, rate: int) -> Recognised | Unrecognised:
        """Recognise what is between the silences around an utterance."""
        heard = Endpointer(rate, None)
        heard.feed(samples)
        start = heard.speech_start or 0.0
        return self._recogniser.recognise(samples[round(start * rate) : round(heard.speech_end * rate)], rate)


def _read(data: bytes) -> tuple[Samples, int]:
    with wave.open(io.BytesIO(data)) as file:
        return from_pcm16(file.readframes(file.getnframes()), file.getnchannels()), file.getframerate()
