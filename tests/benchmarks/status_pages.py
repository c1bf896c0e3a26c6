"""`python -m tests.benchmarks.status_pages 500 2`: what so many agent pods with two calls each say, until it is ended.

Each has a loopback address of its own, as each pod has, and answers `GET :8082/status` with everything that the runner
says. It prints a line when all of them listen.
"""

import asyncio
import json
import sys
from ipaddress import IPv4Address
from typing import Any

from aiohttp import web

from livekit_operator.constants import AGENT_STATUS_PORT

_FIRST = IPv4Address("127.1.0.1")


def address_of(number: int) -> str:
    """Return the address of a pod; Linux has all of 127.0.0.0/8."""
    return str(_FIRST + number)


def status_of(number: int, calls: int) -> dict[str, Any]:
    """Return what a pod with some calls says, in the words of agent_image/voice_agent/runner/status.py."""
    ids = [f"{number}-{call}" for call in range(calls)]
    return {
        "ready": True,
        "registered": True,
        "draining": False,
        "workerId": f"AW_{number:012}",
        "agentName": "front-desk",
        "deployment": "",
        "warmProcesses": 3,
        "activeSessions": calls,
        "capacity": 4,
        "jobs": [
            {"id": f"AJ_{one}", "dispatchId": f"AD_{one}", "room": f"room-{one}", "startedAt": "2026-03-01T12:00:00Z"}
            for one in ids
        ],
        "sessions": {"started": calls, "failed": 0},
        "providerErrors": [],
        "applied": ["sessionsPerPod", "idleProcesses", "drainTimeout", "readiness", "prometheus"],
        "notApplied": [],
    }


async def serve(pods: int, calls: int) -> None:
    """Answer until cancelled."""
    said = {address_of(number): json.dumps(status_of(number, calls)) for number in range(pods)}

    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.transport
        address, _ = request.transport.get_extra_info("sockname")
        return web.Response(text=said[address], content_type="application/json")

    # Without routes and middlewares: it has the machine's CPUs in common with what is measured.
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    for address in said:
        await web.TCPSite(runner, address, AGENT_STATUS_PORT).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
