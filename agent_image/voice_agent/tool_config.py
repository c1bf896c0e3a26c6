"""What the file says of tools; the values of their headers are in variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .sections import Section, as_text

# Every variable that `header_variable` may name.
HEADER_VARIABLE = re.compile(r"TOOLS_(HTTP|MCP)_[0-9]{1,2}_HEADER_[0-9]")


class HeaderConfig(Section):
    """A header; its value is in the variable of its place."""

    name: str = Field(min_length=1)
    scheme: str | None = None


class HttpToolConfig(Section):
    """A function that is a request."""

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    url: str = Field(min_length=1)
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    # As text, because all of a configuration is one key of a cache.
    parameters: Annotated[str, BeforeValidator(as_text)] = '{"type": "object", "properties": {}}'
    headers: tuple[HeaderConfig, ...] = ()
    timeout_seconds: int = Field(10, ge=1)


class McpServerConfig(Section):
    """A server of the Model Context Protocol."""

    name: str = Field(min_length=1)
    url: str = Field(min_length=1)
    headers: tuple[HeaderConfig, ...] = ()
    allowed: tuple[str, ...] = Field(min_length=1)
    timeout_seconds: int = Field(10, ge=1)


class TransferTargetConfig(Section):
    """Somebody to whom a call may be transferred."""

    name: str = Field(min_length=1)
    description: str | None = None
    to: str = Field(min_length=1)


class ToolsConfig(Section):
    """What the model may do beside speaking."""

    built_in: tuple[Literal["EndCall", "SendData", "SendDtmf", "TransferCall"], ...] = ()
    transfer_to: tuple[TransferTargetConfig, ...] = ()
    http: tuple[HttpToolConfig, ...] = ()
    mcp: tuple[McpServerConfig, ...] = ()

    @property
    def servers(self) -> dict[str, McpServerConfig]:
        """Every server of the Model Context Protocol by its place: `mcp[0]`."""
        return {f"mcp[{index}]": server for index, server in enumerate(self.mcp)}

    def headers(self) -> Iterator[tuple[str, HeaderConfig]]:
        """The variable and the header of each secret."""
        places = [(f"http[{index}]", tool.headers) for index, tool in enumerate(self.http)]
        places += [(place, server.headers) for place, server in self.servers.items()]
        for place, headers in places:
            yield from ((header_variable(place, index), header) for index, header in enumerate(headers))


def header_variable(place: str, index: int) -> str:
    """The variable that holds the header of a tool: of `http[0]` and 1 `TOOLS_HTTP_0_HEADER_1`."""
    return f"TOOLS_{re.sub(r'[^a-z0-9]+', '_', place).strip('_').upper()}_HEADER_{index}"


def header_values(
    place: str, headers: tuple[HeaderConfig, ...], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The headers of a tool with their values."""
    found = {header.name: (header.scheme, environ[header_variable(place, i)]) for i, header in enumerate(headers)}
    return {name: f"{scheme} {value}" if scheme else value for name, (scheme, value) in found.items()}
