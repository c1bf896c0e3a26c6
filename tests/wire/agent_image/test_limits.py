"""A call that reaches a limit: the stock agent's own session says so with real sound, and closes the room."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api, rtc
from livekit.agents import Agent, JobContext
from livekit.agents.voice import io
from livekit.rtc import EventEmitter

from tests.providers.recognition import RATE, Recognised, Recogniser
from tests.providers.script import AGENT_LINES, GREETING
from tests.providers.speech import AGENT_VOICE, prepare
from tests.wire.agent_image.test_providers import _RATE, _SECONDS, Loudspeaker, close, configured
from tests.wire.agent_image.test_providers import sessions_of_http as sessions_of_http
from tests.wire.providers.conftest import StandIn
from tests.wire.providers.conftest import stand_in as stand_in
from voice_agent.config import LimitsConfig
from voice_agent.ending import utter
from voice_agent.limits import Keeper
from voice_agent.providers import build
from voice_agent.session import build_session

GOODBYE = "Goodbye, and have a nice day."
assert GOODBYE in AGENT_LINES


class Silent(io.AudioInput):
    """A caller who says nothing."""

    def __init__(self) -> None:
        super().__init__(label="Silent")

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(0.02)
        return rtc.AudioFrame(bytes(_RATE // 50 * 2), _RATE, 1, _RATE // 50)


class Room(EventEmitter[str]):
    """A room with one person in it, as far as limits look."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "support"
        kind = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
        self.remote_participants = {"alice": SimpleNamespace(kind=kind, attributes={})}

    def isconnected(self) -> bool:
        return True


@pytest.mark.parametrize("roles", [{}, {"realtime": {}}], ids=["three providers", "a realtime model"])
@pytest.mark.parametrize(
    "limits",
    [
        {"maxSilenceSeconds": 1, "maxSilenceWords": GOODBYE},
        {"maxCallSeconds": 8, "maxCallWords": GOODBYE},
    ],
    ids=["silence", "length"],
)
@pytest.mark.usefixtures("sessions_of_http")
async def test_a_call_is_ended_aloud(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, roles: dict[str, Any], limits: dict[str, Any]
) -> None:
    config = configured(stand_in, monkeypatch, **roles)
    loudspeaker, done, over = Loudspeaker(), list[str](), asyncio.Event()

    async def delete_room(request: api.DeleteRoomRequest) -> None:
        done.append(request.room)

    def shut_down(reason: str) -> None:
        done.append(reason.partition(" ")[0])
        over.set()

    server = SimpleNamespace(room=SimpleNamespace(delete_room=delete_room))
    context = cast(JobContext, SimpleNamespace(room=Room(), api=server, shutdown=shut_down))
    plugins = build(config)
    session = build_session(config, plugins)
    session.input.audio, session.output.audio = Silent(), loudspeaker
    async with session, asyncio.timeout(_SECONDS):
        await session.start(Agent(instructions=config.instructions), record=False)
        Keeper(context, session, LimitsConfig(**limits)).watch()
        utter(session, GREETING)
        await over.wait()
    await close(plugins)
    recogniser = Recogniser(prepare(AGENT_LINES, RATE, AGENT_VOICE))
    said = [recogniser.recognise(loudspeaker.said.get_nowait(), _RATE) for _ in range(loudspeaker.said.qsize())]
    assert [found.text for found in said if isinstance(found, Recognised)] == [GREETING, GOODBYE]
    assert done == ["support", "nobody" if "maxSilenceSeconds" in limits else "the"]
