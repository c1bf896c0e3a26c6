"""Why is there no agent? The pool and the room give the reason and what to do, and both heal when it is done."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.light_agents import agent, command, pool
from tests.e2e.switchboard import Switchboard, enter, switchboard
from tests.harness import servers
from tests.harness.install import TEST_KEYS, provider_secret
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL, quickstart

pytestmark = pytest.mark.one_server("reasons")

ROOM = "lobby"
# Without the runner a worker measures CPUs, and takes no call where others use them.
IDLE = ", load_fnc=lambda: 0.0"
LOADED = light_agents.code(options=', load_threshold=3.0, load_fnc=lambda: float(os.environ["LOAD"])')
# The runner would register it under the right name whatever the code does.
OTHER_NAME = light_agents.code(first='os.environ["LIVEKIT_AGENT_NAME_OVERRIDE"] = "reception"', options=IDLE)
OTHER_DEPLOYMENT = light_agents.code(first='os.environ["LIVEKIT_AGENT_DEPLOYMENT"] = "blue"')
NEVER_JOINS = light_agents.code(session="await asyncio.sleep(3600)", first="import asyncio")
CODE = light_agents.code_map(
    agent=light_agents.code(),
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
    async with _waiting(story, pool(story, agent=command(story, *light_agents.NEVER_REGISTERS))) as board:
        await _told(story, "NoWorkerRegistered", "kubectl describe pod")
        await pools.change(story, {"agent": agent(story)})
        await _healed(story, board)


@pytest.mark.timeout(240)
async def test_worker_crashed(story: Story) -> None:
    async with _waiting(story, pool(story, agent=command(story, *light_agents.CRASHES))) as board:
        await _told(story, "WorkerCrashed", "no model file", "exit code 3", "kubectl logs --previous")
        await pools.change(story, {"agent": agent(story)})
        await _healed(story, board)


@pytest.mark.timeout(240)
async def test_agent_name_mismatch(story: Story) -> None:
    async with _waiting(story, pool(story, agent=agent(story, file="other_name", runner="None"))) as board:
        await _told(story, "AgentNameMismatch", POOL, "reception", "spec.agentName")
        await pools.change(story, {"agentName": "reception"})
        await _healed(story, board)


@pytest.mark.timeout(240)
async def test_deployment_mismatch(story: Story) -> None:
    async with _waiting(story, pool(story, agent=agent(story, file="other_deployment"))) as board:
        await _told(story, "DeploymentMismatch", "blue", "LIVEKIT_AGENT_DEPLOYMENT")
        await pools.change(story, {"agent": agent(story)})
        await _healed(story, board)


@pytest.mark.timeout(300)
async def test_target_load_too_low(story: Story) -> None:
    async with _waiting(story, pool(story, agent=_loaded(story, 1.5))) as board:
        await _told(story, "TargetLoadTooLow", "1.5")
        # livekit-server gives nothing to a worker at 1 or more, whatever it is told (pkg/service/agentservice.go).
        await pools.change(story, {"agent": _loaded(story, 0.5)})
        await _healed(story, board)


@pytest.mark.timeout(240)
async def test_all_workers_full(story: Story) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 1, "bufferSessions": 0}
    one = pool(story, sessionsPerPod=1, autoscaling=scaling)
    await story.kubectl.apply(pools.room("first", dispatch="OnCreate"))
    await light_agents.serve(story, one)
    async with switchboard(story) as board:
        (first,) = await board.served("first")
        async with _waiting(story):
            await _told(story, "AllWorkersFull", "spec.autoscaling.maxReplicas")
            await story.ready("voiceagentpool", POOL)
            await pools.change(story, {"autoscaling": {"maxReplicas": 3, "bufferSessions": 1}})
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
        assert "deepgram" in await story.reason("voiceagentpool", POOL, "ProviderRejected")
        assert "deepgram" in await story.reason("meetingroom", ROOM, "ProviderRejected")
        await story.kubectl.apply(provider_secret(TEST_KEYS))
        await _healed(story, board, seconds=120)


@pytest.mark.timeout(240)
async def test_dispatch_pending(story: Story) -> None:
    async with _waiting(story, pool(story, agent=agent(story, file="never_joins"))) as board:
        await _told(story, "DispatchPending", "has not come", "kubectl logs")
        await pools.change(story, {"agent": agent(story)})
        await _healed(story, board, seconds=120)


@pytest.mark.one_server("")  # it needs one that nobody can connect to
@pytest.mark.timeout(240)
async def test_agent_not_connected(story: Story) -> None:
    media = {"exposure": "NodePort", "nodeIp": NOWHERE, "iceLite": True}
    await story.kubectl.apply(pools.room(ROOM, dispatch="OnCreate"))
    await light_agents.serve(story, pool(story), code=CODE, server_spec={"media": media})
    await _told(story, "AgentNotConnected", "spec.media.nodeIp", "spec.media.iceLite")
    assert (await story.kubectl.get("meetingroom", ROOM))["status"]["agentsJoined"] == 0
    await servers.change(story.kubectl, media={"iceLite": None})
    await _available(story, seconds=120)

    async def joined() -> bool:
        return bool((await story.kubectl.get("meetingroom", ROOM))["status"]["agentsJoined"] == 1)

    await until("an agent to have a connection", joined)


@asynccontextmanager
async def _waiting(story: Story, *manifests: Manifest) -> AsyncIterator[Switchboard]:
    """Make a pool as it is, and somebody who waits for its agent in the room."""
    await light_agents.serve(story, code=CODE)
    await story.kubectl.apply(pools.room(ROOM), *manifests)
    async with switchboard(story) as board, enter(story, ROOM):
        yield board


def _loaded(story: Story, load: float) -> Manifest:
    """Return an agent that takes calls up to a load of 3, by its own measure, and says that its load is this."""
    found = agent(story, file="loaded", runner="None")
    return {**found, "env": [*found["env"], {"name": "LOAD", "value": str(load)}]}


async def _told(story: Story, reason: str, *words: str) -> tuple[str, str]:
    """Wait until pool and room give the reason, and return both messages, which say what to do."""
    places = (("voiceagentpool", POOL, "AgentsAvailable"), ("meetingroom", ROOM, "AgentsReady"))
    pool, room = [await story.condition(*place, reason, status="False", words=words, seconds=90) for place in places]
    print(f"{reason}: {pool}\n  room: {room}")
    assert POOL in room
    return pool, room


async def _available(story: Story, *, seconds: float = HEALING_SECONDS) -> None:
    await story.condition("voiceagentpool", POOL, "AgentsAvailable", "Available", status="True", seconds=seconds)
    await story.ready("voiceagentpool", POOL)
    await story.ready("meetingroom", ROOM)


async def _healed(story: Story, board: Switchboard, *, seconds: float = HEALING_SECONDS) -> None:
    """Wait until the room has its agent, and both say that nothing is wrong."""
    await board.served(ROOM, seconds=seconds)
    await _available(story)
