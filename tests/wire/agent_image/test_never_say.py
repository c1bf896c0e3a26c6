"""Words that are never said do not reach the provider that speaks, the transcript, nor what the model remembers."""

import asyncio
from typing import Any

import pytest
from livekit.agents.voice import io

from tests.wire.agent_image.test_providers import _SECONDS, Loudspeaker, close, configured
from tests.wire.agent_image.test_providers import sessions_of_http as sessions_of_http
from tests.wire.providers.conftest import StandIn
from tests.wire.providers.conftest import stand_in as stand_in
from voice_agent.ending import utter
from voice_agent.providers import build
from voice_agent.session import build_agent, build_session


class Transcript(io.TextOutput):
    """What the agent publishes of its words."""

    def __init__(self) -> None:
        super().__init__(label="Transcript", next_in_chain=None)
        self.text = ""

    async def capture_text(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        self.text += "|"


@pytest.mark.parametrize("tts", [{}, {"provider": "openai", "model": "kokoro", "voice": "af_heart"}], ids=str)
@pytest.mark.usefixtures("sessions_of_http")
async def test_they_are_nowhere(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tts: dict[str, Any]) -> None:
    config = configured(stand_in, monkeypatch, tts=tts).model_copy(update={"never_say": ("How", "Acme Corp")})
    plugins, loudspeaker, transcript = build(config), Loudspeaker(), Transcript()
    session = build_session(config, plugins)
    session.output.audio, session.output.transcription = loudspeaker, transcript
    async with session, asyncio.timeout(_SECONDS):
        await session.start(build_agent(config, []), record=False)
        for words in ("Acme Corp, how can I help?", "How", "However, good."):
            await utter(session, words)
    await close(plugins)
    said = [event["detail"]["text"].strip() for event in stand_in.control.events() if event["event"] == "said"]
    assert [text for text in said if text] == [", can I help?", "However, good."]
    assert transcript.text.replace("||", "|") == ", can I help?|However, good.|"
    remembered = [item.text_content for item in session.history.items if item.type == "message"]
    assert [text for text in remembered if text] == [", can I help?", "However, good."]
