"""What the model may do beside speaking, made before the call begins."""

from __future__ import annotations

from livekit.agents.llm import Tool, Toolset

from voice_agent.tool_config import ToolsConfig

from . import call, http


def build(config: ToolsConfig) -> list[Tool | Toolset]:
    """The tools that need no connection."""
    return [*call.build(config), *(http.build(index, tool) for index, tool in enumerate(config.http))]
