"""What the file says of tools, and where their secrets are."""

import json
from pathlib import Path
from typing import Any

import pytest

from voice_agent import config as configuration
from voice_agent.config import ConfigError
from voice_agent.tool_config import header_values

from .conftest import ENVIRON

TOOLS: dict[str, Any] = {
    "http": [
        {"name": "a", "description": "A.", "url": "https://x"},
        {
            "name": "b",
            "description": "B.",
            "url": "https://x",
            "headers": [{"name": "X"}, {"name": "Y", "scheme": "Z"}],
        },
    ],
    "mcp": [{"name": "c", "url": "https://x", "allowed": ["d"], "headers": [{"name": "V"}]}],
}


def test_a_file_without_tools_has_none(document: dict[str, Any]) -> None:
    tools = configuration.parse(json.dumps(document)).tools
    assert (tools.http, list(tools.headers())) == ((), [])


def test_every_header_has_a_variable(document: dict[str, Any]) -> None:
    tools = configuration.parse(json.dumps({**document, "tools": TOOLS})).tools
    found = [(variable, header.name, header.scheme) for variable, header in tools.headers()]
    assert found == [
        ("TOOLS_HTTP_1_HEADER_0", "X", None),
        ("TOOLS_HTTP_1_HEADER_1", "Y", "Z"),
        ("TOOLS_MCP_0_HEADER_0", "V", None),
    ]


def test_a_configuration_with_tools_is_a_key_of_a_cache(document: dict[str, Any]) -> None:
    tools = {"http": [{**TOOLS["http"][0], "parameters": {"type": "object"}}]}
    assert hash(configuration.parse(json.dumps({**document, "tools": tools})))


@pytest.mark.parametrize("missing", ["TOOLS_HTTP_1_HEADER_0", "TOOLS_HTTP_1_HEADER_1", "TOOLS_MCP_0_HEADER_0"])
def test_without_a_secret_the_agent_does_not_start(tmp_path: Path, document: dict[str, Any], missing: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**document, "tools": TOOLS}))
    secrets = {"TOOLS_HTTP_1_HEADER_0": "x", "TOOLS_HTTP_1_HEADER_1": "y", "TOOLS_MCP_0_HEADER_0": "z"}
    given = {**ENVIRON, **secrets, "AGENT_CONFIG": str(path)}
    assert configuration.load(given).tools.http[1].name == "b"
    with pytest.raises(ConfigError, match=missing):
        configuration.load({name: value for name, value in given.items() if name != missing})


def test_the_secrets_are_masked_in_the_log() -> None:
    names = ["TOOLS_HTTP_0_HEADER_0", "TOOLS_MCP_7_HEADER_7", "TOOLS_HTTP_31_HEADER_0"]
    others = ["TOOLS_HTTP_0_HEADER_0_X", "MY_TOOLS_HTTP_0_HEADER_0"]
    assert list(configuration.secrets_of(dict.fromkeys([*names, *others], "x"))) == names


def test_a_scheme_is_put_before_the_value(document: dict[str, Any]) -> None:
    tools = configuration.parse(json.dumps({**document, "tools": TOOLS})).tools
    environ = {"TOOLS_HTTP_1_HEADER_0": "x", "TOOLS_HTTP_1_HEADER_1": "y"}
    assert header_values("http[1]", tools.http[1].headers, environ) == {"X": "x", "Y": "Z y"}
    assert list(tools.servers) == ["mcp[0]"]
