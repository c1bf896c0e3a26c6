"""On a machine without CPU to spare answers come late: statuses say the same as on a quiet one, until that lasts."""

from livekit_operator.errors import NodesUnavailable
from livekit_operator.views import ProviderError
from tests.fakes import manifests
from tests.fakes.world import World


async def test_a_new_room_waits_quietly_for_a_server_too_busy_to_count_itself(world: World) -> None:
    await world.with_server()
    world.forget()
    world.livekit.problem = NodesUnavailable("unknown: could not find any available nodes")
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    for _ in range(5):
        assert await world.reconcile("MeetingRoom", "support-42") == 1.0, "quietly"
        world.clock.advance(1)
    world.livekit.problem = None
    await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    # The claim, the Secret, the status: as many as on a quiet machine, and no Event.
    assert [write.what for write in world.kubernetes.writes] == [
        "merge MeetingRoom/support-42",
        "apply Secret/support-42-alice",
        "merge MeetingRoom/support-42/status",
    ]


async def test_a_server_that_takes_no_room_for_long_is_told_of(world: World) -> None:
    await world.with_server()
    world.livekit.problem = NodesUnavailable("unknown: could not find any available nodes")
    world.kubernetes.put(manifests.room())
    await world.reconcile("MeetingRoom", "support-42")
    world.clock.advance(15)
    await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("False", "ServerUnreachable")
    assert "could not find any available nodes" in world.message("MeetingRoom", "support-42")


async def test_a_worker_too_busy_for_one_answer_changes_nothing_that_is_told(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=1)
    (pod,) = world.agent_pods()
    world.say(pod, sessions=1, errors=(ProviderError("stt", "Deepgram", 401, "no"),))
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ProviderRejected")
    world.forget()
    answers = dict(world.worker.answers)
    for _ in range(2):
        world.worker.answers.clear()
        await world.round()
        world.worker.answers.update(answers)
        await world.round()
    assert world.kubernetes.writes == []
    world.worker.answers.clear()
    await world.round()
    await world.round()
    assert world.condition("VoiceAgentPool", "front-desk", "ProvidersAccepted") == ("Unknown", "WorkersUnreachable")
