"""The functions that the model calls by script: `Control.calls` has them by the question that asks for each.

A model that is given the result of a function says it, word for word; so a caller hears what a tool answered, or why it
failed. Of a function that it was not offered it says that it has none.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .script import normalised

NOT_OFFERED = "I cannot do that."

Call = Mapping[str, Any]
"""`{"name": ..., "arguments": {...}}`"""


def scripted(calls: Mapping[str, Call], question: str | None) -> Call | None:
    """The call that a question asks for."""
    if question is None:
        return None
    return next((call for asked, call in calls.items() if normalised(asked) == normalised(question)), None)


def offered(tools: Iterable[Mapping[str, Any]] | None) -> list[str]:
    """The names of the functions that a request offers, as chat completions or the realtime protocol have them."""
    return [str((tool.get("function") or tool).get("name")) for tool in tools or ()]


def result(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The result of a function, where the last message of a chat is one."""
    if not messages or messages[-1].get("role") != "tool":
        return None
    content = messages[-1].get("content")
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content or [])


def item(call: Call) -> dict[str, Any]:
    """The call as an item of a realtime conversation, complete."""
    return {
        "id": f"item_{uuid.uuid4().hex[:12]}",
        "object": "realtime.item",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{uuid.uuid4().hex[:12]}",
        "name": call["name"],
        "arguments": json.dumps(call.get("arguments", {})),
    }


def deltas(call: Call) -> list[dict[str, Any]]:
    """The call as a chat completion streams it: its name first, then its arguments in two pieces."""
    arguments = json.dumps(call.get("arguments", {}))
    half = len(arguments) // 2
    begin = {"index": 0, "id": f"call_{uuid.uuid4().hex[:12]}", "type": "function"}
    pieces = [{"index": 0, "function": {"arguments": piece}} for piece in (arguments[:half], arguments[half:])]
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{**begin, "function": {"name": call["name"], "arguments": ""}}],
        },
        *({"tool_calls": [piece]} for piece in pieces),
    ]
