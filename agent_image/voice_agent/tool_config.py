"""What the file says of tools; the values of their headers are in variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
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

    def headers(self) -> Iterator[tuple[str, HeaderConfig]]:
        """The variable and the header of each secret."""
        places = [(f"http[{index}]", tool.headers) for index, tool in enumerate(self.http)]
        for place, headers in places:
            yield from ((header_variable(place, index), header) for index, header in enumerate(headers))


def header_variable(place: str, index: int) -> str:
    """The variable that holds the header of a tool: of `http[0]` and 1 `TOOLS_HTTP_0_HEADER_1`."""
    return f"TOOLS_{re.sub(r'[^a-z0-9]+', '_', place).strip('_').upper()}_HEADER_{index}"
