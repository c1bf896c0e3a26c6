"""What one call begins with, by its configuration."""

import json
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest
from livekit.agents import JobContext

from voice_agent import config as configuration
from voice_agent import session as module
from voice_agent.session import entrypoint


async def begun(monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> tuple[list[str], str]:
    """Return what a call began with, and what the agent was told at its start."""
    config, done = configuration.parse(json.dumps(document)), list[str]()
    session = Mock(start=AsyncMock(), output=SimpleNamespace(audio=None))
    monkeypatch.setattr(module, "build_session", Mock(return_value=session))
    for name in ("proxies", "tools", "report_failures", "leave_with_the_last"):
        monkeypatch.setattr(module, name, Mock())
    monkeypatch.setattr(module, "utter", lambda _, words: done.append(words))

    def keeper(*given: Any) -> Any:
        assert given[1:] == (session, config.limits)
        return SimpleNamespace(watch=lambda: done.append("limits"))

    async def begin() -> None:
        done.append("briefing")

    monkeypatch.setattr(module, "Keeper", keeper)
    monkeypatch.setattr(module, "Briefing", lambda *_: SimpleNamespace(begin=begin))
    room = SimpleNamespace(name="support", metadata="")
    known = {"config": config, "plugins": SimpleNamespace(tts=None, by_place={}), "tools": []}
    context = SimpleNamespace(
        proc=SimpleNamespace(userdata=known),
        job=SimpleNamespace(id="AJ_1", room=room),
        room=room,
        connect=AsyncMock(),
    )
    await entrypoint(cast(JobContext, context))
    context.connect.assert_awaited_once()
    return done, session.start.await_args.args[0].instructions


@pytest.mark.parametrize(
    ("fields", "done", "told"),
    [
        pytest.param({}, ["Hello {{ room.name }}"], "In {{ room.name }}.", id="as it was"),
        pytest.param({"greeting": None}, [], "In {{ room.name }}.", id="nothing is said"),
        pytest.param(
            {"limits": {"maxCallSeconds": 60}}, ["limits", "Hello {{ room.name }}"], "In {{ room.name }}.", id="limits"
        ),
        pytest.param({"promptTemplates": True}, ["briefing"], 'In "support".', id="templates"),
    ],
)
async def test_what_a_call_begins_with(
    monkeypatch: pytest.MonkeyPatch, document: dict[str, Any], fields: dict[str, Any], done: list[str], told: str
) -> None:
    prompts = {"instructions": "In {{ room.name }}.", "greeting": "Hello {{ room.name }}"}
    began, instructions = await begun(monkeypatch, {**document, **prompts, **fields})
    assert began == done
    assert instructions.startswith(told)
