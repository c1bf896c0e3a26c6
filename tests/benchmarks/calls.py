"""A conversation with the quickstart's agent: readiness, greeting, reply, interruption, and memory."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.benchmarks.parts import Parts, provider_log, reply_parts
from tests.benchmarks.table import Figure
from tests.caller.call import Call, place_call
from tests.caller.report import CallReport
from tests.harness import install
from tests.harness.kubectl import Kubectl, Manifest, is_ready, until
from tests.harness.processes import pss_mib
from tests.harness.resources import POOL, ROOM, quickstart, room

QUESTION = "What are your opening hours?"
KINDS = "livekitservers,voiceagentpools,meetingrooms"
OPERATOR = "app.kubernetes.io/name=livekit-operator"
AGENT = "app.kubernetes.io/component=agent"


@dataclass
class CallFigures:
    """What was measured; times in milliseconds unless the name says seconds."""

    apply_to_ready_seconds: list[float] = field(default_factory=list)
    operator_pss_mib: list[float] = field(default_factory=list)
    agent_pss_mib_before: list[float] = field(default_factory=list)
    agent_pss_mib_after: list[float] = field(default_factory=list)
    first_calls: list[CallReport] = field(default_factory=list)
    calls: list[CallReport] = field(default_factory=list)
    parts: list[Parts] = field(default_factory=list)

    def figures(self) -> list[Figure]:
        """Return what is printed."""
        parts = [
            Figure(
                f"reply_{name}_ms", f"  {label}", [one.durations[name] for one in self.parts if name in one.durations]
            )
            for name, label in Parts.LABELS.items()
        ]
        return [
            Figure("connected_ms", "connected", _values(self.calls, "connected_ms")),
            Figure("agent_present_ms", "joined -> agent present", _values(self.calls, "agent_present_ms")),
            Figure("greeting_ms", "joined -> first sound of the greeting", _values(self.calls, "greeting_ms")),
            Figure("first_greeting_ms", "  first call to a pod just started", _values(self.first_calls, "greeting_ms")),
            Figure("reply_ms", "end of speech -> first sound of the reply", _values(self.calls, "reply_ms")),
            *parts,
            Figure(
                "silenced_ms",
                "first sound of an interruption -> agent silent",
                _values(self.calls, "silenced_ms"),
            ),
            Figure("apply_to_ready_seconds", "kubectl apply -> all three ready", self.apply_to_ready_seconds, "s"),
            Figure("operator_pss_mib", "operator, idle (PSS)", self.operator_pss_mib, "MiB"),
            Figure(
                "agent_pss_mib_before",
                "agent pod, 3 idle processes, before the first call (PSS)",
                self.agent_pss_mib_before,
                "MiB",
            ),
            Figure(
                "agent_pss_mib_after",
                "agent pod, 3 idle processes, after the calls (PSS)",
                self.agent_pss_mib_after,
                "MiB",
            ),
        ]


def _values(calls: Sequence[CallReport], name: str) -> list[float]:
    values = [getattr(call, name) for call in calls]
    return [value for value in values if value is not None]


async def measure_calls(kubectl: Kubectl, calls: int, starts: int) -> CallFigures:
    """Measure in a namespace that exists: first calls to pods just started, then calls one after the other."""
    operator, figures = kubectl.within(install.SYSTEM_NAMESPACE), CallFigures()
    began = time.monotonic()
    await kubectl.apply(*quickstart())
    await until("all three to be ready", lambda: _all_ready(kubectl), seconds=120)
    figures.apply_to_ready_seconds.append(time.monotonic() - began)
    await warm_caller(kubectl)
    secret = await kubectl.secret(f"{ROOM}-alice")
    for number in range(starts):
        await _restart_agent(kubectl)
        report = await place_call(secret, say=[QUESTION])
        figures.first_calls.append(report)
        print(f"first call {number + 1} of {starts}: {_call_line(report)}", file=sys.stderr)
        await until("the room to be empty", lambda: _empty(kubectl), seconds=30)
    await _restart_agent(kubectl)
    (agent,), (operator_pod,) = await kubectl.find("pods", AGENT), await operator.find("pods", OPERATOR)
    figures.agent_pss_mib_before.append(pss_mib(agent))
    for number in range(calls):
        report = await place_call(secret, say=[QUESTION], interrupt=True)
        figures.calls.append(report)
        figures.parts.append(reply_parts(report, await provider_log(operator)))
        print(f"call {number + 1} of {calls}: {_call_line(report)}", file=sys.stderr)
        await until("the room to be empty", lambda: _empty(kubectl), seconds=30)
    await until("the agent to be idle", lambda: _idle(kubectl), seconds=30)
    figures.agent_pss_mib_after.append(pss_mib(agent))
    figures.operator_pss_mib.append(pss_mib(operator_pod))
    return figures


async def warm_caller(kubectl: Kubectl) -> None:
    """Join a room without an agent once: what the caller's own SDK does at its first call is not the platform's."""
    await kubectl.apply(room("warm-up", "alice"))
    await until("the warm-up room", lambda: _is_ready(kubectl, "meetingroom", "warm-up"))
    async with Call(await kubectl.secret("warm-up-alice")) as call:
        await call.hold(1)  # whoever leaves before the microphone is published has the SDK complain
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
