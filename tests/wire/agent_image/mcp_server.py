"""A real server of the Model Context Protocol, of the `mcp` package: an MCP server for tests, in a process of its own.

`python mcp_server.py PORT KEY` answers requests with the header `Authorization: Bearer KEY` alone.
"""

import asyncio
import importlib
import sys
from typing import Any

HOURS = "We are open from nine to five, Monday to Friday."
SLOT = "Yes, we have a free slot at ten in the morning."


def application(key: str) -> Any:
    """Return the server as an ASGI application."""
    server = importlib.import_module("mcp.server").MCPServer("front-desk")

    async def find_slots(day: str) -> str:
        """Finds free slots of a day."""
        return f"Nothing is free on {day}." if day == "sunday" else SLOT

    async def delete_everything() -> str:
        """Deletes all appointments."""
        return "gone"

    async def wait_for_ever() -> str:
        """Never answers."""
        await asyncio.Event().wait()
        return ""

    async def much() -> str:
        """Answers with much, and with the key."""
        return f"{key} " + "x" * 100_000

    async def fail() -> str:
        """Fails."""
        raise RuntimeError(f"the database at 10.0.0.1 refuses {key}")

    for tool in (find_slots, delete_everything, wait_for_ever, much, fail):
        server.tool()(tool)
    inner = server.streamable_http_app()

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers") or ()).get(b"authorization", b"").decode()
        if scope["type"] == "http" and given != f"Bearer {key}":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await inner(scope, receive, send)

    return guarded


if __name__ == "__main__":
    importlib.import_module("uvicorn").run(
        application(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning"
    )
