"""Several agents in one call: who may hand over to whom, and what goes along."""

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from livekit import rtc
from livekit.agents import Agent, ToolError
from livekit.agents.llm import ChatContext, function_tool

from voice_agent import config as configuration
from voice_agent.config import ConfigError
from voice_agent.handoffs import FUNCTION, CarefulSuccessor, Successor, Team

AGENTS: list[dict[str, Any]] = [
    {"name": "desk", "instructions": "Answer.", "greeting": "Hello!", "handoffTo": ["billing", "lab"]},
    {
        "name": "billing",
        "description": "invoices",
        "instructions": "You know invoices of {{ participant.name }}.",
        "greeting": "Billing, {{ participant.name }}?",
        "handoffTo": ["desk"],
    },
    {"name": "lab", "instructions": "You are the lab."},
]


async def look(raw_arguments: dict[str, object]) -> str:
    return str(raw_arguments)


LOOK = function_tool(look, raw_schema={"name": "look", "parameters": {"type": "object"}})


class Call:
    """A call in which somebody was asked, and who speaks in it."""

    def __init__(self, document: dict[str, Any], **said: Any) -> None:
        self.config = configuration.parse(json.dumps({**document, "agents": AGENTS, **said}))
        alice = SimpleNamespace(
            identity="alice",
            name="Alice",
            metadata="",
            attributes={},
            kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
        )
        room = SimpleNamespace(name="lobby", metadata="", remote_participants={"alice": alice})
        self.team = Team(Mock(room=room), self.config)
        chat = ChatContext.empty()
        chat.add_message(role="system", content="Answer.")
        chat.add_message(role="user", content="My invoice is wrong.")
        self.agent = Agent(instructions="Answer.", tools=[LOOK, *self.team.of_the_first()], chat_ctx=chat)

    def function(self) -> Any:
        return next((tool for tool in self.agent.tools if tool.id == FUNCTION), None)

    async def hand_over(self, to: Any) -> Successor:
        found = await self.function()(Mock(session=Mock(current_agent=self.agent)), raw_arguments={"to": to})
        assert isinstance(found, Successor)
        self.agent = found
        return found


def test_an_agent_alone_hands_over_to_nobody(document: dict[str, Any]) -> None:
    assert Team(Mock(), configuration.parse(json.dumps(document))).of_the_first() == []


def test_the_model_learns_to_whom_it_may_hand_over(document: dict[str, Any]) -> None:
    to = Call(document).function().info.raw_schema["parameters"]["properties"]["to"]
    assert to["enum"] == ["billing", "lab"]
    assert to["description"] == "To whom: billing (invoices); lab."


async def test_tools_and_what_was_said_go_along(document: dict[str, Any]) -> None:
    call = Call(document)
    billing = await call.hand_over("billing")
    assert [tool.id for tool in billing.tools] == ["look", FUNCTION]
    assert call.function().info.raw_schema["parameters"]["properties"]["to"]["enum"] == ["desk"]
    assert [item.text_content for item in billing.chat_ctx.items if item.type == "message"] == ["My invoice is wrong."]
    assert billing.instructions == "You know invoices of {{ participant.name }}."


async def test_one_who_hands_over_to_nobody_has_no_function_for_it(document: dict[str, Any]) -> None:
    call = Call(document)
    lab = await call.hand_over("lab")
    assert [tool.id for tool in lab.tools] == ["look"]
    assert lab.words == ""


async def test_each_greets_once(document: dict[str, Any]) -> None:
    call = Call(document)
    assert (await call.hand_over("billing")).words == "Billing, {{ participant.name }}?"
    assert (await call.hand_over("desk")).words == "", "it has greeted at the beginning"
    assert (await call.hand_over("billing")).words == ""


async def test_texts_are_templates_where_those_of_the_pool_are(document: dict[str, Any]) -> None:
    billing = await Call(document, promptTemplates=True).hand_over("billing")
    assert billing.words == "Billing, Alice?"
    assert "Alice" in str(billing.instructions)


@pytest.mark.parametrize("to", ["desk", "sales", "", None, ["lab"]])
async def test_nobody_else_takes_over(document: dict[str, Any], to: Any) -> None:
    with pytest.raises(ToolError, match="to must be one of billing, lab"):
        await Call(document).hand_over(to)


async def test_a_careful_pool_has_careful_agents(document: dict[str, Any]) -> None:
    found = await Call(document, neverSay=["guarantee"]).hand_over("lab")
    assert isinstance(found, CarefulSuccessor)
    assert found._never_say == ("guarantee",)


@pytest.mark.parametrize(("words", "said"), [("Billing.", "Billing."), ("", None)])
async def test_who_takes_over_speaks_first(monkeypatch: pytest.MonkeyPatch, words: str, said: str | None) -> None:
    uttered: list[str] = []
    monkeypatch.setattr("voice_agent.handoffs.utter", lambda _, words: uttered.append(words))
    session = Mock()
    monkeypatch.setattr(Successor, "session", session)
    agent = Successor(instructions="x")
    agent.words = words
    await agent.on_enter()
    assert uttered == ([said] if said else [])
    assert session.generate_reply.called is (said is None)


def test_a_name_that_nobody_has_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="sales of handoffTo is none of them"):
        Call(document | {}, agents=[{**AGENTS[2], "handoffTo": ["sales"]}])


def test_a_placeholder_that_is_none_is_refused(document: dict[str, Any]) -> None:
    wrong = {**AGENTS[2], "greeting": "{{ participant.secret }}"}
    with pytest.raises(ConfigError, match="greeting of lab"):
        Call(document, agents=[wrong], promptTemplates=True)
