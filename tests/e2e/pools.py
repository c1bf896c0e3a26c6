"""What stories of VoiceAgentPool share: a pool and its rooms, and calls that nothing may cut."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.caller.report import CallReport, heard, said_by_agents
from tests.caller.secret import decode
from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.agents import agents_in, pod_of_call
from tests.harness.calls import QUESTION
from tests.harness.kubectl import CommandError, Manifest, until
from tests.harness.processes import sigkill
from tests.harness.resources import POOL, SERVER, quickstart, room
from tests.harness.servers import key_in_use
from tests.harness.watching import Seen
from tests.providers.script import ANSWERS, GREETING

CALLER = "alice"
OPERATOR = "app.kubernetes.io/name=livekit-operator"
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


async def change(story: Story, **spec: Any) -> None:
    """Change fields of the pool's spec."""
    await story.kubectl("patch", "voiceagentpool", POOL, "--type", "merge", "--patch", json.dumps({"spec": spec}))


async def serving(story: Story, names: Sequence[str]) -> dict[str, list[str]]:
    """Return room -> the agents that serve it, asked of the server itself."""
    manifest = await story.kubectl.get("livekitserver", SERVER)
    return await agents_in(manifest["status"]["externalUrl"], await key_in_use(story.kubectl), names)


async def only_agent(story: Story, name: str, identity: str, *, seconds: float = 60) -> None:
    """Wait until a room has one agent and no other."""

    async def alone() -> bool:
        return (await serving(story, [name]))[name] == [identity]

    await until(f"{identity} to be the only agent of {name}", alone, seconds=seconds)


async def gone(story: Story, names: Sequence[str], *, seconds: float = 60) -> None:
    """Wait until these pods are gone."""

    async def all_gone() -> bool:
        return not set(names_of(await story.kubectl.find("pods"))) & set(names)

    await until(f"the pods {', '.join(names)} to be gone", all_gone, seconds=seconds)


async def home(story: Story, name: str) -> Manifest:
    """Return the pod that serves a room."""
    found: Manifest = await until(f"the pod that serves {name}", lambda: pod_of_call(story.kubectl, name), seconds=10)
    return found


def life(pod: Manifest) -> tuple[str, int]:
    """Return what changes when a pod is replaced or restarts."""
    return pod["metadata"]["uid"], sum(one["restartCount"] for one in pod["status"]["containerStatuses"])


def names_of(pods: Sequence[Manifest]) -> list[str]:
    """Return the pods' names."""
    return [pod["metadata"]["name"] for pod in pods]


def has_come_to(replicas: int) -> Callable[[Seen], bool]:
    """Return a condition for a watched pool: so many pods, ready and of the wanted version."""

    def condition(state: Seen) -> bool:
        status = state.status
        current = status.get("observedGeneration") == state.manifest["metadata"].get("generation")
        counts = {status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")}
        return bool(current and counts == {replicas})

    return condition


def assert_uncut(report: CallReport, *, greeting: str = GREETING) -> None:
    """Assert that a caller was greeted, had one agent from beginning to end, and heard answers up to the last."""
    happened = [event.what for event in report.events]
    story = report.to_text()
    assert report.disconnect_reason is None, story
    assert happened.count("agent joined") == 1, story
    assert "agent left" not in happened, story
    assert "reconnecting" not in happened, story
    said = said_by_agents(report)
    assert said[0] == greeting, story
    assert ANSWERS[QUESTION] in {*said, *heard(report)}, story
    assert report.turns[-1].reply_ms is not None, story


def seconds(values: Sequence[float]) -> str:
    """Return measured seconds for a person: how many, the shortest, the middle and the longest."""
    ordered = sorted(values)
    shown = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
    return f"{len(ordered)} from {shown[0]:.1f} s, middle {shown[1]:.1f} s, to {shown[2]:.1f} s"


@asynccontextmanager
async def draining(story: Story, node: str) -> AsyncIterator[asyncio.Task[str]]:
    """Drain a node of this story's pods, as an administrator does; it takes pods again afterwards."""
    only = ("--pod-selector", f"story={story.kubectl.namespace}", "--delete-emptydir-data", "--ignore-daemonsets")
    drain = asyncio.create_task(story.kubectl("drain", node, *only, "--timeout", "240s"))
    try:
        yield drain
    finally:
        await story.kubectl("uncordon", node)
        with suppress(CommandError, TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(drain, 1)


async def kill_operator(story: Story) -> None:
    """End the operator the hard way, and wait until another one runs."""
    operator = story.platform.operator
    (pod,) = [pod for pod in await operator.find("pods", OPERATOR) if _is_ready(pod)]
    await sigkill(operator, pod)
    # Another pod, because the kubelet makes a container that ends so often wait longer each time.
    await operator("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")

    async def another() -> bool:
        pods = await operator.find("pods", OPERATOR)
        return any(_is_ready(other) and other["metadata"]["uid"] != pod["metadata"]["uid"] for other in pods)

    await until("the operator to be back", another, seconds=60)


def _is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
