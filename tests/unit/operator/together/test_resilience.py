"""One part's problem stays its own: it costs the other parts nothing, and no status lies because of it."""

from typing import Any

import pytest

from livekit_operator.errors import KubernetesError, RoomUnanswered, ServerRefused, ServerUnreachable
from livekit_operator.moments import parse_timestamp
from livekit_operator.rooms.decisions.dispatching import LONELY_SECONDS
from livekit_operator.rooms.decisions.settings import NEVER_SECONDS
from livekit_operator.servers.decisions.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE
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


async def test_a_server_that_lists_and_then_hangs_is_asked_by_one_room_at_a_time(world: World) -> None:
    await world.with_server()
    names = [f"room-{n}" for n in range(20)]
    world.livekit.hangs = True
    for name in names:
        world.kubernetes.put(manifests.room(name))
        await world.reconcile("MeetingRoom", name)
    assert world.livekit.asked("create_room") == FAILURES
    assert {world.ready("MeetingRoom", name) for name in names} == {("False", "ServerUnreachable")}
    assert "delete its pod if it hangs" in world.message("MeetingRoom", names[-1])
    assert ("LiveKitServer", (NAMESPACE, "voice")) in world.woken
    await world.reconcile("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ServerUnreachable")

    world.clock.advance(FIRST_PAUSE.total_seconds())
    again = [await world.reconcile("MeetingRoom", name) for name in names]
    assert world.livekit.asked("create_room") == FAILURES + 1, "one finds out whether it answers again"
    assert all(seconds and seconds >= FIRST_PAUSE.total_seconds() for seconds in again)
    before = len(world.kubernetes.writes)
    for name in names:
        await world.reconcile("MeetingRoom", name)
    assert len(world.kubernetes.writes) == before, "what is said does not change with each look"

    world.livekit.hangs = False
    world.clock.advance(LONGEST_PAUSE.total_seconds())
    world.woken.clear()
    await world.reconcile("MeetingRoom", names[0])
    assert ("MeetingRoom", (NAMESPACE, names[-1])) in world.woken, "the others need not wait"
    await world.settle()
    assert {world.ready("MeetingRoom", name) for name in names} == {("True", "Ready")}
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def test_a_room_that_is_being_deleted_says_nothing_of_its_server(world: World) -> None:
    """LiveKit goes on listing it for some seconds, while no node answers for it."""
    await room_with_agent(world, tokens=[{"identity": "alice"}])
    world.livekit.join("support-42", "alice")
    await world.settle()
    world.forget()
    events = world.events()
    world.livekit.problem = RoomUnanswered("unavailable: no response from servers")
    for _ in range(10):
        assert await world.reconcile("MeetingRoom", "support-42") == 1.0, "quietly"
        world.clock.advance(1)
    assert (world.written(), world.events()) == ([], events)
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    world.livekit.problem = None
    await world.settle()

    world.livekit.problem = RoomUnanswered("unavailable: no response from servers")
    await world.reconcile("MeetingRoom", "support-42")
    world.clock.advance(15)
    await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("False", "RoomUnanswered")
    assert "livekit-operator.dev/recreate" in world.message("MeetingRoom", "support-42")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_room_that_is_on_no_list_and_that_nobody_answers_for_is_gone(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.livekit.close_room("support-42")
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    await world.reconcile("LiveKitServer", "voice")
    world.livekit.problem = RoomUnanswered("unavailable: no response from servers")
    await world.reconcile("MeetingRoom", "support-42")
    assert world.kubernetes.peek("MeetingRoom", NAMESPACE, "support-42") is None
    assert not [event for event in world.events() if event[1] == "RoomNotDeleted"]


async def test_events_that_repeat_are_counted_in_one(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.forget()
    for _ in range(5):
        world.livekit.problem = ServerRefused("unauthenticated", "no")
        world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"metadata": f"{world.clock()}"}})
        await world.reconcile("MeetingRoom", "support-42")
        assert world.ready("MeetingRoom", "support-42") == ("False", "ServerRefused")
        world.livekit.problem = None
        await world.reconcile("MeetingRoom", "support-42")
        world.clock.advance(60)
    events = [m for key, m in world.kubernetes.objects.items() if key[0] == "Event"]
    events = [event for event in events if event["involvedObject"]["kind"] == "MeetingRoom"]
    assert sorted((event["reason"], event["count"]) for event in events) == [("Ready", 5), ("ServerRefused", 5)]
    first, last = events[0]["firstTimestamp"], events[0]["lastTimestamp"]
    assert (parse_timestamp(last) - parse_timestamp(first)).total_seconds() == 240
    assert [write.what for write in world.kubernetes.writes if write.kind == "Event"].count(
        "create Event/support-42."
    ) <= 2


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


CHILDREN = {
    "ConfigMap": "front-desk-agent-",
    "Secret": "front-desk-agent",
    "ServiceAccount": "front-desk-agent",
    "NetworkPolicy": "front-desk-agent",
    "PodDisruptionBudget": "front-desk-busy",
}


@pytest.mark.parametrize("error", [(403, "Forbidden"), (400, "BadRequest"), (422, "Invalid")])
@pytest.mark.parametrize(("kind", "name"), CHILDREN.items())
async def test_a_pool_goes_on_whatever_of_it_is_refused(
    world: World, kind: str, name: str, error: tuple[int, str]
) -> None:
    await world.with_server()
    await world.with_pool(replicas=3)
    dead, busy, idle = world.agent_pods()
    if kind == "ConfigMap":  # of a new version
        world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"idleProcesses": 7}})
    else:
        world.kubernetes.vanish(kind, NAMESPACE, name)
    world.kubernetes.fail("apply", kind, KubernetesError(*error, "admission webhook denied the request"))
    world.kubernetes.edit("Pod", NAMESPACE, dead["metadata"]["name"], {"phase": "Failed"}, status=True)
    world.say(busy, sessions=2)
    world.forget()
    for _ in range(10):
        assert await world.reconcile("VoiceAgentPool", "front-desk") == 2.0, "its pods are looked at as ever"
        world.clock.advance(2)
    refused = [read for read in world.kubernetes.reads if read.startswith(f"get {kind}/{name}")]
    assert len(refused) == 1, "it is not asked for again at each look"
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")
    message = world.message("VoiceAgentPool", "front-desk")
    assert f"{kind} {name}" in message
    assert "admission webhook denied the request" in message
    assert len([event for event in world.events() if event[1] == "KubernetesRefused"]) == 1
    names = {pod["metadata"]["name"] for pod in world.agent_pods()}
    assert {busy["metadata"]["name"], idle["metadata"]["name"]} <= names
    assert dead["metadata"]["name"] not in names
    replaced = kind in ("ConfigMap", "PodDisruptionBudget")
    assert len(names) == (3 if replaced else 2), "no pod comes that could not do without it"
    assert "livekit-operator.dev/busy" in world.get("Pod", busy["metadata"]["name"])["metadata"]["labels"]
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    assert (status["activeSessions"], status["busyReplicas"]) == (2, 1)
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"replicas": 1}})
    await world.settle()
    assert idle["metadata"]["name"] in {pod["metadata"]["name"] for pod in world.agent_pods(leaving=True)}
    world.kubernetes.heal()
    world.clock.advance(10)
    await world.settle()
    world.run_pods()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_a_pool_without_any_version_says_what_is_refused(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    world.kubernetes.fail("apply", "ConfigMap", KubernetesError(403, "Forbidden", "exceeded quota: small"))
    assert await world.reconcile("VoiceAgentPool", "front-desk") == 2.0
    assert "ConfigMap front-desk-agent-" in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.heal()
    world.clock.advance(30)
    await world.settle()
    assert len(world.agent_pods()) == 1


async def test_a_pool_goes_on_with_what_is_there_though_its_change_is_refused(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (dead,) = world.agent_pods()
    for kind in ("ServiceAccount", "NetworkPolicy"):
        changed = {"metadata": {"annotations": {"livekit-operator.dev/applied": None}}}
        world.kubernetes.edit(kind, NAMESPACE, "front-desk-agent", changed)
        world.kubernetes.fail("apply", kind, KubernetesError(403, "Forbidden", "no"))
    world.kubernetes.edit("Pod", NAMESPACE, dead["metadata"]["name"], {"phase": "Failed"}, status=True)
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")
    assert len(world.agent_pods()) == 1
    world.clock.advance(30)


async def test_marks_and_notes_that_are_refused_stop_nothing(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=2))
    for kind in ("Pod", "ConfigMap"):
        world.kubernetes.fail("merge", kind, KubernetesError(403, "Forbidden", f"no changes of a {kind}"))
    world.kubernetes.fail("delete", "Pod", KubernetesError(403, "Forbidden", "no ends"))
    await world.settle()
    world.run_pods()
    first, _ = world.agent_pods()
    world.say(first, sessions=1)
    world.kubernetes.edit("Pod", NAMESPACE, first["metadata"]["name"], {"phase": "Failed"}, status=True)
    await world.settle()
    assert len(world.agent_pods()) == 3, "the dead one is replaced though it cannot be removed"
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "KubernetesRefused")
    world.clock.advance(30)


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


async def test_a_server_that_its_service_leads_to_no_more_is_found_out(world: World) -> None:
    """Its pod goes on telling the operator everything."""
    await world.with_server()
    world.livekit.cut = {world.get("LiveKitServer", "voice")["status"]["internalUrl"]}
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice")[0] == "True"
    world.clock.advance(30)
    for _ in range(2):
        await world.reconcile("LiveKitServer", "voice")
        assert world.ready("LiveKitServer", "voice") == ("False", "ServerUnreachable")
    world.livekit.cut.clear()
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice")[0] == "True"


async def test_a_server_that_only_its_pod_answers_for_is_not_ready(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.settle()
    world.run_server()
    world.livekit.cut = {f"ws://voice-livekit.{NAMESPACE}.svc:7880"}
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
