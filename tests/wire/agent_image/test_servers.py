"""The stock agent and a real server of the Model Context Protocol, over streamable HTTP."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from livekit.agents import AgentSession

from tests.harness.ports import free_port
from tests.providers.calling import NOT_OFFERED
from tests.providers.script import ANSWERS
from tests.wire.agent_image import mcp_server
from tests.wire.agent_image.test_providers import close, configured
from tests.wire.agent_image.test_providers import sessions_of_http as sessions_of_http
from tests.wire.providers.conftest import StandIn
from tests.wire.providers.conftest import stand_in as stand_in
from voice_agent.config import AgentConfig
from voice_agent.provider_errors import ProviderErrorBoard
from voice_agent.providers import build
from voice_agent.session import build_agent
from voice_agent.tool_checks import McpCheck
from voice_agent.tools.servers import Servers

KEY = "key-of-the-front-desk"
QUESTION = next(iter(ANSWERS))
ALLOWED = ["find_slots", "wait_for_ever", "much", "fail"]


@dataclass
class Server:
    """A running server."""

    url: str


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    port = free_port()
    with subprocess.Popen([sys.executable, str(Path(mcp_server.__file__)), str(port), KEY]) as process:
        try:
            wait_for_port(process, port)
            yield Server(f"http://127.0.0.1:{port}/mcp")
        finally:
            process.terminate()


def wait_for_port(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until a server listens; raises AssertionError when it ends, or takes a minute."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the MCP server did not listen within a minute")


def tools(url: str, **more: Any) -> dict[str, Any]:
    headers = [{"name": "Authorization", "scheme": "Bearer"}]
    return {"mcp": [{"name": "desk", "url": url, "allowed": ALLOWED, "headers": headers, **more}]}


async def written(config: AgentConfig, board: ProviderErrorBoard) -> str:
    """Ask the agent in writing once its servers have been asked, and return what it answers."""
    plugins, agent, servers = build(config), build_agent(config, []), Servers(config.tools, board)
    servers.begin()
    async with AgentSession[None](llm=plugins.llm, vad=None, turn_handling={"turn_detection": None}) as session:
        await session.start(agent, record=False)
        servers.give_to(session)
        assert servers._giving is not None
        await servers._giving
        await session.run(user_input=QUESTION)
        said = [item.text_content or "" for item in session.history.items if item.type == "message"]
        await servers.aclose()
    await close(plugins)
    return said[-1]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProviderErrorBoard:
    monkeypatch.setenv("TOOLS_MCP_0_HEADER_0", KEY)
    return ProviderErrorBoard(tmp_path)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"name": "find_slots", "arguments": {"day": "monday"}}, mcp_server.SLOT),
        ({"name": "find_slots", "arguments": {"day": "sunday"}}, "Nothing is free on sunday."),
        ({"name": "wait_for_ever"}, "wait_for_ever failed: no answer within 8 seconds."),
        ({"name": "delete_everything"}, NOT_OFFERED),
    ],
)
@pytest.mark.usefixtures("sessions_of_http")
async def test_a_tool_of_a_server_is_called_and_its_answer_said(
    server: Server,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    board: ProviderErrorBoard,
    call: dict[str, Any],
    said: str,
) -> None:
    stand_in.control.change({"calls": {QUESTION: call}})
    # To connect as well: not too short for a busy machine.
    seconds = 8 if call["name"] == "wait_for_ever" else 60
    config = configured(stand_in, monkeypatch, tools=tools(server.url, timeoutSeconds=seconds))
    assert await written(config, board) == said
    assert board.current() == []
    offered = [event["detail"].get("tools") for event in stand_in.control.events() if event["event"] == "asked"]
    assert sorted(offered[0]) == sorted(ALLOWED)


@pytest.mark.parametrize("name", ["much", "fail"])
@pytest.mark.usefixtures("sessions_of_http")
async def test_what_a_server_says_is_bounded_and_holds_no_key(
    server: Server, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, board: ProviderErrorBoard, name: str
) -> None:
    stand_in.control.change({"calls": {QUESTION: {"name": name}}})
    said = await written(configured(stand_in, monkeypatch, tools=tools(server.url, timeoutSeconds=60)), board)
    assert KEY not in said
    assert 10 < len(said) < 17_000
    assert said.startswith("fail failed: " if name == "fail" else "[redacted] xxx")


@pytest.mark.parametrize("wrong", ["nobody there", "wrong key"])
@pytest.mark.usefixtures("sessions_of_http")
async def test_a_call_goes_on_without_a_server_and_that_is_told(
    server: Server, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, board: ProviderErrorBoard, wrong: str
) -> None:
    url = "http://127.0.0.1:9/mcp" if wrong == "nobody there" else server.url
    if wrong == "wrong key":
        monkeypatch.setenv("TOOLS_MCP_0_HEADER_0", "another")
    assert await written(configured(stand_in, monkeypatch, tools=tools(url)), board) == ANSWERS[QUESTION]
    assert [(error.role, error.provider, error.code) for error in board.current()] == [("tools.mcp[0]", "desk", 0)]


async def test_the_worker_finds_out_before_a_call(server: Server) -> None:
    async with aiohttp.ClientSession() as session:
        assert await McpCheck(server.url, {"Authorization": f"Bearer {KEY}"})(session) is None
        assert await McpCheck(server.url, {"Authorization": "Bearer another"})(session) == 401
        with pytest.raises(aiohttp.ClientError):
            await McpCheck("http://127.0.0.1:9/mcp", {})(session)
