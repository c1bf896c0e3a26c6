"""How a call gets the tools of servers, whatever these do; a real one is in tests/wire."""

import asyncio
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from livekit.agents import Agent, ToolError
from livekit.agents.llm import function_tool

from voice_agent import tools
from voice_agent.logs import Redactor
from voice_agent.provider_errors import ProviderError, ProviderErrorBoard
from voice_agent.tool_config import McpServerConfig, ToolsConfig
from voice_agent.tools import servers
from voice_agent.tools.http import MOST_BYTES
from voice_agent.tools.servers import MOST_DESCRIPTION, MOST_ERROR, MOST_SCHEMA, Servers, fits, guarded, text_of

SECRET = "key-of-the-front-desk"
SCHEMA = {"type": "object", "properties": {}}


def tool(name: str, answer: Any = "done", schema: Any = None, description: str | None = "Does it.") -> Any:
    """A tool as the library's client lists it: it answers, or raises, or hangs when the answer is None."""

    async def call(raw_arguments: dict[str, object]) -> Any:
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    described = {"name": name, "description": description, "parameters": SCHEMA if schema is None else schema}
    return function_tool(call, raw_schema=described)


class Connection:
    """A server's client: its tools, or how it fails; None hangs."""

    def __init__(self, *tools: Any, fails: Any = False) -> None:
        self.tools = list(tools)
        self.fails = fails
        self.left = False

    async def initialize(self) -> None:
        if self.fails is None:
            await asyncio.Event().wait()
        if self.fails:
            raise self.fails

    async def list_tools(self) -> list[Any]:
        return self.tools

    async def aclose(self) -> None:
        self.left = True


def server(name: str = "desk", *allowed: str, seconds: int = 1) -> dict[str, Any]:
    return {"name": name, "url": "http://desk/mcp", "allowed": allowed or ("find",), "timeoutSeconds": seconds}


class Call:
    """A call with servers."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **connections: Connection) -> None:
        self.connections = connections
        self.board = ProviderErrorBoard(folder)
        self.agent = Agent(instructions="x", tools=[tool("own")])
        self.session: Any = SimpleNamespace(current_agent=self.agent)
        monkeypatch.setattr(servers, "connection", lambda config, _: connections[config.name])

    async def run(self, *configs: dict[str, Any]) -> list[str]:
        """Ask the servers; return the names of the tools that the model has then."""
        config = ToolsConfig.model_validate_json(json.dumps({"mcp": configs}))
        asked = Servers(config, self.board)
        asked.begin()
        asked.give_to(self.session)
        if asked._giving:
            await asked._giving
        await asked.aclose()
        return [one.id for one in self.agent.tools]

    def told(self) -> list[tuple[str, str, int]]:
        return [(error.role, error.provider, error.code) for error in self.board.current()]


async def test_the_model_is_given_what_is_allowed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(tmp_path, monkeypatch, desk=Connection(tool("find"), tool("delete")))
    assert await call.run(server()) == ["own", "find"]
    assert call.told() == []
    assert call.connections["desk"].left


@pytest.mark.parametrize("fails", [None, OSError("wss://secret"), ExceptionGroup("x", [ValueError(SECRET)])])
async def test_one_that_does_not_answer_is_told_and_the_others_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    call = Call(tmp_path, monkeypatch, desk=Connection(fails=fails), crm=Connection(tool("look")))
    assert await call.run(server(), server("crm", "look")) == ["own", "look"]
    assert call.told() == [("tools.mcp[0]", "desk", 0)]
    assert "the call goes on without its tools" in caplog.text
    assert "secret" not in caplog.text
    assert SECRET not in caplog.text
    assert all(connection.left for connection in call.connections.values())


async def test_one_that_cannot_even_be_asked_keeps_no_other_from_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(tmp_path, monkeypatch, crm=Connection(tool("look")))  # none for desk: connecting raises
    assert await call.run(server(), server("crm", "look")) == ["own", "look"]
    assert call.told() == [("tools.mcp[0]", "desk", 0)]


async def test_tools_that_a_model_does_not_take_keep_no_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(tmp_path, monkeypatch, desk=Connection(tool("find")), crm=Connection(tool("look")))
    taken: list[list[str]] = []

    async def take(tools: list[Any]) -> None:
        names = [one.id for one in tools]
        if "find" in names:
            raise RuntimeError("not this one")
        taken.append(names)

    monkeypatch.setattr(call.agent, "update_tools", take)
    await call.run(server(), server("crm", "look"))
    assert taken == [["own", "look"]]


async def test_what_the_worker_found_out_stays_until_a_server_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(tmp_path, monkeypatch, desk=Connection(fails=OSError()))
    call.board.report(ProviderError.now("tools.mcp[0]", "desk", 401))
    await call.run(server())
    assert call.told() == [("tools.mcp[0]", "desk", 401)]
    call.connections["desk"].fails = False
    await call.run(server())
    assert call.told() == []


async def test_tools_that_are_missing_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call = Call(tmp_path, monkeypatch, desk=Connection(tool("find"), tool("odd", schema={"type": "string"})))
    assert await call.run(server("desk", "find", "odd", "none")) == ["own", "find"]
    [record] = [record for record in caplog.records if "not all tools" in record.message]
    assert vars(record)["tools"] == "none, odd"


async def test_without_servers_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await Call(tmp_path, monkeypatch).run() == ["own"]


async def test_an_end_in_the_middle_leaves_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(tmp_path, monkeypatch, desk=Connection(fails=None))
    asked = Servers(ToolsConfig.model_validate_json(json.dumps({"mcp": [server(seconds=60)]})), call.board)
    asked.begin()
    asked.give_to(call.session)
    await asyncio.sleep(0)
    await asked.aclose()
    assert call.connections["desk"].left
    assert call.told() == []


@pytest.mark.parametrize(
    ("schema", "fitting"),
    [
        (SCHEMA, True),
        ({"type": "object", "description": "x" * (MOST_SCHEMA - 100)}, True),
        ({"type": "object", "description": "x" * MOST_SCHEMA}, False),
        ({"type": "string"}, False),
        ({}, False),
        ([], False),
    ],
)
def test_a_model_is_told_of_what_it_can_be_told_of(schema: Any, fitting: bool) -> None:
    assert fits(tool("find", schema=schema)) is fitting


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (ToolError(f"no such customer ({SECRET})"), "find failed: no such customer ([redacted])"),
        (ToolError("x" * 9999), "find failed: " + "x" * MOST_ERROR),
        (RuntimeError(f"http://{SECRET}"), "find failed: the service could not be reached."),
        (None, "find failed: no answer within 1 seconds."),
    ],
)
async def test_what_goes_wrong_is_a_sentence(answer: Any, says: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    config = McpServerConfig.model_validate_json(json.dumps(server()))
    with pytest.raises(ToolError) as error:
        await guarded(tool("find", answer), config, Redactor([SECRET]))(raw_arguments={})
    assert error.value.message == says
    assert SECRET not in caplog.text


async def test_an_answer_is_bounded_and_holds_no_secret() -> None:
    config = McpServerConfig.model_validate_json(json.dumps(server()))
    answer = await guarded(tool("find", SECRET + "x" * 99_999), config, Redactor([SECRET]))(raw_arguments={})
    assert answer.startswith("[redacted]xxx")
    assert len(answer) < MOST_BYTES + 100


@pytest.mark.parametrize(("said", "told"), [(None, "find"), ("x" * 9999, "x" * MOST_DESCRIPTION)])
def test_what_a_server_says_of_a_tool_is_bounded(said: str | None, told: str) -> None:
    config = McpServerConfig.model_validate_json(json.dumps(server()))
    assert guarded(tool("find", description=said), config, Redactor([])).info.raw_schema["description"] == told


@pytest.mark.parametrize(
    ("parts", "structured", "text"),
    [
        ([("text", "a"), ("image", None), ("text", "b")], {"x": 1}, "a\nb"),
        ([("image", None)], {"x": "é"}, '{"x": "é"}'),
        ([("image", None)], None, "Done; the answer is empty."),
        ([], None, "Done; the answer is empty."),
    ],
)
def test_the_text_of_an_answer(parts: list[tuple[str, Any]], structured: Any, text: str) -> None:
    content = [SimpleNamespace(type=kind, text=words) for kind, words in parts]
    assert text_of(SimpleNamespace(content=content, structured_content=structured)) == text


@pytest.mark.parametrize(("configs", "imported"), [([], []), ([server()], ["livekit.agents.llm.mcp"])])
def test_only_a_pool_with_servers_pays_for_the_client(
    monkeypatch: pytest.MonkeyPatch, configs: list[dict[str, Any]], imported: list[str]
) -> None:
    found: list[str] = []
    monkeypatch.setattr("voice_agent.tools.importlib.import_module", found.append)
    tools.preload(ToolsConfig.model_validate_json(json.dumps({"mcp": configs})))
    assert found == imported


@pytest.mark.parametrize(("configs", "ends"), [([], 0), ([server()], 1)])
async def test_servers_are_left_when_the_job_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configs: list[dict[str, Any]], ends: int
) -> None:
    call, at_the_end = Call(tmp_path, monkeypatch, desk=Connection(tool("find"))), list[Any]()
    job: Any = SimpleNamespace(add_shutdown_callback=at_the_end.append)
    asked = tools.connect(job, ToolsConfig.model_validate_json(json.dumps({"mcp": configs})), call.board)
    await asyncio.gather(*asked._asked)
    assert len(at_the_end) == ends
    for end in at_the_end:
        await end()
    assert call.connections["desk"].left is bool(ends)
