"""One part's problem stays its own: it costs the other parts nothing, and no status lies because of it."""

from typing import Any

from livekit_operator.dispatching import LONELY_SECONDS
from livekit_operator.errors import KubernetesError, ServerUnreachable
from livekit_operator.resources.meetingroom import NEVER_SECONDS
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World

AGENT = [{"poolRef": {"name": "front-desk"}}]


async def room_with_agent(world: World, **spec: Any) -> None:
    """Put a room with an agent there, its pool and server being ready."""
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(agents=AGENT, **spec))
    await world.settle()


async def look(world: World) -> None:
    """List the server's rooms, then look at the room."""
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", "support-42")


async def test_one_foreign_secret_costs_the_others_nothing(world: World) -> None:
    world.kubernetes.put(manifests.secret("support-42-bob", mine="yes"))
    await room_with_agent(world, tokens=[{"identity": "bob"}, {"identity": "alice"}])
    assert world.ready("MeetingRoom", "support-42") == ("False", "NotOwned")
    assert world.get("Secret", "support-42-alice")
    world.livekit.join("support-42", "alice")
    await look(world)
    assert world.livekit.dispatched("support-42") == ["front-desk"]


async def test_rooms_of_a_server_that_is_down_are_not_ready(world: World) -> None:
    await world.with_server(signal={"externalUrl": "wss://voice.example.com"})
    world.kubernetes.put(manifests.room())
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    world.stop_server()
    world.livekit.problem = ServerUnreachable("refused")
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("False", "ServerNotReady")


async def test_what_leaves_makes_room_under_a_quota(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=2))
    await world.settle()  # two pods that never become ready
    broken = {pod["metadata"]["name"] for pod in world.agent_pods()}
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"sessionsPerPod": 2}})
    world.kubernetes.fail("create", "Pod", KubernetesError(403, "Forbidden", "exceeded quota"))
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert {pod["metadata"]["name"] for pod in world.agent_pods(leaving=True)} == broken
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")


async def test_a_worker_that_never_answered_may_be_full(world: World) -> None:
    await world.with_server()
    await world.with_pool(autoscaling={"minReplicas": 1, "maxReplicas": 5, "bufferSessions": 2}, sessionsPerPod=2)
    world.worker.answers.clear()
    world.context.pools.clear()
    await world.reconcile("VoiceAgentPool", "front-desk")
    pool = world.get("VoiceAgentPool", "front-desk")
    assert (pool["status"]["freeSessions"], pool["status"]["desiredReplicas"]) == (0, 2)
    accepted = condition(pool, "ProvidersAccepted")
    assert (accepted["status"], accepted["reason"]) == ("Unknown", "WorkersUnreachable")


async def test_a_busy_worker_that_falls_silent_is_still_busy(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=1)
    (pod,) = world.agent_pods()
    world.say(pod, sessions=2)
    await world.reconcile("VoiceAgentPool", "front-desk")
    world.worker.answers.clear()
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"replicas": 0}})
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.get("VoiceAgentPool", "front-desk")["status"]["activeSessions"] == 2
    assert world.agent_pods(leaving=True) == []


async def test_an_agent_left_behind_is_sent_away(world: World) -> None:
    await room_with_agent(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.livekit.join("support-42", "agent-1", agent_name="front-desk")
    world.livekit.leave("support-42", "alice")
    await look(world)
    assert world.livekit.dispatched("support-42") == ["front-desk"], "it has some seconds to go by itself"
    world.clock.advance(LONELY_SECONDS)
    await look(world)
    assert world.livekit.dispatched("support-42") == []


async def test_a_waiting_agent_does_not_keep_a_room_as_it_is(world: World) -> None:
    await room_with_agent(world)
    world.livekit.join("support-42", "agent-1", agent_name="front-desk")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"maxParticipants": 3}})
    await look(world)
    settings = world.livekit.rooms["support-42"].settings
    assert (settings.max_participants, settings.empty_timeout) == (3, NEVER_SECONDS)


async def test_a_namespace_that_is_allowed_no_more_keeps_no_secret(world: World) -> None:
    await world.with_server(allowedNamespaces=["friends"])
    reference = {"name": "voice", "namespace": NAMESPACE}
    world.kubernetes.put(manifests.room(namespace="friends", serverRef=reference, tokens=[{"identity": "alice"}]))
    await world.settle()
    assert world.kubernetes.names("Secret", "friends") == ["support-42-alice"]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedNamespaces": []}})
    await world.settle()
    assert world.ready("MeetingRoom", "support-42", "friends") == ("False", "ServerNotAllowed")
    assert world.kubernetes.names("Secret", "friends") == []


async def test_a_server_that_its_service_does_not_lead_to_yet_is_on_its_way(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.settle()
    world.run_server()
    world.livekit.problem = ServerUnreachable("refused")
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
    world.livekit.problem = None
    await world.settle()
    world.livekit.problem = ServerUnreachable("refused")
    await world.settle()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "ServerUnreachable")
