"""What the model may do beside speaking: made before the call begins, but for what is another server's to list."""

from __future__ import annotations

import importlib

from livekit.agents import JobContext
from livekit.agents.llm import Tool, Toolset

from voice_agent.provider_errors import ProviderErrorBoard
from voice_agent.tool_config import ToolsConfig

from . import call, http
from .servers import Servers


def preload(config: ToolsConfig) -> None:
    """Import in the fork server what takes seconds; a pool without servers does not pay for it."""
    if config.mcp:
        importlib.import_module("livekit.agents.llm.mcp")


def build(config: ToolsConfig) -> list[Tool | Toolset]:
    """The tools that need no connection."""
    return [*call.build(config), *(http.build(index, tool) for index, tool in enumerate(config.http))]


def connect(ctx: JobContext, config: ToolsConfig, board: ProviderErrorBoard) -> Servers:
    """Begin to connect to the servers of a call; they are left when the job ends."""
    servers = Servers(config, board)
    if config.mcp:
        servers.begin()
        ctx.add_shutdown_callback(servers.aclose)
    return servers
