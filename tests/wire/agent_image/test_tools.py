"""The stock agent's tools as a caller hears them: the model calls, the tool works, the model says what came of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from livekit import rtc
from livekit.agents import AgentSession

from tests.providers.audio import Samples
from tests.providers.calling import NOT_OFFERED
from tests.providers.recognition import RATE, Recognised, Recogniser
from tests.providers.script import AGENT_LINES, ANSWERS
from tests.providers.speech import AGENT_VOICE, prepare
from tests.wire.agent_image.test_providers import _RATE, _SECONDS, Loudspeaker, Microphone, answer, close, configured
from tests.wire.agent_image.test_providers import sessions_of_http as sessions_of_http
from tests.wire.providers.conftest import StandIn
from tests.wire.providers.conftest import stand_in as stand_in
from voice_agent import tools
from voice_agent.config import AgentConfig, HandoffConfig
from voice_agent.handoffs import Team
from voice_agent.providers import build
from voice_agent.session import build_agent, build_session

QUESTION = next(iter(ANSWERS))
# What the model would not say by itself when it is asked that.
SLOT = ANSWERS["Can I book an appointment for tomorrow?"]
CALL = {"name": "find_slots", "arguments": {"day": "to-morrow & more"}}
DAY = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}


@dataclass
class Booking:
    """An endpoint that answers with a line that can be understood."""

    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    hang: bool = False
    status: int = 200


@pytest.fixture
async def booking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Booking]:
    booking = Booking()
    monkeypatch.setenv("TOOLS_HTTP_0_HEADER_0", "key-of-the-booking")

    async def slots(request: web.Request) -> web.Response:
        booking.asked.append((request.raw_path, request.headers.get("Authorization", "")))
        if booking.hang:
            await asyncio.Event().wait()
        return web.Response(text=SLOT, status=booking.status)

    app = web.Application()
    app.router.add_get("/slots/{day}", slots)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    booking.url = str(server.make_url("/slots/{day}")).replace("%7B", "{").replace("%7D", "}")
    yield booking
    await server.close()


def http(url: str, **more: Any) -> dict[str, Any]:
    headers = [{"name": "Authorization", "scheme": "Bearer"}]
    described = {"name": "find_slots", "description": "Finds free slots of a day.", "parameters": DAY}
    return {"http": [{**described, "url": url, "headers": headers, **more}]}


def understood(samples: Samples, line: str) -> bool:
    """Return whether a line is what was said."""
    found = Recogniser(prepare((*AGENT_LINES, NOT_OFFERED), RATE, AGENT_VOICE)).recognise(samples, _RATE)
    return isinstance(found, Recognised) and found.text == line


async def written(config: AgentConfig, question: str = QUESTION) -> str:
    """Ask the agent in writing, and return what it answers."""
    plugins = build(config)
    async with AgentSession[None](llm=plugins.llm, vad=None, turn_handling={"turn_detection": None}) as session:
        await session.start(build_agent(config, tools.build(config.tools)), record=False)
        await session.run(user_input=question)
        said = [item.text_content or "" for item in session.history.items if item.type == "message"]
    await close(plugins)
    return said[-1]


@pytest.mark.parametrize(
    "roles", [pytest.param({}, id="a language model"), pytest.param({"realtime": {}}, id="a realtime model")]
)
@pytest.mark.usefixtures("sessions_of_http")
async def test_a_function_over_http_is_called_and_its_answer_said(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, booking: Booking, roles: dict[str, Any]
) -> None:
    stand_in.control.change({"calls": {QUESTION: CALL}})
    config = configured(stand_in, monkeypatch, tools=http(booking.url), **roles)
    assert await answer(config, question=QUESTION) == SLOT
    assert booking.asked == [("/slots/to-morrow%20%26%20more", "Bearer key-of-the-booking")]
    called = [event["detail"] for event in stand_in.control.events() if event["event"] == "called"]
    assert called == [CALL]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"hang": True}, "find_slots failed: no answer within 1 seconds."),
        ({"status": 500}, "find_slots failed: the service refused the request (HTTP 500)."),
    ],
)
@pytest.mark.usefixtures("sessions_of_http")
async def test_the_model_is_told_what_went_wrong_and_says_it(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, booking: Booking, state: dict[str, Any], said: str
) -> None:
    vars(booking).update(state)
    stand_in.control.change({"calls": {QUESTION: CALL}})
    config = configured(stand_in, monkeypatch, tools=http(booking.url, timeoutSeconds=1))
    assert await written(config) == said


@pytest.mark.usefixtures("sessions_of_http")
async def test_nothing_but_what_is_listed_is_offered(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, booking: Booking
) -> None:
    stand_in.control.change({"calls": {QUESTION: {"name": "delete_everything"}}})
    assert await written(configured(stand_in, monkeypatch, tools=http(booking.url))) == NOT_OFFERED
    offered = [event["detail"]["tools"] for event in stand_in.control.events() if event["event"] == "asked"]
    assert offered == [["find_slots"]]


@pytest.mark.parametrize(
    "roles", [pytest.param({}, id="a language model"), pytest.param({"realtime": {}}, id="a realtime model")]
)
@pytest.mark.usefixtures("sessions_of_http")
async def test_a_call_ends_when_goodbye_was_said_and_has_not_failed(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, roles: dict[str, Any]
) -> None:
    job, over = Mock(), asyncio.Event()
    job.room.name, job.api.room.delete_room = "lobby", AsyncMock()
    job.room.remote_participants = {"alice": Mock(kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD)}
    job.shutdown.side_effect = lambda _: over.set()
    monkeypatch.setattr("voice_agent.tools.call.get_job_context", lambda: job)
    stand_in.control.change({"calls": {QUESTION: {"name": "end_call"}}})
    config = configured(stand_in, monkeypatch, tools={"builtIn": ["EndCall"]}, **roles)
    plugins, loudspeaker = build(config), Loudspeaker()
    session = build_session(config, plugins)
    session.input.audio, session.output.audio = Microphone(QUESTION), loudspeaker
    async with session, asyncio.timeout(_SECONDS):
        await session.start(build_agent(config, tools.build(config.tools)), record=False)
        await over.wait()
        assert not loudspeaker.said.empty()
    await close(plugins)
    job.shutdown.assert_called_once_with("the model ended it")
    job.api.room.delete_room.assert_awaited_once()


@pytest.mark.parametrize(
    ("roles", "greeting", "said"),
    [
        pytest.param({}, SLOT, SLOT, id="a language model, with a greeting"),
        pytest.param({"realtime": {}}, SLOT, SLOT, id="a realtime model, with a greeting"),
        # The stand-in's model is asked the same again, and has no such function any more.
        pytest.param({}, None, NOT_OFFERED, id="a language model that has heard what was asked"),
    ],
)
@pytest.mark.usefixtures("sessions_of_http")
async def test_a_caller_is_handed_over_and_the_next_agent_speaks(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, roles: dict[str, Any], greeting: str | None, said: str
) -> None:
    stand_in.control.change({"calls": {QUESTION: {"name": "hand_over", "arguments": {"to": "billing"}}}})
    config = configured(stand_in, monkeypatch, **roles)
    desk = HandoffConfig.model_validate({"name": "desk", "instructions": "x", "handoffTo": ["billing"]})
    billing = HandoffConfig.model_validate({"name": "billing", "instructions": "You do billing.", "greeting": greeting})
    config = config.model_copy(update={"agents": (desk, billing)})
    ctx: Any = SimpleNamespace(room=SimpleNamespace(name="lobby", metadata="", remote_participants={}))
    plugins, loudspeaker = build(config), Loudspeaker()
    session = build_session(config, plugins)
    session.input.audio, session.output.audio = Microphone(QUESTION), loudspeaker
    async with session, asyncio.timeout(_SECONDS):
        await session.start(build_agent(config, [*Team(ctx, config).of_the_first()]), record=False)
        samples = await loudspeaker.said.get()
        assert session.current_agent.instructions == "You do billing."
        history = [item.text_content for item in session.current_agent.chat_ctx.items if item.type == "message"]
    await close(plugins)
    assert understood(samples, said)
    assert QUESTION in history
