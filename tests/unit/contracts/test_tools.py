"""The operator writes of tools what agents read, and gives them the secrets where they look for them."""

import json
from datetime import UTC, datetime
from typing import Any

from livekit.agents.llm.tool_context import get_fnc_tool_names

from livekit_operator import reasons, views
from livekit_operator.api.agent import AgentSpec
from livekit_operator.api.tools import BUILT_IN_FUNCTIONS, secrets_of_tools
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.manifests.records import Record
from livekit_operator.pools.providers import provider_problems, provider_reason
from tests.fakes import manifests, models
from voice_agent import config, tools
from voice_agent.provider_errors import ProviderError, document
from voice_agent.tools import arguments

KEY = {"name": "booking", "key": "token"}
DAY = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
TOOLS: dict[str, Any] = {
    "builtIn": ["TransferCall", "EndCall", "SendDtmf", "SendData"],
    "transferTo": [
        {"name": "reception", "description": "Who wants a person.", "to": "tel:+15550100"},
        {"name": "lab", "to": "sip:lab@pbx.example.com"},
    ],
    "http": [
        {"name": "least", "description": "Does something.", "url": "https://booking.example.com"},
        {
            "name": "most",
            "description": "Finds slots.",
            "url": "https://booking.example.com/slots/{day}",
            "method": "DELETE",
            "parameters": DAY,
            "headers": [
                {"name": "Authorization", "scheme": "Bearer", "secretKeyRef": KEY},
                {"name": "X-Desk", "secretKeyRef": KEY},
            ],
            "timeoutSeconds": 3,
        },
    ],
    "mcp": [
        {"name": "least", "url": "https://crm.example.com/mcp", "allowed": ["find"]},
        {
            "name": "most",
            "url": "https://crm.example.com/mcp",
            "allowed": ["look", "change"],
            "headers": [{"name": "Authorization", "scheme": "Bearer", "secretKeyRef": KEY}],
            "timeoutSeconds": 60,
        },
    ],
}


def written(said: dict[str, Any]) -> str:
    """Return the file that agents find."""
    pool = models.pool(agent={**manifests.pool()["spec"]["agent"], "tools": said})
    data: dict[str, str] = versions.build_version_map(pool, versions.build_template(pool, "agent:1", {}))["data"]
    return data[versions.CONFIG_FILE]


def test_agents_read_what_is_said_and_none_of_the_secrets() -> None:
    text = written(TOOLS)
    assert "booking" not in text.replace("booking.example.com", "")
    spec = AgentSpec.model_validate({**manifests.pool()["spec"]["agent"], "tools": TOOLS}).tools
    assert spec is not None
    said = spec.model_dump(exclude_none=True)
    for tool in (*said["http"], *said["mcp"]):
        for header in tool["headers"]:
            del header["secret_key_ref"]
    for tool in said["http"]:
        tool["parameters"] = json.dumps(tool.get("parameters", {"type": "object", "properties": {}}), sort_keys=True)
    read = config.parse(text).tools.model_dump(exclude_none=True)
    for tool in read["http"]:
        tool["parameters"] = json.dumps(json.loads(tool["parameters"]), sort_keys=True)
    assert json.loads(json.dumps(read)) == json.loads(json.dumps(said))


def test_each_secret_is_in_the_variable_in_which_the_agent_looks_for_it() -> None:
    spec = AgentSpec.model_validate({**manifests.pool()["spec"]["agent"], "tools": TOOLS})
    given = [variable for _, variable, _ in secrets_of_tools(spec.tools)]
    assert given == [variable for variable, _ in config.parse(written(TOOLS)).tools.headers()]
    assert list(config.secrets_of(dict.fromkeys(given, "x"))) == given


def test_every_schema_that_is_taken_can_be_checked_by_the_agent() -> None:
    schema = json.loads(config.parse(written(TOOLS)).tools.http[0].parameters)
    assert arguments.problem(schema, {}) is None
    assert set(arguments._TYPES) == {"array", "boolean", "integer", "number", "object", "string"}


def test_the_agent_makes_every_function_by_the_name_that_is_kept_for_it() -> None:
    made = tools.build(config.parse(written({**TOOLS, "http": []})).tools)
    names = get_fnc_tool_names(made)  # those of servers come later
    assert names == [BUILT_IN_FUNCTIONS[name] for name in TOOLS["builtIn"]]
    assert set(names) == set(BUILT_IN_FUNCTIONS.values())


def test_an_error_of_a_server_names_the_field_of_the_pool() -> None:
    read = config.parse(written(TOOLS))
    told = document([ProviderError.now(f"tools.{place}", "x", 0) for place in read.tools.servers], read)
    assert [(error["role"], error["covered"]) for error in told] == [("tools.mcp[0]", True), ("tools.mcp[1]", True)]
    errors = [views.ProviderError(e["role"], e["provider"], e["code"], e["message"], covered=True) for e in told]
    assert "spec.agent.tools.mcp[1].url" in provider_problems(errors)
    assert provider_reason(errors) == reasons.TOOLS_UNAVAILABLE


def test_agents_who_hand_over_are_read_as_they_are_said() -> None:
    team = [
        {"name": "desk", "instructions": "Answer.", "greeting": "Hello!", "handoffTo": ["billing"]},
        {"name": "billing", "description": "Invoices.", "instructions": "You know invoices."},
    ]
    rest = {k: v for k, v in manifests.pool()["spec"]["agent"].items() if k not in ("instructions", "greeting")}
    pool = models.pool(agent={**rest, "agents": team})
    template = versions.build_template(pool, "agent:1", {})
    manifest = versions.build_version_map(pool, template)
    read = config.parse(manifest["data"][versions.CONFIG_FILE])
    assert (read.instructions, read.greeting) == ("Answer.", "Hello!")
    told = [one.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) for one in read.agents]
    assert json.loads(json.dumps(told)) == team
    record = Record(versions.content_digest(manifest), datetime.now(UTC))
    found = versions.parse_version(manifest, versions.revision(template), record)
    assert found is not None
    assert found.template == template


def test_pools_without_tools_are_what_they_were() -> None:
    pool = models.pool()
    assert "tools" not in versions.build_agent_config(versions.build_template(pool, "agent:1", {}))
