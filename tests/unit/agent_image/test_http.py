"""Requests that a model makes by its arguments, to a server of HTTP that is really there."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from livekit.agents import ToolError
from livekit.agents.utils import http_context

from voice_agent.tool_config import HttpToolConfig
from voice_agent.tools.http import MOST_BYTES, MOST_URL, build, request_of

SECRET = "secret-of-the-booking-service"
DAY = {"type": "object", "properties": {"day": {"type": "string"}, "n": {"type": "integer"}}, "required": ["day"]}


@dataclass
class Service:
    """What the endpoint was asked, and how it answers."""

    url: str = ""
    answer: str = "two slots"
    status: int = 200
    location: str = ""
    hang: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.asked.append(
            {"method": request.method, "target": request.raw_path, "headers": dict(request.headers), "body": body}
        )
        if self.hang:
            await asyncio.Event().wait()
        return web.Response(
            text=self.answer, status=self.status, headers={"Location": self.location} if self.location else {}
        )


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    service.url = str(server.make_url("")).rstrip("/")
    http_context._new_session_ctx()
    yield service
    await http_context._close_http_ctx()
    await server.close()


def tool(url: str, **said: Any) -> HttpToolConfig:
    document = {"name": "find_slots", "description": "Finds slots.", "url": url, "parameters": DAY, **said}
    return HttpToolConfig.model_validate_json(json.dumps(document))


async def call(config: HttpToolConfig, **given: Any) -> str:
    return str(await build(0, config)(raw_arguments=given))


@pytest.mark.parametrize(
    ("path", "said", "given", "target", "body"),
    [
        ("/slots", {}, {"day": "1 & 2", "n": 3}, "/slots?day=1+%26+2&n=3", ""),
        ("/slots/{day}", {}, {"day": "a/b?c#d"}, "/slots/a%2Fb%3Fc%23d", ""),
        ("/slots?of={day}", {}, {"day": "a&b=c", "n": 1}, "/slots?of=a%26b%3Dc&n=1", ""),
        ("/slots/{day}", {"method": "DELETE"}, {"day": "x", "n": 1}, "/slots/x?n=1", ""),
        ("/slots/{day}", {"method": "POST"}, {"day": "x", "n": 1}, "/slots/x", '{"n": 1}'),
        ("/slots", {"method": "PUT"}, {"day": "é"}, "/slots", '{"day": "\\u00e9"}'),
        ("/slots/{day}", {}, {"day": "\ud800%2e"}, "/slots/%3F%252e", ""),
    ],
)
async def test_arguments_go_where_they_belong_and_are_escaped(
    service: Service, path: str, said: dict[str, Any], given: dict[str, Any], target: str, body: str
) -> None:
    assert await call(tool(service.url + path, **said), **given) == "two slots"
    (asked,) = service.asked
    assert (asked["method"], asked["target"], asked["body"]) == (said.get("method", "GET"), target, body)


@pytest.mark.parametrize("day", ["..", ".", "../admin", "a/../../b", "..\\x", ""])
async def test_an_argument_leads_nowhere_else(service: Service, day: str) -> None:
    with pytest.raises(ToolError, match="was not called: an argument must not be"):
        await call(tool(f"{service.url}/slots/{{day}}"), day=day)
    assert service.asked == []


async def test_parts_make_no_way_up_together(service: Service) -> None:
    with pytest.raises(ToolError, match="must not be a path"):
        await call(tool(f"{service.url}/{{day}}."), day=".")
    assert service.asked == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "find_slots was not called: day is missing."),
        ({"day": 1}, "find_slots was not called: day must be of type string."),
        ({"day": "x" * (MOST_URL - 10)}, "find_slots was not called: the arguments are too long."),
        ({"day": "x", "n": 10**5000}, "find_slots was not called: the arguments cannot be sent."),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(service: Service, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ToolError) as error:
        await call(tool(f"{service.url}/slots"), **given)
    assert error.value.message == says
    assert service.asked == []


async def test_headers_come_from_variables_and_are_never_answered(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLS_HTTP_0_HEADER_0", SECRET)
    monkeypatch.setenv("TOOLS_HTTP_0_HEADER_1", "plain")
    service.answer = f"you sent Bearer {SECRET}, {SECRET}; and plain"
    headers = [{"name": "Authorization", "scheme": "Bearer"}, {"name": "X-Desk"}]
    answer = await call(tool(f"{service.url}/slots", headers=headers), day="x")
    assert service.asked[0]["headers"]["Authorization"] == f"Bearer {SECRET}"
    assert service.asked[0]["headers"]["X-Desk"] == "plain"
    assert SECRET not in answer
    assert "plain" not in answer


async def test_an_answer_is_cut_and_a_secret_at_its_end_is_not(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLS_HTTP_0_HEADER_0", SECRET)
    service.answer = "x" * (MOST_BYTES - 10) + SECRET + "y" * 100_000
    answer = await call(tool(f"{service.url}/slots", headers=[{"name": "X-Key"}]), day="x")
    assert SECRET[:8] not in answer
    assert answer.endswith("(the rest of the answer was left out)")
    assert len(answer) < MOST_BYTES + 100


async def test_an_empty_answer_is_a_word(service: Service) -> None:
    service.answer = ""
    assert await call(tool(f"{service.url}/slots"), day="x") == "Done; the answer is empty."


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_refusal_is_a_sentence_and_no_redirect_is_followed(
    service: Service, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    service.status, service.answer, service.location = status, "Traceback (most recent call last)", "/elsewhere"
    with pytest.raises(ToolError) as error:
        await call(tool(f"{service.url}/slots"), day="x")
    assert error.value.message == f"find_slots failed: the service refused the request (HTTP {status})."
    assert len(service.asked) == 1
    assert "a tool was refused" in caplog.text


async def test_a_service_that_hangs_costs_no_more_than_its_time(service: Service) -> None:
    service.hang = True
    with pytest.raises(ToolError, match="find_slots failed: no answer within 1 seconds"):
        await call(tool(f"{service.url}/slots", timeoutSeconds=1), day="x")


async def test_what_cannot_be_reached_is_a_sentence_without_url_or_secret(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TOOLS_HTTP_0_HEADER_0", SECRET)
    with pytest.raises(ToolError) as error:
        await call(tool("http://127.0.0.1:9/slots", headers=[{"name": "X-Key"}]), day="x")
    assert error.value.message == "find_slots failed: the service could not be reached."
    assert SECRET not in caplog.text
    monkeypatch.setenv("TOOLS_HTTP_0_HEADER_0", f"{SECRET}\r\nHost: elsewhere")
    with pytest.raises(ToolError, match="could not be reached"):
        await call(tool(f"{service.url}/slots", headers=[{"name": "X-Key"}]), day="x")
    assert service.asked == []


def test_the_model_is_told_what_the_author_wrote() -> None:
    found = build(0, tool("https://x/slots"))
    assert found.info.raw_schema == {"name": "find_slots", "description": "Finds slots.", "parameters": DAY}
    empty = build(0, HttpToolConfig(name="a", description="b", url="https://x"))
    assert empty.info.raw_schema["parameters"] == {"type": "object", "properties": {}}


def test_the_host_is_the_authors() -> None:
    url, body = request_of(tool("https://booking.example.com/{day}"), {"day": "@evil.example.com:443/x"})
    assert (url.host, url.scheme, body) == ("booking.example.com", "https", None)
