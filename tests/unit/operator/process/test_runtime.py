"""The running operator: who is woken by what, and that nothing is done for nothing."""

import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import pytest

from livekit_operator.clients.kubernetes import WatchExpired
from livekit_operator.errors import KubernetesError
from livekit_operator.metrics import Metrics
from livekit_operator.process.runtime import Runtime
from livekit_operator.settings import Settings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.world import World

# The polls are far away: what happens in these tests is brought by watches.
QUIET = Settings(agent_image="agent:1", server_poll_seconds=3600, pool_poll_seconds=3600)


@dataclass
class Operator:
    """A running Runtime; its World is only the cluster, whose own reconcilers stand still."""

    world: World
    runtime: Runtime

    async def ready(self, kind: str, name: str, reason: str = "Ready") -> None:
        def is_so() -> bool:
            manifest = self.world.kubernetes.peek(kind, NAMESPACE, name)
            conditions = (manifest or {}).get("status", {}).get("conditions") or []
            return any(c["type"] == "Ready" and c["reason"] == reason for c in conditions)

        await eventually(is_so, f"{kind} {name} {reason}")

    async def there(self, kind: str, name: str) -> None:
        await eventually(lambda: self.world.kubernetes.peek(kind, NAMESPACE, name), f"{kind} {name}")

    async def with_server(self) -> None:
        self.world.kubernetes.put(manifests.server())
        await self.there("Pod", "voice-livekit-0")
        self.world.run_server()
        await self.ready("LiveKitServer", "voice")


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    world = World()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        runtime.context.now = world.clock
        yield Operator(world, runtime)


async def test_a_server_is_ready_when_its_pod_is(operator: Operator) -> None:
    await operator.with_server()


async def test_a_room_waits_for_its_server_without_asking(operator: Operator) -> None:
    operator.world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await operator.ready("MeetingRoom", "support-42", "ServerNotFound")
    await operator.with_server()
    await operator.ready("MeetingRoom", "support-42")
    await operator.there("Secret", "support-42-alice")


async def test_a_room_is_woken_when_its_server_takes_what_it_asks_for(operator: Operator) -> None:
    await operator.with_server()
    operator.world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"limits": {"metadataBytes": 10}}})
    operator.world.kubernetes.put(manifests.room(metadata="more than ten bytes"))
    await operator.ready("MeetingRoom", "support-42", "ServerLimitExceeded")
    operator.world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"limits": {"metadataBytes": 100}}})
    await operator.ready("MeetingRoom", "support-42")


async def test_a_room_is_woken_when_its_pool_is_there(operator: Operator) -> None:
    await operator.with_server()
    operator.world.kubernetes.put(manifests.providers_secret())
    operator.world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    await operator.ready("MeetingRoom", "support-42", "PoolNotFound")
    operator.world.kubernetes.put(manifests.pool())
    await operator.ready("MeetingRoom", "support-42", "NoWorkerRegistered")
    await eventually(operator.world.agent_pods, "a pod")
    operator.world.run_pods()
    await operator.ready("MeetingRoom", "support-42")
    await operator.ready("VoiceAgentPool", "front-desk")


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


async def test_a_room_is_known_to_be_orphaned_though_the_garbage_collector_was_faster(operator: Operator) -> None:
    await operator.with_server()
    operator.world.kubernetes.put(manifests.room())
    await operator.ready("MeetingRoom", "support-42")
    operator.world.kubernetes.ask_to_orphan("MeetingRoom", NAMESPACE, "support-42")
    operator.world.kubernetes.orphan_children("MeetingRoom", NAMESPACE, "support-42")
    await eventually(lambda: operator.world.kubernetes.names("MeetingRoom") == [], "the resource to go")
    assert list(operator.world.livekit.rooms) == ["support-42"]
    assert operator.runtime.context.orphaning == {}


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
    assert operator.runtime.context.users.of_server((NAMESPACE, "voice")) == []


async def test_an_allowed_namespace_is_let_in_at_once(operator: Operator) -> None:
    await operator.with_server()
    reference = {"name": "voice", "namespace": NAMESPACE}
    kubernetes = operator.world.kubernetes
    kubernetes.put(manifests.room(namespace="guests", serverRef=reference, tokens=[{"identity": "alice"}]))
    await eventually(lambda: (kubernetes.peek("MeetingRoom", "guests", "support-42") or {})["status"].get("conditions"))
    kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedNamespaces": ["guests"]}})
    await eventually(lambda: kubernetes.peek("Secret", "guests", "support-42-alice"))


async def test_the_operators_own_status_is_no_reason_to_look_again(operator: Operator) -> None:
    await operator.with_server()
    for number in range(20):
        operator.world.kubernetes.put(manifests.room(f"room-{number}", tokens=[{"identity": "alice"}]))
    for number in range(20):
        await operator.ready("MeetingRoom", f"room-{number}")
    writes = [w for w in operator.world.kubernetes.writes if w.kind in ("MeetingRoom", "Secret")]
    assert len([w for w in writes if w.name != "voice-livekit-keys"]) == 3 * 20
    value = operator.runtime.context.metrics.registry.get_sample_value
    labels = {"kind": "MeetingRoom", "result": "ok"}
    await eventually(lambda: (value("livekit_operator_queue_depth", {"kind": "MeetingRoom"}) or 0) == 0)
    # One pass for the resource, one for its Secret's event.
    assert (value("livekit_operator_reconcile_total", labels) or 0) <= 2 * 20


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


async def test_what_was_deleted_while_nobody_watched_is_found() -> None:
    world = World()
    world.kubernetes.put(manifests.room("ghost"))
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        await Operator(world, runtime).with_server()
        world.kubernetes.end_watches(WatchExpired("too old"), "MeetingRoom")
        world.kubernetes.objects.pop(("MeetingRoom", NAMESPACE, "ghost"))  # no watch tells of it
        await eventually(lambda: len(runtime.context.resources["MeetingRoom"]) == 0)


async def test_a_status_that_was_put_back_is_written_again(operator: Operator) -> None:
    kubernetes = operator.world.kubernetes
    await operator.with_server()
    kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await operator.ready("MeetingRoom", "support-42")
    backup = copy.deepcopy(kubernetes.objects)
    backup["MeetingRoom", NAMESPACE, "support-42"]["status"]["participants"] = 5
    backup["MeetingRoom", NAMESPACE, "support-42"]["metadata"]["resourceVersion"] = "90"
    kubernetes.restore(backup, kubernetes.version + 1000, WatchExpired("compacted"))
    await eventually(lambda: operator.world.get("MeetingRoom", "support-42")["status"]["participants"] == 0)


async def test_another_spec_of_the_same_generation_is_followed(operator: Operator) -> None:
    kubernetes = operator.world.kubernetes
    await operator.with_server()
    kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await operator.ready("MeetingRoom", "support-42")
    put_back = copy.deepcopy(kubernetes.objects)
    put_back["MeetingRoom", NAMESPACE, "support-42"]["spec"]["tokens"] = [{"identity": "bob"}]
    put_back["MeetingRoom", NAMESPACE, "support-42"]["metadata"]["resourceVersion"] = str(kubernetes.version + 1)
    kubernetes.restore(put_back, kubernetes.version + 1000, WatchExpired("compacted"))
    await operator.there("Secret", "support-42-bob")
    await eventually(lambda: kubernetes.peek("Secret", NAMESPACE, "support-42-alice") is None)


async def test_what_is_due_is_done_when_the_clock_was_moved() -> None:
    """A machine that sleeps stops the clock that timers go by, not the one that tokens go by."""
    world = World()
    settings = QUIET.model_copy(update={"clock_look_seconds": 0.01})
    async with running(world.kubernetes, world.worker, world.livekit.connect, settings) as runtime:
        runtime.context.now = world.clock
        operator = Operator(world, runtime)
        await operator.with_server()
        lives = {"hours": 6 * 3600, "days": 6 * 86400}
        tokens = [{"identity": identity, "ttlSeconds": seconds} for identity, seconds in lives.items()]
        world.kubernetes.put(manifests.room(tokens=tokens))
        await operator.ready("MeetingRoom", "support-42")
        before = _tokens(world, *lives)
        world.clock.advance(4 * 3600)
        await eventually(lambda: _tokens(world, "hours") != before[:1], "the renewal")
        assert _tokens(world, "days") == before[1:]


def _tokens(world: World, *identities: str) -> list[str]:
    return [decoded(world.get("Secret", f"support-42-{identity}"))["token"] for identity in identities]


async def test_servers_come_before_what_waits_for_them() -> None:
    world = World()
    await world.with_server()
    for number in range(20):
        world.kubernetes.put(manifests.room(f"room-{number}"))
    await world.settle()
    metrics = Metrics()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET, metrics):
        await eventually(lambda: _passes(metrics) >= 20)
        assert _passes(metrics) == 20, "rooms were looked at before their server, in vain"


def _passes(metrics: Metrics) -> float:
    labels = {"kind": "MeetingRoom", "result": "ok"}
    return metrics.registry.get_sample_value("livekit_operator_reconcile_total", labels) or 0.0


async def test_watches_that_expire_are_begun_again(operator: Operator) -> None:
    operator.world.kubernetes.end_watches(WatchExpired("too old"))
    await operator.with_server()


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

    runtime._clock_ahead = broken  # type: ignore[method-assign]
    runtime._run(runtime._follow_clock())
    await eventually(lambda: runtime.failed)
    assert not runtime.alive
    assert "a part of the operator has ended: Runtime._follow_clock: OverflowError('a bug')" in caplog.text
    await runtime.stop()


async def test_what_was_parsed_is_forgotten_with_its_resource(operator: Operator) -> None:
    await operator.with_server()
    operator.world.kubernetes.put(manifests.room())
    await operator.ready("MeetingRoom", "support-42")
    understood = operator.runtime.context.understood
    assert list(understood) == [("LiveKitServer", (NAMESPACE, "voice"))]
    operator.world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    operator.world.kubernetes.vanish("LiveKitServer", NAMESPACE, "voice")
    await eventually(lambda: not understood)


async def test_stopping_closes_the_connections() -> None:
    world = World()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        await Operator(world, runtime).with_server()
        assert [runtime.alive] == [True]
    assert [runtime.alive] == [False]
    assert world.livekit.closed == len(world.livekit.connections)
