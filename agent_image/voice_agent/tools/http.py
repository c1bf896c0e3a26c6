"""Functions that are requests to one endpoint, which the pool's author names.

The model chooses arguments and nothing else: they are escaped, so that neither host nor path is theirs to change. What
comes back is for the model and, sooner or later, for the caller: it is bounded, and holds none of the headers' secrets.
Of what goes wrong the model gets a sentence, and the log the kind of error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from livekit.agents import ToolError
from livekit.agents.llm import RawFunctionTool, function_tool
from livekit.agents.utils import http_context
from yarl import URL

from voice_agent.logs import Redactor
from voice_agent.tool_config import HttpToolConfig, header_values

from . import arguments

logger = logging.getLogger(__name__)

MOST_BYTES = 16 * 1024
"""Of an answer that the model is given; it is read aloud in parts, at most."""
MOST_URL = 8192
_LONGEST_SECRET = 8192  # no server takes longer headers; read beyond the end, so that none is cut and left
_PLACEHOLDER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")
_IN_QUERY = ("GET", "DELETE")
_LEFT_OUT = " … (the rest of the answer was left out)"


def build(index: int, config: HttpToolConfig) -> RawFunctionTool[..., Any]:
    """The function of the endpoint at a place of the list."""
    schema = json.loads(config.parameters)
    headers = header_values(f"http[{index}]", config.headers)

    async def call(raw_arguments: dict[str, object]) -> str:
        if wrong := arguments.problem(schema, raw_arguments):
            raise ToolError(f"{config.name} was not called: {wrong}.")
        try:
            url, body = request_of(config, raw_arguments)
        except ValueError:
            raise ToolError(f"{config.name} was not called: the arguments cannot be sent.") from None
        return await _ask(config, url, body, headers)

    parameters = {**schema, "properties": schema.get("properties", {})}
    description = {"name": config.name, "description": config.description, "parameters": parameters}
    return function_tool(call, raw_schema=description)


def secrets_in(headers: Mapping[str, str]) -> Redactor:
    """What takes the headers' secrets out of a text, with and without their scheme."""
    return Redactor([*headers.values(), *(value.rpartition(" ")[2] for value in headers.values())])


def request_of(config: HttpToolConfig, given: Mapping[str, Any]) -> tuple[URL, Mapping[str, Any] | None]:
    """The URL and the JSON body of a call; raises ToolError for arguments that would lead elsewhere."""
    path, _, query = config.url.partition("?")
    filled = _fill(path, given)
    parts = [part for name in _PLACEHOLDER.findall(path) for part in re.split(r"[/\\]", _text(given[name]))]
    if any(part in (".", "..") for part in (*parts, *filled.split("/"))):
        raise ToolError(f"{config.name} was not called: an argument must not be a path.")
    if _empty_parts(filled) > _empty_parts(path):
        raise ToolError(f"{config.name} was not called: an argument must not be empty.")
    queries = [_fill(query, given)] if query else []
    rest = {name: value for name, value in given.items() if name not in _PLACEHOLDER.findall(config.url)}
    if config.method in _IN_QUERY and rest:
        queries.append(urlencode([pair for name, value in rest.items() for pair in _pairs(name, value)]))
    url = "?".join(filter(None, (filled, "&".join(queries))))
    if len(url) > MOST_URL:
        raise ToolError(f"{config.name} was not called: the arguments are too long.")
    return URL(url, encoded=True), None if config.method in _IN_QUERY else rest


def _fill(template: str, given: Mapping[str, Any]) -> str:
    return _PLACEHOLDER.sub(lambda found: quote(_text(given[found[1]]), safe=""), template)


def _empty_parts(path: str) -> int:
    return path.split("/").count("")


def _pairs(name: str, value: Any) -> list[tuple[str, str]]:
    return [(name, _text(item)) for item in value] if isinstance(value, list) else [(name, _text(value))]


def _text(value: Any) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else json.dumps(value)


async def _ask(config: HttpToolConfig, url: URL, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> str:
    """The answer as text; raises ToolError with a sentence for the model."""
    try:
        async with (
            asyncio.timeout(config.timeout_seconds),
            http_context.http_session().request(
                config.method, url, json=body, headers=headers, allow_redirects=False
            ) as response,
        ):
            if response.status >= 300:
                logger.warning("a tool was refused", extra={"tool": config.name, "status": response.status})
                raise ToolError(f"{config.name} failed: the service refused the request (HTTP {response.status}).")
            text = cut(secrets_in(headers).text(await _read(response)))
    except TimeoutError:
        logger.warning("a tool did not answer in time", extra={"tool": config.name})
        raise ToolError(f"{config.name} failed: no answer within {config.timeout_seconds} seconds.") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # their words repeat the URL and what was sent
        logger.warning("a tool could not be asked", extra={"tool": config.name, "error": type(error).__name__})
        raise ToolError(f"{config.name} failed: the service could not be reached.") from None
    return text or "Done; the answer is empty."


async def _read(response: aiohttp.ClientResponse) -> str:
    """What was answered, as far as it is needed; no more of it is read."""
    found = bytearray()
    async for chunk in response.content.iter_chunked(MOST_BYTES):
        found += chunk
        if len(found) > MOST_BYTES + _LONGEST_SECRET:
            break
    return found[: MOST_BYTES + _LONGEST_SECRET].decode("utf-8", "replace")


def cut(text: str) -> str:
    """As much of an answer as the model is given."""
    encoded = text.encode()
    return text if len(encoded) <= MOST_BYTES else encoded[:MOST_BYTES].decode("utf-8", "ignore") + _LEFT_OUT
