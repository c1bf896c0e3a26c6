"""The running operator: how it starts and ends, and what it does of itself when the cluster changes."""

from functools import partial

import pytest

from livekit_operator.errors import KubernetesError
from livekit_operator.process.runtime import Runtime
from livekit_operator.servers.links import to_server
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.world import World
from tests.unit.operator.process.operators import QUIET, Operator


async def test_a_server_is_ready_when_its_pod_is(operator: Operator) -> None:
    await operator.with_server()


async def test_a_room_waits_for_its_server_without_asking(operator: Operator) -> None:
    operator.world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await operator.ready("MeetingRoom", "support-42", "ServerNotFound")
    await operator.with_server()
    await operator.ready("MeetingRoom", "support-42")
    await operator.there("Secret", "support-42-alice")


async def test_a_child_that_goes_is_made_again(operator: Operator) -> None:
    await operator.with_server()
    operator.world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await operator.there("Secret", "support-42-alice")
    for kind, name in (
        ("Secret", "support-42-alice"),
        ("Service", "voice-livekit"),
        ("ServiceAccount", "voice-livekit"),
    ):
        operator.world.kubernetes.vanish(kind, NAMESPACE, name)
        await operator.there(kind, name)


async def test_a_child_changed_by_hand_is_put_back(operator: Operator) -> None:
    await operator.with_server()
    before = operator.world.get("Service", "voice-livekit")["spec"]
    operator.world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", {"spec": {"ports": []}})
    await eventually(lambda: operator.world.get("Service", "voice-livekit")["spec"] == before)


async def test_deleting_a_room_closes_it(operator: Operator) -> None:
    await operator.with_server()
    operator.world.kubernetes.put(manifests.room())
    await operator.ready("MeetingRoom", "support-42")
    operator.world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    await eventually(lambda: operator.world.kubernetes.names("MeetingRoom") == [])
    assert operator.world.livekit.rooms == {}
    await eventually(lambda: len(operator.runtime.context.resources["MeetingRoom"]) == 0)
    assert operator.runtime.context.users.of(to_server((NAMESPACE, "voice"))) == []


async def test_a_restarted_operator_writes_nothing() -> None:
    world = World()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        runtime.context.now = world.clock
        operator = Operator(world, runtime)
        await operator.with_server()
        world.kubernetes.put(manifests.providers_secret())
        world.kubernetes.put(manifests.pool())
        await eventually(world.agent_pods)
        world.run_pods()
        await operator.ready("VoiceAgentPool", "front-desk")
        agents = [{"poolRef": {"name": "front-desk"}}]
        world.kubernetes.put(manifests.room(agents=agents, tokens=[{"identity": "alice"}]))
        await operator.ready("MeetingRoom", "support-42")
        runtime.context.wake("LiveKitServer", (NAMESPACE, "voice"))  # what its poll would do
        await eventually(lambda: world.get("LiveKitServer", "voice")["status"]["rooms"] == 1)
    world.forget()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        runtime.context.now = world.clock
        assert await looked_at_everything(runtime)
    assert world.written() == []
    assert world.livekit.writes == []


async def looked_at_everything(runtime: Runtime) -> bool:
    """Wait until every kind was reconciled and the queues are empty."""
    value = runtime.context.metrics.registry.get_sample_value
    for kind in ("LiveKitServer", "VoiceAgentPool", "MeetingRoom"):
        labels = {"kind": kind, "result": "ok"}
        await eventually(partial(value, "livekit_operator_reconcile_total", labels), kind)
        await eventually(partial(lambda of: value("livekit_operator_queue_depth", of) == 0, {"kind": kind}), kind)
    return True


async def test_what_happened_while_the_operator_was_down_is_caught_up_with() -> None:
    world = World()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        operator = Operator(world, runtime)
        await operator.with_server()
        world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}, {"identity": "bob"}]))
        await operator.ready("MeetingRoom", "support-42")
    token = decoded(world.get("Secret", "support-42-bob"))
    world.livekit.restart()
    world.kubernetes.vanish("Secret", NAMESPACE, "support-42-bob")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"tokens": [{"identity": "bob"}]}})
    world.kubernetes.put(manifests.room("new"))
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        operator = Operator(world, runtime)
        await operator.ready("MeetingRoom", "new")
        await operator.there("Secret", "support-42-bob")
        await eventually(lambda: world.kubernetes.peek("Secret", NAMESPACE, "support-42-alice") is None)
        await eventually(lambda: sorted(world.livekit.rooms) == ["new", "support-42"])
    assert decoded(world.get("Secret", "support-42-bob"))["room"] == token["room"]


async def test_it_starts_when_everything_could_be_listed(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.kubernetes.put(manifests.server())
    world.kubernetes.fail("list", "Secret", KubernetesError(403, "Forbidden", "m"))
    runtime = Runtime(world.kubernetes, world.worker, world.loads, world.livekit.connect, QUIET, world.context.metrics)
    runtime.begin()
    await eventually(lambda: "listing of Secret failed, it is tried again: 403 Forbidden: m" in caplog.text)
    assert not runtime.alive
    assert not runtime.failed, "it is still at it: a probe that ends it would not help"
    assert world.kubernetes.writes == []
    world.kubernetes.heal()
    await eventually(lambda: runtime.alive, "the start")
    await eventually(lambda: world.kubernetes.peek("Pod", NAMESPACE, "voice-livekit-0"), "work")
    await runtime.stop()
    assert not runtime.failed
    assert "has ended" not in caplog.text


async def test_a_start_that_fails_is_told_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    runtime = Runtime(world.kubernetes, world.worker, world.loads, world.livekit.connect, QUIET, world.context.metrics)

    async def broken() -> None:
        raise TypeError("a bug")

    runtime.start = broken  # type: ignore[method-assign]
    runtime.begin()
    await eventually(lambda: runtime.failed)
    assert "a part of the operator has ended: " in caplog.text
    assert "TypeError('a bug')" in caplog.text
    await runtime.stop()


async def test_a_part_that_ends_is_told_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    runtime = Runtime(world.kubernetes, world.worker, world.loads, world.livekit.connect, QUIET, world.context.metrics)
    await runtime.start()

    def broken() -> float:
        raise OverflowError("a bug")

    runtime.leader._clock_ahead = broken  # type: ignore[method-assign]
    runtime.leader._group.run(runtime.leader._follow_clock())
    await eventually(lambda: runtime.failed)
    assert not runtime.alive
    assert "a part of the operator has ended: Leader._follow_clock: OverflowError('a bug')" in caplog.text
    await runtime.stop()


async def test_stopping_closes_the_connections() -> None:
    world = World()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        await Operator(world, runtime).with_server()
        assert [runtime.alive] == [True]
    assert [runtime.alive] == [False]
    assert world.livekit.closed == len(world.livekit.connections)
