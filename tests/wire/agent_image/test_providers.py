"""The stock agent's own session with real sound, the real plugins and stand-ins of their providers, without a room."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import Agent
from livekit.agents.utils import http_context
from livekit.agents.voice import io
from livekit.plugins import openai

from tests.providers.audio import Samples, from_pcm16, to_pcm16
from tests.providers.recognition import RATE, Recognised, Recogniser
from tests.providers.script import AGENT_LINES, ANSWERS, GREETING
from tests.providers.speech import AGENT_VOICE, CALLER_VOICE, prepare, speak
from tests.wire.providers.conftest import StandIn
from tests.wire.providers.conftest import stand_in as stand_in
from voice_agent import config as configuration
from voice_agent import tools
from voice_agent.config import AgentConfig, key_variable
from voice_agent.ending import utter
from voice_agent.failures import status_code
from voice_agent.providers import Plugins, build
from voice_agent.session import build_agent, build_session

_RATE = 24000
_FRAME = _RATE // 50
_QUESTION, _ANSWER = next(iter(ANSWERS.items()))
_SECONDS = 120.0  # on a busy machine voice activity alone is slower than the sound


class Microphone(io.AudioInput):
    """A caller who says one line, and then nothing."""

    def __init__(self, line: str) -> None:
        super().__init__(label="Microphone")
        silence = np.zeros(_RATE, dtype=np.float32)
        self._frames = self._cut(np.concatenate([silence, speak(line, _RATE, CALLER_VOICE).samples, silence, silence]))

    @staticmethod
    def _cut(samples: Samples) -> Iterator[rtc.AudioFrame]:
        for begin in range(0, len(samples) - _FRAME, _FRAME):
            yield rtc.AudioFrame(to_pcm16(samples[begin : begin + _FRAME]), _RATE, 1, _FRAME)

    async def __anext__(self) -> rtc.AudioFrame:
        if (frame := next(self._frames, None)) is not None:
            await asyncio.sleep(_FRAME / _RATE)  # the pace of speech: delays are counted by the clock
            return frame
        return await asyncio.Future[rtc.AudioFrame]()


class Loudspeaker(io.AudioOutput):
    """Takes what the agent says; it is played as soon as it is there."""

    def __init__(self) -> None:
        super().__init__(label="Loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=_RATE)
        self._pcm = b""
        self.said: asyncio.Queue[Samples] = asyncio.Queue()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._pcm += bytes(frame.data)

    def flush(self) -> None:
        super().flush()
        if self._pcm:
            samples, self._pcm = from_pcm16(self._pcm), b""
            self.said.put_nowait(samples)
            self.on_playback_finished(playback_position=len(samples) / _RATE, interrupted=False)

    def clear_buffer(self) -> None:
        self.flush()


@pytest.fixture
async def sessions_of_http() -> AsyncIterator[None]:
    """What a job has of the library's own HTTP sessions."""
    http_context._new_session_ctx()
    yield
    await http_context._close_http_ctx()


def at(url: str, provider: dict[str, Any]) -> dict[str, Any]:
    """Return a provider that is the stand-in at a URL; a plugin takes that as one of its options."""
    if plugin := provider.get("plugin"):
        return {**provider, "plugin": {**plugin, "options": {**plugin["options"], "base_url": url}}}
    return {**provider, "baseUrl": url}


def configured(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, *, tools: dict[str, Any] | None = None, **roles: dict[str, Any]
) -> AgentConfig:
    """Return a configuration whose providers are the stand-ins, with their keys."""
    turns = {"alignedTranscript": False, **roles.get("turnHandling", {})}
    document: dict[str, Any] = {"agentName": "a", "instructions": "b", "turnHandling": turns}
    document["tools"] = tools or {}
    for role in ("realtime",) if "realtime" in roles else ("stt", "llm", "tts"):
        first = roles.get(role, {})
        document[role] = at(stand_in.url, first)
        if "fallbacks" in first:
            document[role]["fallbacks"] = [at(stand_in.url, one) for one in first["fallbacks"]]
    config = configuration.parse(json.dumps(document))
    for place, provider in config.providers.items():
        key = stand_in.keys.deepgram if provider.provider == "deepgram" else stand_in.keys.openai
        monkeypatch.setenv(key_variable(place), key)
    return config


async def close(plugins: Plugins) -> None:
    """Close what a process closes by ending."""
    for plugin in (*plugins.by_place.values(), plugins.llm):
        await plugin.aclose()
        if isinstance(plugin, openai.STT):
            await plugin._client.close()


async def answer(config: AgentConfig, *, question: str = _QUESTION) -> str:
    """Ask the agent, and return what can be understood of its answer."""
    plugins, loudspeaker = build(config), Loudspeaker()
    session = build_session(config, plugins)
    session.input.audio, session.output.audio = Microphone(question), loudspeaker
    async with session, asyncio.timeout(_SECONDS):
        await session.start(build_agent(config, tools.build(config.tools)), record=False)
        samples = await loudspeaker.said.get()
    await close(plugins)
    found = Recogniser(prepare(AGENT_LINES, RATE, AGENT_VOICE)).recognise(samples, _RATE)
    return found.text if isinstance(found, Recognised) else f"not understood: {found}"


OPENAI_STT = {"provider": "openai", "model": "whisper"}
# Any class of an installed plugin, by its name.
PLUGGED_STT = {"provider": "plugin", "plugin": {"package": "livekit.plugins.openai", "options": {"model": "whisper"}}}
PLUGGED_TTS = {
    "provider": "plugin",
    "plugin": {
        "package": "livekit.plugins.openai.tts",
        "class": "TTS",
        "options": {"model": "kokoro", "voice": "af_heart", "response_format": "pcm"},
    },
}
OPENAI_TTS = {"provider": "openai", "model": "kokoro", "voice": "af_heart"}


@pytest.mark.parametrize(
    ("roles", "events"),
    [
        pytest.param({}, {"stt", "llm", "tts"}, id="Deepgram's"),
        pytest.param(
            {"stt": OPENAI_STT, "tts": OPENAI_TTS}, {"transcriptions", "llm", "speech"}, id="OpenAI's protocol"
        ),
        pytest.param(
            {"stt": OPENAI_STT, "tts": {**OPENAI_TTS, "responseFormat": "wav"}},
            {"transcriptions", "llm", "speech"},
            id="sound that says its rate",
        ),
        pytest.param({"stt": PLUGGED_STT, "tts": PLUGGED_TTS}, {"transcriptions", "llm", "speech"}, id="plugins"),
        pytest.param({"realtime": {"endpointingMs": 400}}, {"realtime"}, id="a realtime model"),
        pytest.param(
            {"turnHandling": {"detection": "semantic", "preemptiveSpeech": True}},
            {"stt", "llm", "tts"},
            id="Deepgram's, with the turn model",
        ),
    ],
)
@pytest.mark.usefixtures("sessions_of_http")
async def test_a_question_is_answered(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, roles: dict[str, Any], events: set[str]
) -> None:
    assert await answer(configured(stand_in, monkeypatch, **roles)) == _ANSWER
    assert {event["provider"] for event in stand_in.control.events()} == events


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 401}])
@pytest.mark.usefixtures("sessions_of_http")
async def test_the_next_provider_answers_when_one_fails(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    stand_in.control.change({"faults": {"stt": fault, "tts": fault, "llm": {**fault, "times": 1}}})
    roles = {
        "stt": {"fallbacks": [OPENAI_STT]},
        "llm": {"fallbacks": [{"provider": "openai", "model": "spare"}]},
        "tts": {"fallbacks": [OPENAI_TTS]},
    }
    assert await answer(configured(stand_in, monkeypatch, **roles)) == _ANSWER
    models = [event["detail"].get("model") for event in stand_in.control.events() if event["event"] == "asked"]
    assert "spare" in models


@pytest.mark.usefixtures("sessions_of_http")
async def test_a_realtime_model_is_asked_for_the_greeting(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(stand_in, monkeypatch, realtime={})
    session, loudspeaker = build_session(config, build(config)), Loudspeaker()
    session.output.audio = loudspeaker
    async with session, asyncio.timeout(_SECONDS):
        await session.start(Agent(instructions=config.instructions), record=False)
        utter(session, GREETING)
        samples = await loudspeaker.said.get()
    found = Recogniser(prepare(AGENT_LINES, RATE, AGENT_VOICE)).recognise(samples, _RATE)
    assert isinstance(found, Recognised)
    assert found.text == GREETING


@pytest.mark.usefixtures("sessions_of_http")
async def test_a_realtime_model_that_refuses_the_key_says_so(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(stand_in, monkeypatch, realtime={})
    monkeypatch.setenv("REALTIME_API_KEY", "wrong")
    build.cache_clear()
    session, told = build_session(config, build(config)), asyncio.Queue[int]()
    session.on("error", lambda event: told.put_nowait(status_code(event.error.error)))
    async with session, asyncio.timeout(_SECONDS):
        await session.start(Agent(instructions=config.instructions), record=False)
        assert await told.get() == 401
