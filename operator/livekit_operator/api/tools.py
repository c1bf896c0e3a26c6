"""What the stock agent's model may do beside speaking: functions over HTTP, of MCP servers, and of the call itself."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import SecretKeyRef
from livekit_operator.api.parameters import parameters_schema

BuiltIn = Literal["EndCall", "SendData", "SendDtmf", "TransferCall"]
# What the model knows them by: none of the others may have these names.
BUILT_IN_FUNCTIONS = {
    "EndCall": "end_call",
    "SendData": "send_data",
    "SendDtmf": "send_dtmf",
    "TransferCall": "transfer_call",
}
HAND_OVER = "hand_over"
_HOST = r"https?://([-._A-Za-z0-9]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
# No user and password, no fragment, and no placeholder in the host: nobody but the pool's author says where it leads.
URL_PATTERN = rf"^{_HOST}(/[^\x00-\x20\x7f?#{{}}\\]*)?$"
URL_TEMPLATE_PATTERN = rf"^{_HOST}(/[^\x00-\x20\x7f?#\\]*)?(\?[^\x00-\x20\x7f#\\]*)?$"
PLACEHOLDER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")
# As the language models' providers take them.
FunctionName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z_][a-zA-Z0-9_-]*$")]
TimeoutSeconds = Annotated[int, Field(ge=1, le=60)]
_MOST_HTTP = 32
_MOST_SERVERS = 8
_MOST_HEADERS = 8
# What makes the request what it is; a header of the user's must not change where it ends or whom it is for.
_RESERVED = (
    "connection|content-length|content-type|expect|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade"
)
_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
# Every variable that `secrets_of_tools` may name, as a pattern of CEL and of Python.
HEADER_VARIABLE_PATTERN = f"^TOOLS_(HTTP|MCP)_[0-9]{{1,2}}_HEADER_[0-{_MOST_HEADERS - 1}]$"


class Header(ApiModel):
    """A header whose value is in a Secret."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                f"!self.name.matches('(?i)^({_RESERVED})$')",
                "the agent sets this header itself: leave it out",
                ".name",
            )
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[-A-Za-z0-9_]+$")] = Field(
        description="Name of the header, such as `Authorization`."
    )
    scheme: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][-A-Za-z0-9._]*$")] | None = Field(
        default=None, description="Word put before the value, such as `Bearer`."
    )
    secret_key_ref: SecretKeyRef = Field(description="Where its value is. It is sent to the host of `url` alone.")


Headers = Annotated[list[Header], Field(max_length=_MOST_HEADERS, json_schema_extra=_BY_NAME)]


class HttpTool(ApiModel):
    """A function that is a request to one endpoint."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                f"!(self.name in [{', '.join(repr(name) for name in (*BUILT_IN_FUNCTIONS.values(), HAND_OVER))}])",
                "a function of builtIn has this name: choose another one",
                ".name",
            )
        )
    )

    name: FunctionName = Field(description="Name that the model calls it by, such as `find_appointments`.")
    description: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="What it does and when to call it, for the model."
    )
    url: Annotated[str, Field(max_length=2048, pattern=URL_TEMPLATE_PATTERN)] = Field(
        description="Endpoint. `{name}` in its path or query is replaced by the argument of that name, escaped. "
        "Redirects are not followed."
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(
        default="GET",
        description="Arguments that the URL does not name are added to the query of `GET` and `DELETE`, and are the "
        "JSON body of the others.",
    )
    parameters: (
        Annotated[
            dict[str, Any],
            Field(max_length=8, json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
            AfterValidator(parameters_schema),
        ]
        | None
    ) = Field(
        default=None,
        description="JSON schema of its arguments: `type: object` with `properties` and `required`. At most 32 "
        "properties, 5 levels and 16 KiB; the page on pools has the keywords. None when left out.",
    )
    headers: Headers = Field(default_factory=list, description="Headers whose values are in Secrets.")
    timeout_seconds: TimeoutSeconds = Field(
        default=10, description="Seconds after which the model is told that there was no answer."
    )

    @model_validator(mode="after")
    def _placeholders_are_parameters(self) -> Self:
        properties = (self.parameters or {}).get("properties") or {}
        required = (self.parameters or {}).get("required") or []
        placeholders = PLACEHOLDER.findall(self.url)
        if re.search(r"[{}]", PLACEHOLDER.sub("", self.url)):
            raise ValueError("url has a brace that is no {name} of a parameter: write it as %7B or %7D")
        for name in placeholders:
            if name not in properties or name not in required:
                raise ValueError(f"url names {{{name}}}: have it in properties and required of parameters")
            if properties[name].get("type") not in ("string", "integer", "number", "boolean"):
                raise ValueError(f"url names {{{name}}}: its type must be string, integer, number or boolean")
        return self


class McpServer(ApiModel):
    """A server of the Model Context Protocol, over streamable HTTP."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Name of the server, for logs and conditions."
    )
    url: Annotated[str, Field(max_length=2048, pattern=URL_PATTERN)] = Field(
        description="Its endpoint, such as `https://crm.example.com/mcp`."
    )
    headers: Headers = Field(default_factory=list, description="Headers whose values are in Secrets.")
    allowed: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]],
        Field(min_length=1, max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = Field(description="Tools of the server that the model is given; it never learns of others.")
    timeout_seconds: TimeoutSeconds = Field(
        default=10,
        description="Seconds that the server has to answer: when the call begins, and for each call of a tool.",
    )


class TransferTarget(ApiModel):
    """Somebody to whom a call may be transferred."""

    name: FunctionName = Field(description="Name that the model chooses it by, such as `reception`.")
    description: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="When to transfer a call there, for the model."
    )
    to: Annotated[
        str,
        Field(
            max_length=256,
            pattern=r"^(tel:\+?[0-9]{1,20}|sips?:[-+._%A-Za-z0-9]+@([-.A-Za-z0-9]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?)$",
        ),
    ] = Field(description="`tel:+15550100` or `sip:reception@pbx.example.com`.")


class Tools(ApiModel):
    """What the model may do beside speaking."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "!has(self.builtIn) || !('TransferCall' in self.builtIn) || has(self.transferTo)",
                "TransferCall needs transferTo: say to whom calls may be transferred",
                ".transferTo",
            ),
            rule(
                "!has(self.transferTo) || (has(self.builtIn) && 'TransferCall' in self.builtIn)",
                "transferTo is for TransferCall: name that in builtIn, or leave transferTo out",
                ".transferTo",
            ),
        )
    )

    built_in: Annotated[
        list[BuiltIn], Field(max_length=len(BUILT_IN_FUNCTIONS), json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(
        default_factory=list,
        description="`EndCall` says goodbye and closes the room; `SendDtmf` presses keys towards a "
        "telephone line; `TransferCall` hands a caller on the telephone over to one of `transferTo`; `SendData` sends "
        "a text to the participants on the topic `agent-data`.",
    )
    transfer_to: Annotated[list[TransferTarget], Field(min_length=1, max_length=32, json_schema_extra=_BY_NAME)] | (
        None
    ) = Field(default=None, description="To whom `TransferCall` may transfer a call; to nobody else.")
    http: Annotated[list[HttpTool], Field(max_length=_MOST_HTTP, json_schema_extra=_BY_NAME)] = Field(
        default_factory=list, description="Functions that are requests to endpoints of yours."
    )
    mcp: Annotated[list[McpServer], Field(max_length=_MOST_SERVERS, json_schema_extra=_BY_NAME)] = Field(
        default_factory=list,
        description="Servers of the Model Context Protocol whose tools the model is given. A call goes on without one "
        "that is down.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = Counter([HAND_OVER, *(tool.name for tool in self.http)])
        names.update(name for server in self.mcp for name in set(server.allowed))
        names.update(BUILT_IN_FUNCTIONS[name] for name in self.built_in)
        if twice := sorted(name for name, count in names.items() if count > 1):
            raise ValueError(f"two tools are called {twice[0]}: the model could not tell them apart; leave one out")
        return self


def header_variable(place: str, index: int) -> str:
    """Return the variable that holds the header of a tool: of `http[0]` and 1 `TOOLS_HTTP_0_HEADER_1`."""
    return f"TOOLS_{re.sub(r'[^a-z0-9]+', '_', place).strip('_').upper()}_HEADER_{index}"


def secrets_of_tools(tools: Tools | None) -> Iterator[tuple[str, str, SecretKeyRef]]:
    """Yield field below `spec.agent`, variable of the agent and Secret key of each header."""
    if tools is None:
        return
    places = [(f"http[{index}]", tool.headers) for index, tool in enumerate(tools.http)]
    places += [(f"mcp[{index}]", server.headers) for index, server in enumerate(tools.mcp)]
    for place, headers in places:
        for index, header in enumerate(headers):
            field = f"tools.{place}.headers[{index}].secretKeyRef"
            yield field, header_variable(place, index), header.secret_key_ref
