"""A pool that may not use its server, or no longer, keeps neither its key nor pods; its calls have their time."""

from datetime import timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import DRAIN_MARGIN_SECONDS
from livekit_operator.errors import KubernetesError, Problem
from livekit_operator.pools.refused import dismiss
from livekit_operator.servers.links import UNDECLARED_ROOM, undeclared_room
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World
from tests.unit.operator.pools.calls import with_room
from tests.unit.operator.pools.guests import allow, with_guests


async def test_a_pool_that_is_allowed_no_more_loses_key_and_pods(world: World) -> None:
    await with_guests(world)
    assert "front-desk-agent" in world.kubernetes.names("Secret", "guests")
    world.say(world.agent_pods()[0], jobs={"AJ_1": "guests/call"})
    allow(world, allowedPoolNamespaces=[], allowedNamespaces=["guests"])
    await world.settle()
    assert "front-desk-agent" not in world.kubernetes.names("Secret", "guests")
    assert world.agent_pods() == []
    [leaving] = world.agent_pods(leaving=True)
    assert leaving["spec"]["terminationGracePeriodSeconds"] == 600 + DRAIN_MARGIN_SECONDS, "its call has its time"
    pool = world.get("VoiceAgentPool", "front-desk", "guests")
    ends = world.clock() + timedelta(seconds=600 + DRAIN_MARGIN_SECONDS)
    message = world.message("VoiceAgentPool", "front-desk", "guests")
    assert world.ready("VoiceAgentPool", "front-desk", "guests") == ("False", "ServerNotAllowed")
    assert "adds guests to its spec.allowedPoolNamespaces" in message
    assert f"1 pods end their 1 calls, at the latest at {ends:%Y-%m-%dT%H:%M:%SZ}" in message
    assert condition(pool, "Progressing")["reason"] == "Draining"
    assert condition(pool, "AgentsAvailable")["status"] == "False"
    assert (pool["status"]["drainingReplicas"], pool["status"]["activeSessions"]) == (1, 1)

    world.end_pods()
    await world.settle()
    pool = world.get("VoiceAgentPool", "front-desk", "guests")
    assert (condition(pool, "Progressing")["status"], pool["status"]["drainingReplicas"]) == ("False", 0)
    assert await world.writes_of_another_round() == []

    allow(world, allowedPoolNamespaces=["*"])
    await world.settle()
    world.run_pods()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk", "guests") == ("True", "Ready")
    assert "front-desk-agent" in world.kubernetes.names("Secret", "guests")


async def test_a_pool_that_is_pointed_at_a_server_it_may_not_use_loses_key_and_pods(world: World) -> None:
    await with_guests(world)
    world.kubernetes.put(manifests.server("other"))
    await world.settle()
    reference = {"serverRef": {"name": "other", "namespace": NAMESPACE}}
    world.kubernetes.edit("VoiceAgentPool", "guests", "front-desk", {"spec": reference})
    await world.settle()
    assert "front-desk-agent" not in world.kubernetes.names("Secret", "guests")
    assert world.agent_pods() == []


async def test_what_is_refused_of_a_pool_that_may_not_use_its_server_is_not_tried_in_every_pass(world: World) -> None:
    await world.with_server(allowedPoolNamespaces=["guests"])
    world.kubernetes.put(manifests.providers_secret("guests"))
    server = {"name": "voice", "namespace": NAMESPACE}
    world.kubernetes.put(manifests.pool(namespace="guests", serverRef=server))
    await world.settle()
    asked, delete = [], world.kubernetes.delete

    async def counted(kind: str, *where: Any, **how: Any) -> None:
        asked.append(kind)
        await delete(kind, *where, **how)

    world.kubernetes.delete = counted  # type: ignore[method-assign]
    world.kubernetes.fail("delete", "Pod", KubernetesError(403, "Forbidden", "no ends"))
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedPoolNamespaces": []}})
    await world.settle()
    asked.clear()
    for _ in range(3):
        await world.reconcile("VoiceAgentPool", "front-desk", "guests")
        assert "no ends" in world.message("VoiceAgentPool", "front-desk", "guests")
    assert "Pod" not in asked
    world.clock.advance(31)
    await world.reconcile("VoiceAgentPool", "front-desk", "guests")
    assert asked.count("Pod") == 1


WHY = Problem(reasons.SERVER_NOT_ALLOWED, "It is not allowed.")


async def dismissed(world: World) -> tuple[dict[str, tuple[str, str]], float | None]:
    """Take key and pods from the pool; return the reasons and messages of its conditions, and when to look again."""
    pool = VoiceAgentPool.model_validate(world.get("VoiceAgentPool", "front-desk"))
    outcome = await dismiss(world.context, pool, WHY)
    return {one.type: (one.reason, one.message) for one in outcome.conditions}, outcome.again


async def test_a_pool_without_pods_has_nothing_to_end(world: World) -> None:
    world.kubernetes.put(manifests.pool())
    told, again = await dismissed(world)
    assert again is None
    assert told["Ready"] == told["AgentsAvailable"] == ("ServerNotAllowed", "It is not allowed.")
    assert told["Progressing"] == ("ServerNotAllowed", "It has neither key nor pods.")
    assert told["ProvidersAccepted"][0] == "ServerNotAllowed"


@pytest.mark.parametrize(
    ("metadata", "grace", "ends"),
    [
        pytest.param({}, 600, "12:10:00", id="it is told now"),
        pytest.param({}, 0, "12:00:00", id="without a grace period"),
        pytest.param(
            {"deletionTimestamp": "2026-03-01T12:05:00Z", "deletionGracePeriodSeconds": 600},
            600,
            "12:05:00",
            id="it was told",
        ),
        pytest.param(
            {"deletionTimestamp": "2026-03-01T11:00:00Z", "deletionGracePeriodSeconds": 600},
            600,
            "12:00:00",
            id="its time is over",
        ),
        pytest.param({"deletionTimestamp": "2026-03-01T12:00:00Z"}, 600, "12:10:00", id="it was told a moment ago"),
    ],
)
async def test_when_the_last_pod_ends(metadata: dict[str, Any], grace: int, ends: str) -> None:
    world = World()
    pool = world.kubernetes.put(manifests.pool())
    owner = {"apiVersion": pool["apiVersion"], "kind": "VoiceAgentPool", "name": "front-desk", "controller": True}
    known = {
        "name": "a",
        "namespace": NAMESPACE,
        "creationTimestamp": "2026-03-01T11:00:00Z",
        "labels": {"app.kubernetes.io/managed-by": "livekit-operator"},
        "ownerReferences": [{**owner, "uid": pool["metadata"]["uid"]}],
        **({"finalizers": ["a/b"]} if metadata else {}),
        **metadata,
    }
    spec = {"containers": [{"name": "agent"}], "terminationGracePeriodSeconds": grace}
    world.kubernetes.put({"kind": "Pod", "metadata": known, "spec": spec})
    told, again = await dismissed(world)
    assert again == 2.0
    assert told["Progressing"] == ("Draining", f"1 pods end their 0 calls, at the latest at 2026-03-01T{ends}Z.")
    assert [write.what for write in world.kubernetes.writes] == ([] if metadata else ["delete Pod/a"])


async def test_its_rooms_hear_why_once_and_no_call_is_sent_to_it(world: World) -> None:
    await with_room(world)
    memory = world.context.pools[NAMESPACE, "front-desk"]
    assert memory.stable.sessions
    memory.canary_weight = 50
    declared, undeclared = (NAMESPACE, "support-42"), undeclared_room((NAMESPACE, "voice"), "phone-1")
    for room in (declared, undeclared):
        memory.wait(room, world.clock())
    for expected in ({("MeetingRoom", declared), (UNDECLARED_ROOM, undeclared)}, {(UNDECLARED_ROOM, undeclared)}):
        world.woken.clear()
        await dismissed(world)
        assert world.woken == expected
    assert (memory.stable.sessions, memory.canary_weight, memory.problem) == (0, 0, WHY)
    assert "front-desk-agent" not in world.kubernetes.names("Secret")
    assert "front-desk-agent-versions" in world.kubernetes.names("Secret"), "they give access to nothing"
