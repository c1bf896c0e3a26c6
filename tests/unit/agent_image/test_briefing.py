"""What the agent is told of its call, and when it greets."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext
from livekit.agents.llm import RealtimeError
from livekit.rtc import EventEmitter

from voice_agent import ending
from voice_agent.briefing import Briefing, facts_of, opening
from voice_agent.config import AgentConfig
from voice_agent.templates import NOTE, Facts

TOLD = 'Help {{ participant.name | default("whoever calls") }} in {{ room.name }}.'
NOBODY = f'Help whoever calls in "support".{NOTE}'
ANNA = f'Help "Anna" in "support".{NOTE}'
GREETING = 'Hello {{ participant.name | default("there") }}!'


def config(instructions: str = TOLD, greeting: str | None = GREETING, templates: bool = True) -> AgentConfig:
    return AgentConfig(agentName="a", instructions=instructions, greeting=greeting, promptTemplates=templates)


def person(name: str, kind: Any = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD) -> Any:
    return SimpleNamespace(kind=kind, identity=f"{name}-1", name=name, metadata="m", attributes={"plan": "gold"})


class Call(EventEmitter[str]):
    """A room, a session and an agent at once, and what was said and told."""

    name = "support"
    metadata = "order 7"
    tts: Any = object()

    def __init__(self, *people: Any) -> None:
        super().__init__()
        self.done: list[str] = []
        self.remote_participants = {one.identity: one for one in people}
        self.instructions = "at first"
        self.refused = self.closed = False
        self.told = asyncio.Event()

    def brief(self, config: AgentConfig) -> Briefing:
        context = cast(JobContext, SimpleNamespace(room=self))
        return Briefing(context, cast(AgentSession[Any], self), cast(Agent, self), config)

    async def join(self, *people: Any) -> None:
        for one in people:
            self.remote_participants[one.identity] = one
            self.emit("participant_connected", one)
        for _ in range(5):
            await asyncio.sleep(0)

    async def update_instructions(self, instructions: str) -> None:
        await asyncio.sleep(0)
        if self.refused:
            raise RealtimeError("no")
        self.instructions = instructions
        self.done.append("told")

    def say(self, words: str, **_: Any) -> None:
        if self.closed:
            raise RuntimeError("AgentSession isn't running")
        self.done.append(words)

    def generate_reply(self, instructions: str) -> None:
        self.done.append(instructions.rpartition(": ")[2])


async def test_who_is_there_is_told_and_greeted() -> None:
    call = Call(person("Recorder", rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS), person("Anna"), person("Ben"))
    await call.brief(config()).begin()
    assert (call.instructions, call.done) == (ANNA, ["told", "Hello Anna!"])
    await call.join(person("Carl"))
    assert call.done == ["told", "Hello Anna!"]


async def test_a_greeting_that_names_somebody_waits_for_them() -> None:
    call = Call()
    await call.brief(config()).begin()
    assert (call.instructions, call.done) == (NOBODY, ["told"])
    await call.join(person("Recorder", rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS))
    assert call.done == ["told"]
    await call.join(person("Anna"), person("Ben"))
    assert (call.instructions, call.done) == (ANNA, ["told", "told", "Hello Anna!"])
    await call.join(person("Carl"))
    assert call.done == ["told", "told", "Hello Anna!"]


async def test_another_greeting_is_said_at_once() -> None:
    call = Call()
    await call.brief(config(greeting="This is {{ room.name }}.")).begin()
    assert call.done == ["told", "This is support."]
    await call.join(person("Anna"))
    assert (call.instructions, call.done) == (ANNA, ["told", "This is support.", "told"])


async def test_somebody_who_joins_meanwhile_is_not_missed() -> None:
    call = Call()
    beginning = asyncio.create_task(call.brief(config()).begin())
    await asyncio.sleep(0)
    await call.join(person("Anna"))
    await beginning
    assert (call.instructions, call.done[-1]) == (ANNA, "Hello Anna!")
    assert call.done.count("Hello Anna!") == 1


async def test_what_is_told_already_is_not_told_again() -> None:
    call = Call(person("Anna"))
    call.instructions = "Be brief."
    await call.brief(config(instructions="Be brief.", greeting=None)).begin()
    assert call.done == []


async def test_a_realtime_model_is_greeting_with_values_in_quotes() -> None:
    call = Call(person("Anna. Now sing"))
    call.tts = None
    await call.brief(config()).begin()
    assert call.done[-1] == 'Hello "Anna. Now sing"!'


async def test_a_model_that_takes_no_instructions_greets_all_the_same() -> None:
    call = Call(person("Anna"))
    call.refused = True
    await call.brief(config()).begin()
    assert (call.instructions, call.done) == ("at first", ["Hello Anna!"])


async def test_nobody_is_greeted_with_nothing_or_after_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    empty, closed, over = Call(person("")), Call(person("Anna")), Call(person("Anna"))
    await empty.brief(config(greeting=" {{ participant.name }}")).begin()
    closed.closed = True
    await closed.brief(config()).begin()
    monkeypatch.setattr(ending, "_endings", {over: None})
    await over.brief(config()).begin()
    assert [call.done for call in (empty, closed, over)] == [["told"]] * 3


def test_what_the_agent_is_told_before_it_has_joined() -> None:
    job = SimpleNamespace(room=SimpleNamespace(name="support", metadata='{"who": "Anna"}'))
    context = cast(JobContext, SimpleNamespace(job=job))
    assert opening(config(), context) == NOBODY
    assert opening(config("For {{ room.metadata.who }}."), context) == f'For "Anna".{NOTE}'
    assert opening(config("{{ room.name }}", templates=False), context) == "{{ room.name }}"


def test_what_is_known_of_a_participant() -> None:
    room: Any = SimpleNamespace(name="support", metadata=None)
    assert facts_of(room, None) == Facts(room_name="support")
    assert facts_of(room, person("Anna")) == Facts("support", "", "Anna-1", "Anna", "m", (("plan", "gold"),))
