"""What the model may do with the call, as the server and the room are asked for it."""

import asyncio
import json
import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from livekit import api, rtc
from livekit.agents import ToolError
from livekit.agents.llm import RealtimeModel, ToolResult
from livekit.agents.llm.tool_context import get_fnc_tool_names
from livekit.protocol.sip import STS_TRANSFER_FAILED, STS_TRANSFER_SUCCESSFUL

from voice_agent.tool_config import ToolsConfig
from voice_agent.tools import call

SIP, STANDARD = rtc.ParticipantKind.PARTICIPANT_KIND_SIP, rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
TARGETS = [
    {"name": "reception", "description": "who wants a person", "to": "tel:+15550100"},
    {"name": "lab", "to": "sip:lab@pbx.example.com"},
]


def person(identity: str, kind: Any = STANDARD) -> Any:
    return SimpleNamespace(identity=identity, kind=kind)


class Job:
    """A job in a room with some people; what is asked of it is kept."""

    def __init__(self, *people: Any, heard: Any = None) -> None:
        self.room = Mock(remote_participants={p.identity: p for p in people})
        self.room.name = "lobby"
        self.room.local_participant.publish_data = AsyncMock()
        self.room.local_participant.publish_dtmf = AsyncMock()
        self.api = Mock()
        self.api.sip.transfer_sip_participant = AsyncMock(
            return_value=api.TransferSIPParticipantResponse(status=STS_TRANSFER_SUCCESSFUL)
        )
        self.primary_session = Mock()
        self.primary_session.room_io.linked_participant = heard
        self.context = Mock(wait_for_playout=AsyncMock())
        self.context.session.room_io.room = self.room


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a job that the functions run in."""

    def make(*people: Any, heard: Any = None) -> Job:
        made = Job(*people, heard=heard)
        monkeypatch.setattr(call, "get_job_context", lambda: made)
        return made

    monkeypatch.setattr("livekit.agents.beta.tools.send_dtmf.DEFAULT_DTMF_PUBLISH_DELAY", 0)
    return make


def tool(name: str) -> Any:
    document = {"builtIn": [name], "transferTo": TARGETS}
    [made] = call.build(ToolsConfig.model_validate_json(json.dumps(document)))
    return made


def test_none_is_given_that_is_not_listed() -> None:
    assert call.build(ToolsConfig()) == []
    assert get_fnc_tool_names([tool("EndCall"), tool("SendDtmf")]) == ["end_call", "send_dtmf"]


def ended(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the sessions whose calls are ended from now on."""
    found: list[Any] = []
    monkeypatch.setattr("voice_agent.ending.end_call", lambda _, session, *__: found.append(session))
    return found


async def test_the_model_says_goodbye_and_the_call_ends(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, sessions = job(person("alice")), ended(monkeypatch)
    assert await tool("EndCall")(made.context) == "Say goodbye to the user."
    assert sessions == [made.context.session]


@pytest.mark.parametrize("speaks", [True, False])
async def test_a_model_that_answers_by_itself_is_waited_for(
    job: Any, monkeypatch: pytest.MonkeyPatch, speaks: bool
) -> None:
    monkeypatch.setattr(call, "_SECONDS", 0.05)
    made, sessions, goodbye = job(person("alice")), ended(monkeypatch), asyncio.get_running_loop().create_future()
    made.context.session.llm = Mock(spec=RealtimeModel)
    made.context.session.llm.capabilities.auto_tool_reply_generation = True
    await tool("EndCall")(made.context)
    await asyncio.sleep(0)
    assert sessions == []
    name, created = made.context.session.once.call_args.args
    assert name == "speech_created"
    if speaks:
        created(SimpleNamespace(speech_handle=goodbye))
        await asyncio.sleep(0.06)
        assert sessions == []
        goodbye.set_result(None)
    await asyncio.gather(*call._endings)
    assert sessions == [made.context.session]


async def test_data_goes_to_everybody_on_one_topic(job: Any) -> None:
    made = job(person("alice"))
    assert await tool("SendData")(raw_arguments={"text": "é\ud800"}) == "Sent."
    made.room.local_participant.publish_data.assert_awaited_once_with(b"\xc3\xa9?", topic="agent-data")


@pytest.mark.parametrize("text", ["", "x" * (call.MOST_BYTES + 1)])
async def test_data_has_bounds(job: Any, text: str) -> None:
    made = job(person("alice"))
    with pytest.raises(ToolError, match="1 to 15000 bytes"):
        await tool("SendData")(raw_arguments={"text": text})
    assert not made.room.local_participant.publish_data.called


async def test_data_that_cannot_be_sent_is_a_sentence(job: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = job(person("alice"))
    made.room.local_participant.publish_data = AsyncMock(side_effect=RuntimeError("at 10.0.0.1"))
    with pytest.raises(ToolError) as error:
        await tool("SendData")(raw_arguments={"text": "x"})
    assert error.value.message == "send_data failed: it could not be sent."
    assert "10.0.0.1" not in caplog.text


async def test_keys_are_pressed_in_their_order(job: Any) -> None:
    made = job(person("phone", SIP))
    assert await tool("SendDtmf")(made.context, raw_arguments={"keys": "10*#D"}) == "Sent."
    pressed = [one.kwargs for one in made.room.local_participant.publish_dtmf.await_args_list]
    assert [(one["code"], one["digit"]) for one in pressed] == [(1, "1"), (0, "0"), (10, "*"), (11, "#"), (15, "D")]


@pytest.mark.parametrize("keys", ["", "1" * 33, "12a", "1 2", "é"])
async def test_what_are_no_keys_is_not_pressed(job: Any, keys: str) -> None:
    made = job(person("phone", SIP))
    with pytest.raises(ToolError, match="keys must be"):
        await tool("SendDtmf")(made.context, raw_arguments={"keys": keys})
    assert not made.room.local_participant.publish_dtmf.called


async def test_keys_that_cannot_be_sent_are_a_sentence(job: Any) -> None:
    made = job(person("phone", SIP))
    made.room.local_participant.publish_dtmf = AsyncMock(side_effect=RuntimeError("at 10.0.0.1"))
    with pytest.raises(ToolError) as error:
        await tool("SendDtmf")(made.context, raw_arguments={"keys": "1"})
    assert error.value.message == "send_dtmf failed: the keys could not be sent."


@pytest.mark.parametrize(("name", "given"), [("SendDtmf", {"keys": "1"}), ("TransferCall", {"to": "lab"})])
async def test_without_a_telephone_there_is_nothing_to_do(job: Any, name: str, given: dict[str, Any]) -> None:
    made = job(person("alice"), person("desk", AGENT))
    with pytest.raises(ToolError, match="nobody here is on a telephone"):
        await tool(name)(made.context, raw_arguments=given)
    assert not made.api.sip.transfer_sip_participant.called
    assert not made.room.local_participant.publish_dtmf.called


@pytest.mark.parametrize(
    ("people", "heard", "who", "reply"),
    [
        ([person("phone", SIP)], None, "phone", False),
        ([person("alice"), person("phone", SIP)], person("alice"), "phone", True),
        ([person("one", SIP), person("two", SIP)], person("two", SIP), "two", True),
    ],
)
async def test_the_caller_is_handed_over_to_whom_the_pool_lists(
    job: Any, people: list[Any], heard: Any, who: str, reply: bool
) -> None:
    made = job(*people, heard=heard)
    result = await tool("TransferCall")(made.context, raw_arguments={"to": "reception"})
    assert isinstance(result, ToolResult)
    assert result.reply_required is reply
    [request] = made.api.sip.transfer_sip_participant.await_args.args
    asked = (request.room_name, request.participant_identity, request.transfer_to)
    assert asked == ("lobby", who, "tel:+15550100")
    made.context.wait_for_playout.assert_awaited_once()


@pytest.mark.parametrize("to", ["tel:+15559999", "Reception", "", None, ["lab"]])
async def test_nobody_else_is_called(job: Any, to: Any) -> None:
    made = job(person("phone", SIP))
    with pytest.raises(ToolError, match="to must be one of reception, lab"):
        await tool("TransferCall")(made.context, raw_arguments={"to": to})
    assert not made.api.sip.transfer_sip_participant.called


async def test_a_transfer_that_fails_is_a_sentence(job: Any) -> None:
    made = job(person("phone", SIP))
    made.api.sip.transfer_sip_participant = AsyncMock(side_effect=RuntimeError("sip:lab@10.0.0.1"))
    with pytest.raises(ToolError) as error:
        await tool("TransferCall")(made.context, raw_arguments={"to": "lab"})
    assert error.value.message == "transfer_call failed: the call could not be transferred."
    failed = api.TransferSIPParticipantResponse(status=STS_TRANSFER_FAILED)
    made.api.sip.transfer_sip_participant = AsyncMock(return_value=failed)
    with pytest.raises(ToolError, match="nobody took the call"):
        await tool("TransferCall")(made.context, raw_arguments={"to": "lab"})


def test_the_model_learns_names_and_no_numbers() -> None:
    schema = tool("TransferCall").info.raw_schema
    assert schema["parameters"]["properties"]["to"]["enum"] == ["reception", "lab"]
    assert "who wants a person" in str(schema)
    assert "5550100" not in str(schema)
