"""Why is there no agent? The pool and the room give the reason and what to do, and both heal when it is done."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.e2e import agents
from tests.e2e.agents import POOL, Switchboard, switchboard
from tests.e2e.conftest import Story
from tests.harness import servers
from tests.harness.install import TEST_KEYS, provider_secret
from tests.harness.kubectl import CommandError, Manifest, until
from tests.harness.resources import quickstart

ROOM = "lobby"
# Without the runner a worker measures CPUs, and takes no call where others use them.
IDLE = ", load_fnc=lambda: 0.0"
LOADED = agents.code(options=', load_threshold=3.0, load_fnc=lambda: float(os.environ["LOAD"])')
# The runner would register it under the right name whatever the code does.
OTHER_NAME = agents.code(first='os.environ["LIVEKIT_AGENT_NAME_OVERRIDE"] = "reception"', options=IDLE)
OTHER_DEPLOYMENT = agents.code(first='os.environ["LIVEKIT_AGENT_DEPLOYMENT"] = "blue"')
NEVER_JOINS = agents.code(session="await asyncio.sleep(3600)", first="import asyncio")
CODE = agents.code_map(
    agent=agents.code(),
    loaded=LOADED,
    other_name=OTHER_NAME,
    other_deployment=OTHER_DEPLOYMENT,
    never_joins=NEVER_JOINS,
)
HEALING_SECONDS = 60
# RFC 5737: nobody is there.
NOWHERE = "203.0.113.250"


@pytest.mark.timeout(240)
async def test_no_worker_registered(story: Story) -> None:
    async with _waiting(story, agents.pool(story, agent=agents.command(story, *agents.NEVER_REGISTERS))) as board:
        await _told(story, "NoWorkerRegistered", "kubectl describe pod")
        await agents.change(story, {"agent": agents.agent(story)})
        await _healed(story, board)


@pytest.mark.timeout(240)
async def test_worker_crashed(story: Story) -> None:
    async with _waiting(story, agents.pool(story, agent=agents.command(story, *agents.CRASHES))) as board:
        await _told(story, "WorkerCrashed", "no model file", "exit code 3", "kubectl logs --previous")
        await agents.change(story, {"agent": agents.agent(story)})
        await _healed(story, board)


@pytest.mark.timeout(240)
async def test_agent_name_mismatch(story: Story) -> None:
    async with _waiting(
        story, agents.pool(story, agent=agents.agent(story, file="other_name", runner="None"))
    ) as board:
        await _told(story, "AgentNameMismatch", POOL, "reception", "spec.agentName")
        await agents.change(story, {"agentName": "reception"})
        await _healed(story, board)


@pytest.mark.timeout(240)
async def test_deployment_mismatch(story: Story) -> None:
    async with _waiting(story, agents.pool(story, agent=agents.agent(story, file="other_deployment"))) as board:
        await _told(story, "DeploymentMismatch", "blue", "LIVEKIT_AGENT_DEPLOYMENT")
        await agents.change(story, {"agent": agents.agent(story)})
        await _healed(story, board)


@pytest.mark.timeout(300)
async def test_target_load_too_low(story: Story) -> None:
    async with _waiting(story, agents.pool(story, agent=_loaded(story, 1.5))) as board:
        await _told(story, "TargetLoadTooLow", "1.5")
        # livekit-server gives nothing to a worker at 1 or more, whatever it is told (pkg/service/agentservice.go).
        await agents.change(story, {"agent": _loaded(story, 0.5)})
        await _healed(story, board)


@pytest.mark.timeout(240)
async def test_all_workers_full(story: Story) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 1, "bufferSessions": 0}
    one = agents.pool(story, sessionsPerPod=1, autoscaling=scaling)
    await story.kubectl.apply(agents.room("first", dispatch="OnCreate"))
    await agents.serve(story, one)
    async with switchboard(story) as board:
        (first,) = await board.served("first")
        async with _waiting(story):
            await _told(story, "AllWorkersFull", "spec.autoscaling.maxReplicas")
            await story.ready("voiceagentpool", POOL)
            await agents.change(story, {"autoscaling": {"maxReplicas": 3, "bufferSessions": 1}})
            await _healed(story, board)
            still, other = await board.served("first", ROOM)
            assert still.identity == first.identity, "the call that took the only place was ended"
            assert other.pod != first.pod, "the place is one of another pod"


@pytest.mark.timeout(240)
async def test_provider_rejected(story: Story) -> None:
    _, manifest, _ = quickstart()
    manifest["metadata"]["name"] = POOL
    manifest["spec"] |= {"idleProcesses": 1, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}
    await story.kubectl.apply(provider_secret({**TEST_KEYS, "deepgram": "wrong-key"}))
    async with _waiting(story, manifest) as board:
        for message in await _told(story, "ProviderRejected", "deepgram", "401", "spec.agent.stt.apiKeySecretRef"):
            assert "wrong-key" not in message
        await story.kubectl.apply(provider_secret(TEST_KEYS))
        await _healed(story, board, seconds=120)


@pytest.mark.timeout(240)
async def test_dispatch_pending(story: Story) -> None:
    async with _waiting(story, agents.pool(story, agent=agents.agent(story, file="never_joins"))) as board:
        await _told(story, "DispatchPending", "has not come", "kubectl logs")
        await agents.change(story, {"agent": agents.agent(story)})
        await _healed(story, board, seconds=120)


@pytest.mark.timeout(240)
async def test_agent_not_connected(story: Story) -> None:
    media = {"exposure": "NodePort", "nodeIp": NOWHERE, "iceLite": True}
    await story.kubectl.apply(agents.room(ROOM, dispatch="OnCreate"))
    await agents.serve(story, agents.pool(story), code=CODE, server_spec={"media": media})
    await _told(story, "AgentNotConnected", "spec.media.nodeIp", "spec.media.iceLite")
    assert (await story.kubectl.get("meetingroom", ROOM))["status"]["agentsJoined"] == 0
    await servers.change(story.kubectl, media={"iceLite": None})
    await _available(story, seconds=120)

    async def joined() -> bool:
        return bool((await story.kubectl.get("meetingroom", ROOM))["status"]["agentsJoined"] == 1)

    await until("an agent to have a connection", joined)


# What is refused at the door: fields changed in a spec that is right, and what the API server's answer names.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"sessionsPerPod": 0}, "spec.sessionsPerPod"),
    ({"agent": {"llm": {"provider": "acme", "apiKeySecretRef": {"name": "a", "key": "b"}}}}, "spec.agent.llm.provider"),
    ({"agent": {"stt": None}}, "spec.agent.stt"),
    ({"agent": {"command": ["python", "agent.py", "start"]}}, "spec.agent"),
    ({"agent": {"runner": "None"}}, "spec.agent.runner"),
    ({"agent": {"env": [{"name": "LIVEKIT_URL", "value": "ws://elsewhere"}]}}, "spec.agent.env[0].name"),
    ({"agent": {"env": [{"name": "LLM_API_KEY", "value": "mine"}]}}, "spec.agent.env"),
    ({"agent": {"proxy": {"httpsProxy": "http://me:secret@proxy.example:3128"}}}, "spec.agent.proxy.httpsProxy"),
    ({"agent": {"image": "agent:latest"}}, "spec.agent.image"),
    ({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, "spec.autoscaling.minReplicas"),
    ({"autoscaling": {"bufferSessions": "many"}}, "spec.autoscaling.bufferSessions"),
    ({"autoscaling": {}, "replicas": 2}, "spec.replicas"),
    ({"autoscaling": {"mode": "External"}}, "spec.replicas"),
    ({"drainTimeoutSeconds": 600, "terminationGracePeriodSeconds": 60}, "spec.terminationGracePeriodSeconds"),
    ({"rollout": {"canary": {"weight": 100}}}, "spec.rollout.canary.weight"),
    ({"rollout": {"progressDeadlineSeconds": 1}}, "spec.rollout.progressDeadlineSeconds"),
    ({"metricsPort": 8082}, "spec.metricsPort"),
]


async def test_what_cannot_be_is_refused_with_the_fields_name(story: Story) -> None:
    _, right, _ = quickstart()
    await _dry_run(story, right)
    for change, field in WRONG:
        with pytest.raises(CommandError) as refused:
            await _dry_run(story, {**right, "spec": _merged(right["spec"], change)})
        assert field in str(refused.value), f"{change}: {refused.value}"


@pytest.mark.timeout(180)
async def test_an_unknown_time_zone_is_named(story: Story) -> None:
    night = {"start": "22:00", "end": "06:00", "timeZone": "Europe/Atlantis", "minReplicas": 2}
    await agents.serve(story, code=CODE)
    await story.kubectl.apply(agents.pool(story, autoscaling={"schedules": [night]}))

    async def named() -> str:
        status = (await story.kubectl.get("voiceagentpool", POOL)).get("status") or {}
        bad = [c for c in status.get("conditions") or () if c["type"] == "Ready" and c["status"] == "False"]
        return next((str(c["message"]) for c in bad if "Europe/Atlantis" in c["message"]), "")

    message = await until("the time zone to be named", named)
    assert "spec.autoscaling.schedules" in message
    await agents.change(story, {"autoscaling": {"schedules": [{**night, "timeZone": "Europe/Berlin"}]}})
    await story.ready("voiceagentpool", POOL)


@asynccontextmanager
async def _waiting(story: Story, *manifests: Manifest) -> AsyncIterator[Switchboard]:
    """Make a pool as it is, and somebody who waits for its agent in the room."""
    await agents.serve(story, code=CODE)
    await story.kubectl.apply(agents.room(ROOM), *manifests)
    async with switchboard(story) as board, agents.guest(story, ROOM):
        yield board


def _loaded(story: Story, load: float) -> Manifest:
    """Return an agent that takes calls up to a load of 3, by its own measure, and says that its load is this."""
    found = agents.agent(story, file="loaded", runner="None")
    return {**found, "env": [*found["env"], {"name": "LOAD", "value": str(load)}]}


async def _told(story: Story, reason: str, *words: str) -> tuple[str, str]:
    """Wait until pool and room give the reason, and return both messages, which say what to do."""
    places = (("voiceagentpool", POOL, "AgentsAvailable"), ("meetingroom", ROOM, "AgentsReady"))
    pool, room = [
        await agents.condition(story, *place, reason, status="False", words=words, seconds=90) for place in places
    ]
    print(f"{reason}: {pool}\n  room: {room}")
    assert POOL in room
    return pool, room


async def _available(story: Story, *, seconds: float = HEALING_SECONDS) -> None:
    await agents.condition(
        story, "voiceagentpool", POOL, "AgentsAvailable", "Available", status="True", seconds=seconds
    )
    await story.ready("voiceagentpool", POOL)
    await story.ready("meetingroom", ROOM)


async def _healed(story: Story, board: Switchboard, *, seconds: float = HEALING_SECONDS) -> None:
    """Wait until the room has its agent, and both say that nothing is wrong."""
    await board.served(ROOM, seconds=seconds)
    await _available(story)


async def _dry_run(story: Story, manifest: Manifest) -> None:
    await story.kubectl("apply", "--server-side", "--dry-run=server", "--filename", "-", stdin=json.dumps(manifest))


def _merged(value: Any, change: Any) -> Any:
    if not (isinstance(value, dict) and isinstance(change, dict)):
        return change
    return {**value, **{name: _merged(value.get(name), part) for name, part in change.items()}}
