"""Servers of the Model Context Protocol whose tools a call has.

A call neither waits for them nor ends without them: they are asked while it begins, and the model is given the tools of
each as soon as they are known. One that does not answer is told on the board, as a provider is, and its tools are
missing in this call. What a server says of its tools, and answers, is for the model: it is bounded.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx2
from livekit.agents import AgentSession, ToolError
from livekit.agents.llm import RawFunctionTool, function_tool
from livekit.agents.utils import http_context

from voice_agent.logs import Redactor
from voice_agent.provider_errors import ProviderError, ProviderErrorBoard
from voice_agent.tool_config import McpServerConfig, ToolsConfig, header_values

from .http import cut, secrets_in

logger = logging.getLogger(__name__)

MOST_SCHEMA = 16 * 1024
MOST_DESCRIPTION = 4096
MOST_ERROR = 512
# The library's own times are longer, so that ours tell of them.
_SLACK = 5.0
_FAREWELL_SECONDS = 3.0

McpTool = RawFunctionTool[..., Any]


class Servers:
    """The servers of one call."""

    def __init__(self, config: ToolsConfig, board: ProviderErrorBoard) -> None:
        self._config = config
        self._board = board
        self._connected: list[Any] = []
        self._asked: list[asyncio.Task[list[McpTool]]] = []
        self._giving: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Ask all of them at once for their tools."""
        self._asked = [asyncio.create_task(self._ask(*server)) for server in self._config.servers.items()]

    def give_to(self, session: AgentSession[Any]) -> None:
        """Give the tools of each to the model as soon as they are known; the session has been started."""
        if self._asked:
            self._giving = asyncio.create_task(self._give(session))

    async def aclose(self) -> None:
        """Leave all of them, at the end of the call."""
        for task in (*self._asked, *filter(None, [self._giving])):
            task.cancel()
        leaving = [asyncio.wait_for(server.aclose(), _FAREWELL_SECONDS) for server in self._connected]
        await asyncio.gather(*leaving, return_exceptions=True)

    async def _give(self, session: AgentSession[Any]) -> None:
        for ready in asyncio.as_completed(self._asked):
            if not (tools := await ready):
                continue
            agent = session.current_agent
            try:
                await agent.update_tools([*agent.tools, *tools])
            except Exception as error:  # noqa: BLE001  a realtime model that does not take these may take others
                logger.warning("the model does not take the tools of a server", extra={"error": type(error).__name__})

    async def _ask(self, place: str, config: McpServerConfig) -> list[McpTool]:
        headers = header_values(place, config.headers)
        board_place = f"tools.{place}"
        try:
            self._connected.append(server := connection(config, headers))
            async with asyncio.timeout(config.timeout_seconds):
                await server.initialize()
                listed = await server.list_tools()
        except Exception as error:  # noqa: BLE001  its words may repeat what was sent
            # what the worker's own look has found is more precise (tool_checks.py)
            if board_place not in {known.role for known in self._board.current()}:
                self._board.report(ProviderError.now(board_place, config.name, 0))
            about = {"server": config.name, "error": type(error).__name__}
            logger.warning("an MCP server does not answer; the call goes on without its tools", extra=about)
            return []
        self._board.clear(board_place)
        found = {tool.info.name: tool for tool in listed if tool.info.name in config.allowed and fits(tool)}
        if missing := sorted(set(config.allowed) - found.keys()):
            about = {"server": config.name, "tools": ", ".join(missing)}
            logger.warning("an MCP server has not all tools that are allowed, or too long ones", extra=about)
        return [guarded(tool, config, secrets_in(headers)) for tool in found.values()]


def connection(config: McpServerConfig, headers: dict[str, str]) -> Any:
    """The library's client of a server, with the TLS context that this process has already."""
    from livekit.agents.llm.mcp import MCPServerHTTP  # seconds, where the fork server has not imported it

    class Server(MCPServerHTTP):
        def _create_http_client(self, *_: Any, **__: Any) -> httpx2.AsyncClient:
            seconds = float(config.timeout_seconds)
            # Redirects are followed to the same origin alone (mcp.client.streamable_http).
            return httpx2.AsyncClient(
                headers=headers, timeout=httpx2.Timeout(seconds, read=300), verify=http_context._create_ssl_context()
            )

    return Server(
        config.url,
        transport_type="streamable_http",
        allowed_tools=list(config.allowed),
        client_session_timeout_seconds=config.timeout_seconds + _SLACK,
        tool_result_resolver=lambda context: text_of(context.result),
    )


def fits(tool: McpTool) -> bool:
    """Whether a language model can be told of a tool: one that cannot would have every request refused."""
    schema = tool.info.raw_schema["parameters"]
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return False
    try:
        return len(json.dumps(schema)) <= MOST_SCHEMA
    except (ValueError, RecursionError):
        return False


def text_of(result: Any) -> str:
    """The text of a tool's result; images and sound are nothing to a model that is spoken with."""
    texts = [part.text for part in result.content if part.type == "text"]
    if not texts and result.structured_content is not None:
        texts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return "\n".join(texts) or "Done; the answer is empty."


def guarded(tool: McpTool, config: McpServerConfig, secrets: Redactor) -> McpTool:
    """A tool whose answers and errors are bounded, and that never takes longer than it may."""
    name = tool.info.name

    async def call(raw_arguments: dict[str, object]) -> str:
        try:
            async with asyncio.timeout(config.timeout_seconds):
                answer = str(await tool(raw_arguments=raw_arguments))
        except ToolError as error:
            raise ToolError(f"{name} failed: {secrets.text(error.message)[:MOST_ERROR]}") from None
        except TimeoutError:
            logger.warning("a tool did not answer in time", extra={"tool": name, "server": config.name})
            raise ToolError(f"{name} failed: no answer within {config.timeout_seconds} seconds.") from None
        except Exception as error:  # noqa: BLE001  its words may repeat what was sent
            about = {"tool": name, "server": config.name, "error": type(error).__name__}
            logger.warning("a tool could not be asked", extra=about)
            raise ToolError(f"{name} failed: the service could not be reached.") from None
        return cut(secrets.text(answer))

    schema = tool.info.raw_schema
    description = str(schema.get("description") or name)[:MOST_DESCRIPTION]
    return function_tool(call, raw_schema={**schema, "description": description})
