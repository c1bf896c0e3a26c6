"""What may be said of tools, and where the secrets of their headers are."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.agent import AgentSpec
from livekit_operator.api.providers import SECRET_VARIABLE_PATTERN
from livekit_operator.api.tools import (
    _RESERVED,
    HEADER_VARIABLE_PATTERN,
    URL_PATTERN,
    URL_TEMPLATE_PATTERN,
    HttpTool,
    Tools,
    header_variable,
    secrets_of_tools,
)
from tests.fakes import manifests

SLOTS: dict[str, Any] = {
    "name": "find_slots",
    "description": "Finds slots.",
    "url": "https://booking.example.com/slots",
}
DAY = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
CRM: dict[str, Any] = {"name": "crm", "url": "http://crm/mcp", "allowed": ["find_customer"]}
KEY = {"name": "booking", "key": "token"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"http": [{**SLOTS, "name": "find slots"}]}, "pattern"),
        ({"http": [{**SLOTS, "description": ""}]}, "at least 1"),
        ({"http": [{**SLOTS, "method": "TRACE"}]}, "GET"),
        ({"http": [{**SLOTS, "timeoutSeconds": 0}]}, "greater than or equal to 1"),
        ({"http": [{**SLOTS, "timeoutSeconds": 61}]}, "less than or equal to 60"),
        ({"http": [{**SLOTS, "name": f"f{i}"} for i in range(33)]}, "at most 32"),
        ({"http": [{**SLOTS, "parameters": {"type": "string"}}]}, "must have type: object"),
        ({"http": [{**SLOTS, "url": "https://x/{day}"}]}, "names {day}: have it in properties and required"),
        ({"http": [{**SLOTS, "url": "https://x/{day}", "parameters": {**DAY, "required": []}}]}, "required"),
        ({"http": [{**SLOTS, "url": "https://x/{a-b}", "parameters": DAY}]}, "brace"),
        (
            {"http": [{**SLOTS, "url": "https://x/{d}", "parameters": {
                "type": "object", "required": ["d"], "properties": {"d": {"type": "object"}}}}]},
            "its type must be string",
        ),
        ({"http": [SLOTS, SLOTS]}, "two tools are called find_slots"),
        ({"http": [SLOTS], "mcp": [{**CRM, "allowed": ["find_slots"]}]}, "two tools are called find_slots"),
        ({"mcp": [CRM, {**CRM, "name": "other"}]}, "two tools are called find_customer"),
        ({"builtIn": ["EndCall"], "mcp": [{**CRM, "allowed": ["end_call"]}]}, "two tools are called end_call"),
        ({"mcp": [{**CRM, "allowed": []}]}, "at least 1"),
        ({"mcp": [{**CRM, "allowed": ["a.b"]}]}, "pattern"),
        ({"mcp": [{**CRM, "url": "ws://crm/mcp"}]}, "pattern"),
        ({"mcp": [{**CRM, "name": f"c{i}", "allowed": [f"a{i}"]} for i in range(9)]}, "at most 8"),
        ({"builtIn": ["Shout"]}, "EndCall"),
        ({"transferTo": [{"name": "a", "to": "+1555"}]}, "pattern"),
        ({"transferTo": [{"name": "a", "to": "sip:a@b;x=y"}]}, "pattern"),
        ({"http": [{**SLOTS, "headers": [{"name": "a\nb", "secretKeyRef": KEY}]}]}, "pattern"),
        ({"http": [{**SLOTS, "headers": [{"name": "a", "scheme": "a b", "secretKeyRef": KEY}]}]}, "pattern"),
        ({"http": [{**SLOTS, "headers": [{"name": "a", "secretKeyRef": KEY}] * 9}]}, "at most 8"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        AgentSpec.model_validate({**manifests.pool()["spec"]["agent"], "tools": wrong})
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("url", "template"),
    [
        ("https://booking.example.com", True),
        ("http://[::1]:8080/v1/slots/{day}", True),
        ("https://x/slots?day={day}&n=3", True),
        ("https://x/mcp", True),
        ("https://{host}/slots", False),
        ("https://user:pass@x/slots", False),
        ("https://x:80{port}/slots", False),
        ("https://x\\@y/", False),
        ("https://x/#a", False),
        ("https://x/a b", False),
        ("ftp://x/", False),
        ("https://x?day={day}", True),
    ],
)
def test_nobody_but_the_author_says_which_host_is_asked(url: str, template: bool) -> None:
    assert bool(re.search(URL_TEMPLATE_PATTERN, url)) is template


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://crm.example.com/mcp", True),
        ("http://[::1]:8080", True),
        ("https://crm.example.com/mcp?key=x", False),
        ("https://user:pass@crm.example.com/mcp", False),
        ("https://crm.example.com/{tenant}", False),
    ],
)
def test_the_url_of_a_server_is_an_endpoint(url: str, taken: bool) -> None:
    assert bool(re.search(URL_PATTERN, url)) is taken


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("Host", True),
        ("content-length", True),
        ("Proxy-Authorization", True),
        ("Authorization", False),
        ("X-Host", False),
    ],
)
def test_headers_that_make_the_request_are_the_agents(name: str, reserved: bool) -> None:
    assert bool(re.search(f"(?i)^({_RESERVED})$", name)) is reserved


def test_placeholders_that_are_parameters_are_taken() -> None:
    url = "https://x/{day}?again={day}"
    assert HttpTool.model_validate({**SLOTS, "url": url, "parameters": DAY}).url == url


def test_every_header_has_a_field_and_a_variable() -> None:
    headers = [{"name": "Authorization", "scheme": "Bearer", "secretKeyRef": KEY}, {"name": "X", "secretKeyRef": KEY}]
    tools = Tools.model_validate(
        {"http": [SLOTS, {**SLOTS, "name": "b", "headers": headers}], "mcp": [{**CRM, "headers": headers[:1]}]}
    )
    found = list(secrets_of_tools(tools))
    assert [(field, variable) for field, variable, _ in found] == [
        ("tools.http[1].headers[0].secretKeyRef", "TOOLS_HTTP_1_HEADER_0"),
        ("tools.http[1].headers[1].secretKeyRef", "TOOLS_HTTP_1_HEADER_1"),
        ("tools.mcp[0].headers[0].secretKeyRef", "TOOLS_MCP_0_HEADER_0"),
    ]
    assert {(reference.name, reference.key) for _, _, reference in found} == {("booking", "token")}
    assert list(secrets_of_tools(None)) == []


@pytest.mark.parametrize(("place", "index"), [("http[0]", 0), ("http[31]", 7), ("mcp[7]", 7)])
def test_every_variable_is_recognised(place: str, index: int) -> None:
    variable = header_variable(place, index)
    assert re.search(HEADER_VARIABLE_PATTERN, variable)
    assert not re.search(SECRET_VARIABLE_PATTERN, variable)
    assert not re.search(HEADER_VARIABLE_PATTERN, "MY_TOOLS_HTTP_0_HEADER_0")
