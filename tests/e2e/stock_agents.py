"""A pool of the stock agent, and the calls of its rooms: with real sound, which nothing may cut."""

import json
import time
from collections.abc import Sequence
from typing import Any

from tests.caller.call import Call
from tests.caller.report import CallReport, heard, said_by_agents
from tests.caller.secret import decode
from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.e2e.switchboard import only_agent
from tests.harness.agents import pod_of_call
from tests.harness.calls import QUESTION, ask
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL, quickstart, room
from tests.providers.script import ANSWERS, GREETING

CALLER = "alice"
# Enough for the scheduler; the machine of the tests has few CPUs and many pods.
SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}}


def pool(**spec: Any) -> Manifest:
    """Return the quickstart's pool with few warm processes in small pods, changed at will."""
    _, manifest, _ = quickstart()
    manifest["spec"] |= {"idleProcesses": 1, "resources": SMALL, **spec}
    return manifest


def rooms(count: int) -> list[Manifest]:
    """Return rooms that the pool serves, each with a token for one caller."""
    return [room(f"call-{number}", CALLER, pool=POOL) for number in range(count)]


async def set_up(story: Story, manifest: Manifest, count: int, **server_spec: Any) -> list[dict[str, str]]:
    """Apply a server, a pool and its rooms; return the callers' Secrets when all of it is ready."""
    callable_rooms = rooms(count)
    await story.kubectl.apply(server(**node_ports(**server_spec)), manifest, *callable_rooms)
    await story.ready("voiceagentpool", POOL, seconds=120)
    return await callers(story, [each["metadata"]["name"] for each in callable_rooms])


async def callers(story: Story, names: Sequence[str], *, seconds: float = 60) -> list[dict[str, str]]:
    """Wait until rooms are ready, and return their callers' Secrets."""
    await story.ready("meetingroom", *names, seconds=seconds)
    # One question for all: there may be hundreds.
    found = {m["metadata"]["name"]: m for m in await story.kubectl.find("secrets", "app.kubernetes.io/component=room")}
    return [decode(json.dumps(found[f"{name}-{CALLER}"])) for name in names]


async def home(story: Story, name: str) -> Manifest:
    """Return the pod that serves a room."""
    found: Manifest = await until(f"the pod that serves {name}", lambda: pod_of_call(story.kubectl, name), seconds=10)
    return found


async def another_agent(story: Story, call: Call, room: str, killed: float) -> float:
    """Wait until a new agent has greeted and answered, the only one of the room; return when it greeted."""
    (first,) = call.agents()
    second = await call.agent_joins_again([first], 60)
    present = time.monotonic() - killed
    greeted = await call.greeting(30, after=killed) - killed
    await ask(call)
    await only_agent(story, room, second)
    assert call.agents() == [second]
    print(f"after the kill a new agent {present:.1f} s, its greeting {greeted:.1f} s")
    return greeted


def assert_uncut(report: CallReport, *, greeting: str = GREETING) -> None:
    """Assert that a caller was greeted, had one agent from beginning to end, and heard answers up to the last."""
    assert_one_agent(report)
    said = said_by_agents(report)
    assert said[0] == greeting, report.to_text()
    assert ANSWERS[QUESTION] in {*said, *heard(report)}, report.to_text()


def assert_one_agent(report: CallReport) -> None:
    """Assert that a caller had one agent from beginning to end, which replied up to the last."""
    happened = [event.what for event in report.events]
    story = report.to_text()
    assert report.disconnect_reason is None, story
    assert happened.count("agent joined") == 1, story
    assert "agent left" not in happened, story
    assert "reconnecting" not in happened, story
    assert report.turns[-1].reply_ms is not None, story


def seconds(values: Sequence[float]) -> str:
    """Return measured seconds for a person: how many, the shortest, the middle and the longest."""
    ordered = sorted(values)
    shown = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
    return f"{len(ordered)} from {shown[0]:.1f} s, middle {shown[1]:.1f} s, to {shown[2]:.1f} s"
