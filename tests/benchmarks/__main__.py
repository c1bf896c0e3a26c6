"""`python -m tests.benchmarks`: readiness, calls and memory, on the cluster that is up.

Prints a table and, last, one line of JSON. Everything is measured in one run on one machine.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.parts import Parts, provider_log, reply_parts
from tests.benchmarks.servers import ServerFigures, measure_servers
from tests.caller.call import Call, place_call
from tests.caller.report import CallReport
from tests.harness import install
from tests.harness.kubectl import Kubectl, Manifest, is_ready, until
from tests.harness.processes import pss_mib
from tests.harness.resources import POOL, ROOM, quickstart, room
from tests.harness.target import find_target

NAMESPACE = "benchmark"
QUESTION = "What are your opening hours?"
KINDS = "livekitservers,voiceagentpools,meetingrooms"
OPERATOR = "app.kubernetes.io/name=livekit-operator"
AGENT = "app.kubernetes.io/component=agent"


@dataclass
class Figures:
    """What was measured; times in milliseconds unless the name says seconds."""

    apply_to_ready_seconds: float = 0.0
    operator_pss_mib: float = 0.0
    agent_pss_mib_before: float = 0.0
    agent_pss_mib_after: float = 0.0
    first_calls: list[CallReport] = field(default_factory=list)
    calls: list[CallReport] = field(default_factory=list)
    parts: list[Parts] = field(default_factory=list)
    servers: ServerFigures = field(default_factory=ServerFigures)

    def of(self, name: str) -> list[float]:
        """Return one figure of every call, in the order of the calls."""
        return _values(self.calls, name)


def _values(calls: Sequence[CallReport], name: str) -> list[float]:
    values = [getattr(call, name) for call in calls]
    return [value for value in values if value is not None]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--calls", type=int, default=10, help="calls, one after the other (default 10)")
    parser.add_argument("--starts", type=int, default=5, help="first calls, each to a pod just started (default 5)")
    parser.add_argument("--rollouts", type=int, default=3, help="rollouts and losses of servers (default 3)")
    parser.add_argument("--only", choices=("all", "servers"), default="all", help="what to measure (default all)")
    options = parser.parse_args()
    figures = asyncio.run(_measure(options.calls, options.starts, options.rollouts, only=options.only))
    print(_table(figures))
    print(json.dumps(_summary(figures)))
    return 0


async def _measure(calls: int, starts: int, rollouts: int, *, only: str) -> Figures:
    target = find_target()
    images = install.find_images(target)
    base_urls = await install.install_providers(target, images)
    await install.install_chart(target, images, base_urls=base_urls)
    await install.remove_demo(target)
    operator, kubectl = Kubectl(target, install.SYSTEM_NAMESPACE), Kubectl(target, NAMESPACE)
    await kubectl.delete_namespace()
    await kubectl.create_namespace()
    await kubectl.apply(install.provider_secret(install.TEST_KEYS))
    figures = Figures()
    try:
        figures.servers = await measure_servers(kubectl, rollouts)
        if only == "servers":
            return figures
        began = time.monotonic()
        await kubectl.apply(*quickstart())
        await until("all three to be ready", lambda: _all_ready(kubectl), seconds=120)
        figures.apply_to_ready_seconds = time.monotonic() - began
        await _warm_caller(kubectl)
        secret = await kubectl.secret(f"{ROOM}-alice")
        for number in range(starts):
            await _restart_agent(kubectl)
            report = await place_call(secret, say=[QUESTION])
            figures.first_calls.append(report)
            print(f"first call {number + 1} of {starts}: {_call_line(report)}", file=sys.stderr)
            await until("the room to be empty", lambda: _empty(kubectl), seconds=30)
        await _restart_agent(kubectl)
        (agent,), (operator_pod,) = await kubectl.find("pods", AGENT), await operator.find("pods", OPERATOR)
        figures.agent_pss_mib_before = pss_mib(agent)
        for number in range(calls):
            report = await place_call(secret, say=[QUESTION], interrupt=True)
            figures.calls.append(report)
            figures.parts.append(reply_parts(report, await provider_log(operator)))
            print(f"call {number + 1} of {calls}: {_call_line(report)}", file=sys.stderr)
            await until("the room to be empty", lambda: _empty(kubectl), seconds=30)
        await until("the agent to be idle", lambda: _idle(kubectl), seconds=30)
        figures.agent_pss_mib_after = pss_mib(agent)
        figures.operator_pss_mib = pss_mib(operator_pod)
    finally:
        await kubectl.delete_namespace()
    return figures


async def _warm_caller(kubectl: Kubectl) -> None:
    """Join a room without an agent once: what the caller's own SDK does at its first call is not the platform's."""
    await kubectl.apply(room("warm-up", "alice"))
    await until("the warm-up room", lambda: _is_ready(kubectl, "meetingroom", "warm-up"))
    async with Call(await kubectl.secret("warm-up-alice")):
        pass
    await kubectl("delete", "meetingroom", "warm-up")


async def _restart_agent(kubectl: Kubectl) -> None:
    """Replace the agent's pod and wait until the new one is ready."""
    (old,) = await kubectl.find("pods", AGENT)
    await kubectl("delete", "pod", old["metadata"]["name"], "--wait")
    await until("another agent", lambda: _another_ready(kubectl, old), seconds=90)
    await until("the room", lambda: _is_ready(kubectl, "meetingroom", ROOM))


async def _another_ready(kubectl: Kubectl, old: Manifest) -> bool:
    pods = [pod for pod in await kubectl.find("pods", AGENT) if pod["metadata"]["uid"] != old["metadata"]["uid"]]
    return bool(pods) and await _is_ready(kubectl, "voiceagentpool", POOL)


async def _is_ready(kubectl: Kubectl, kind: str, name: str) -> bool:
    return is_ready(await kubectl.get(kind, name))


async def _all_ready(kubectl: Kubectl) -> bool:
    objects = await kubectl.find(KINDS)
    return len(objects) == len(quickstart()) and all(map(is_ready, objects))


async def _empty(kubectl: Kubectl) -> bool:
    status = (await kubectl.get("meetingroom", ROOM))["status"]
    return bool(status["participants"] == 0 and status["agentsJoined"] == 0)


async def _idle(kubectl: Kubectl) -> bool:
    (pool,) = await kubectl.find("voiceagentpools")
    return bool(pool["status"]["activeSessions"] == 0)


def _call_line(report: CallReport) -> str:
    shown = {"greeting": report.greeting_ms, "reply": report.reply_ms, "silenced": report.silenced_ms}
    return ", ".join(f"{name} {value:.0f} ms" for name, value in shown.items() if value is not None)


def _row(name: str, values: Sequence[float]) -> str:
    if not values:
        return f"{name:<58} none measured"
    numbers = (statistics.median(values), min(values), max(values))
    return f"{name:<58} {numbers[0]:7.0f} {numbers[1]:7.0f} {numbers[2]:7.0f}   n={len(values)}"


def _seconds_row(name: str, values: Sequence[float]) -> str:
    if not values:
        return f"{name:<58} none measured"
    return f"{name:<58} {statistics.median(values):7.1f} {min(values):7.1f} {max(values):7.1f} s n={len(values)}"


def _table(figures: Figures) -> str:
    rows = [
        f"{'milliseconds':<58} {'median':>7} {'min':>7} {'max':>7}",
        _row("connected", figures.of("connected_ms")),
        _row("joined -> agent present", figures.of("agent_present_ms")),
        _row("joined -> first sound of the greeting", figures.of("greeting_ms")),
        _row("  first call to a pod just started", _values(figures.first_calls, "greeting_ms")),
        _row("end of speech -> first sound of the reply", figures.of("reply_ms")),
        *(
            _row(
                f"  {label}", [values[name] for part in figures.parts if (values := part.durations) and name in values]
            )
            for name, label in Parts.LABELS.items()
        ),
        _row("first sound of an interruption -> agent silent", figures.of("silenced_ms")),
        "",
        _seconds_row("changed configuration -> the last of 3 servers rolled", figures.servers.rollout),
        _seconds_row("one server on the host network: without an answer", figures.servers.gap),
        _seconds_row("a caller's server is killed -> sound again", figures.servers.rejoin),
        "",
        f"{'kubectl apply -> all three ready':<58} {figures.apply_to_ready_seconds:7.1f} s",
        f"{'operator, idle (PSS)':<58} {figures.operator_pss_mib:7.0f} MiB",
        f"{'agent pod, 3 idle processes, before the first call (PSS)':<58} {figures.agent_pss_mib_before:7.0f} MiB",
        f"{'agent pod, 3 idle processes, after the calls (PSS)':<58} {figures.agent_pss_mib_after:7.0f} MiB",
    ]
    return "\n".join(rows)


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 2) if values else None


def _summary(figures: Figures) -> dict[str, Any]:
    def median(name: str) -> float | None:
        values = figures.of(name)
        return round(statistics.median(values), 1) if values else None

    first = _values(figures.first_calls, "greeting_ms")
    return {
        "calls": len(figures.calls),
        "greeting_ms": median("greeting_ms"),
        "first_greeting_ms": round(statistics.median(first), 1) if first else None,
        "reply_ms": median("reply_ms"),
        "silenced_ms": median("silenced_ms"),
        "rollout_seconds": _median(figures.servers.rollout),
        "gap_seconds": _median(figures.servers.gap),
        "rejoin_seconds": _median(figures.servers.rejoin),
        "apply_to_ready_seconds": round(figures.apply_to_ready_seconds, 1),
        "operator_pss_mib": round(figures.operator_pss_mib, 1),
        "agent_pss_mib": round(max(figures.agent_pss_mib_before, figures.agent_pss_mib_after), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
