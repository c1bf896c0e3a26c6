"""The caches follow the cluster, and wake what a change concerns: nothing for nothing, and nothing is missed."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from livekit_operator.clients.kubernetes import Page, WatchExpired
from livekit_operator.constants import GROUP
from livekit_operator.engine.cache import Key, ObjectCache
from livekit_operator.process.caches import Caches
from livekit_operator.process.runtime import Runtime
from livekit_operator.process.wiring import TABLE, child_kinds, resource_kinds
from livekit_operator.reconciling.context import node_facts
from livekit_operator.reconciling.links import Users
from livekit_operator.rooms.context import Context
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.world import World
from tests.unit.operator.process.operators import QUIET, Operator


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


async def test_a_room_is_known_to_be_orphaned_though_the_garbage_collector_was_faster(operator: Operator) -> None:
    await operator.with_server()
    operator.world.kubernetes.put(manifests.room())
    await operator.ready("MeetingRoom", "support-42")
    operator.world.kubernetes.ask_to_orphan("MeetingRoom", NAMESPACE, "support-42")
    operator.world.kubernetes.orphan_children("MeetingRoom", NAMESPACE, "support-42")
    await eventually(lambda: operator.world.kubernetes.names("MeetingRoom") == [], "the resource to go")
    assert list(operator.world.livekit.rooms) == ["support-42"]
    assert operator.runtime.context.orphaning == {}


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


async def test_watches_that_expire_are_begun_again(operator: Operator) -> None:
    operator.world.kubernetes.end_watches(WatchExpired("too old"))
    await operator.with_server()


async def test_what_was_parsed_is_forgotten_with_its_resource(operator: Operator) -> None:
    await operator.with_server()
    operator.world.kubernetes.put(manifests.room())
    await operator.ready("MeetingRoom", "support-42")
    understood = operator.runtime.context.understood
    assert list(understood) == [("LiveKitServer", (NAMESPACE, "voice"))]
    operator.world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    operator.world.kubernetes.vanish("LiveKitServer", NAMESPACE, "voice")
    await eventually(lambda: not understood)


class Heard:
    """A listener that notes what it hears."""

    def __init__(self) -> None:
        self.woken: list[tuple[str, Key]] = []
        self.dropped: list[tuple[str, Key]] = []

    def wake(self, kind: str, key: Key) -> None:
        self.woken.append((kind, key))

    def drop(self, kind: str, key: Key) -> None:
        self.dropped.append((kind, key))


@pytest.fixture
async def mirrored() -> AsyncIterator[tuple[World, Heard]]:
    """Return a cluster with a server, a pool and a room, and who hears from caches that have just been filled."""
    world, heard = World(), Heard()
    for manifest in (manifests.server(), manifests.pool(), manifests.room(), NODE):
        world.kubernetes.put(manifest)

    def make(resources: dict[str, ObjectCache], children: dict[str, ObjectCache]) -> Context:
        return replace(
            world.context,
            resources=resources,
            children=children,
            nodes=ObjectCache(keep=node_facts),
            users=Users(),
            understood={},
            wake=heard.wake,
        )

    caches = Caches(world.kubernetes, TABLE, 1e9, make, heard)
    filled = [caches.filled]
    await caches.start()
    filled.append(caches.filled)
    await eventually(lambda: len(world.kubernetes.watched) == len(resource_kinds(TABLE)) + len(child_kinds(TABLE)) + 1)
    heard.woken.clear()
    yield world, heard
    assert not caches.failed
    await caches.stop()
    assert [*filled, caches.filled] == [False, True, False]


NODE = {"kind": "Node", "metadata": {"name": "node-1", "namespace": "", "labels": {"zone": "a"}}, "spec": {}}
SERVER, POOL, ROOM = (
    ("LiveKitServer", (NAMESPACE, "voice")),
    ("VoiceAgentPool", (NAMESPACE, "front-desk")),
    ("MeetingRoom", (NAMESPACE, "support-42")),
)


SERVER_KEY = ("LiveKitServer", NAMESPACE, "voice")
POOL_KEY = ("VoiceAgentPool", NAMESPACE, "front-desk")


def child_of(kind: str, name: str, group: str = GROUP) -> Manifest:
    """Return a Secret that a resource controls."""
    owner = {"apiVersion": f"{group}/v1alpha1", "kind": kind, "name": name, "uid": "u", "controller": True}
    labels = {"app.kubernetes.io/managed-by": "livekit-operator"}
    secret = manifests.secret("child")
    return {**secret, "metadata": {**secret["metadata"], "labels": labels, "ownerReferences": [owner]}}


def labelled(metadata: dict[str, Any]) -> Callable[[World], object]:
    return lambda world: world.kubernetes.edit(*SERVER_KEY, {"metadata": metadata})


def edit_node(world: World, patch: Manifest) -> None:
    world.kubernetes.edit("Node", "", "node-1", patch)


@pytest.mark.parametrize(
    ("change", "woken"),
    [
        pytest.param(
            lambda w: w.kubernetes.edit(*SERVER_KEY, {"spec": {"replicas": 2}}), {SERVER, POOL, ROOM}, id="a spec"
        ),
        pytest.param(labelled({"annotations": {"restart": "now"}}), {SERVER}, id="an annotation"),
        pytest.param(labelled({"labels": {"team": "a"}}), set(), id="a label"),
        pytest.param(
            lambda w: w.kubernetes.edit(*SERVER_KEY, {"rooms": 1}, status=True),
            set(),
            id="a count in a status",
        ),
        pytest.param(
            lambda w: w.kubernetes.edit(*SERVER_KEY, {"externalUrl": "wss://a.example.com"}, status=True),
            {POOL, ROOM},
            id="what others use of a server",
        ),
        pytest.param(
            lambda w: w.kubernetes.edit(*POOL_KEY, {"spec": {"replicas": 2}}), {POOL}, id="what no room uses of a pool"
        ),
        pytest.param(lambda w: w.kubernetes.put(child_of("LiveKitServer", "voice")), {SERVER}, id="a child"),
        pytest.param(
            lambda w: w.kubernetes.put(child_of("VoiceAgentPool", "gone")), set(), id="a child of nobody known"
        ),
        pytest.param(
            lambda w: w.kubernetes.put(child_of("LiveKitServer", "voice", "example.com")), set(), id="another group's"
        ),
        pytest.param(lambda w: w.kubernetes.put(child_of("Deployment", "voice")), set(), id="another kind's"),
        pytest.param(lambda w: edit_node(w, {"spec": {"unschedulable": True}}), {SERVER, POOL}, id="a node is emptied"),
        pytest.param(lambda w: edit_node(w, {"metadata": {"labels": {"zone": "b"}}}), {SERVER, POOL}, id="a zone"),
        pytest.param(lambda w: edit_node(w, {"spec": {"podCIDR": "10.0.0.0/24"}}), set(), id="nothing that counts"),
        pytest.param(lambda w: w.kubernetes.vanish("Node", "", "node-1"), {SERVER, POOL}, id="a node is gone"),
    ],
)
async def test_who_is_woken(
    mirrored: tuple[World, Heard], change: Callable[[World], object], woken: set[tuple[str, Key]]
) -> None:
    world, heard = mirrored
    change(world)
    world.kubernetes.put(manifests.room("last", serverRef={"name": "other"}))
    last = ("MeetingRoom", (NAMESPACE, "last"))
    await eventually(lambda: last in heard.woken and woken <= set(heard.woken), f"{woken}, not {heard.woken}")
    assert set(heard.woken) - {last} == woken
    assert heard.dropped == []


async def test_a_store_that_was_put_back_wakes_what_differs_and_who_uses_it(mirrored: tuple[World, Heard]) -> None:
    world, heard = mirrored
    backup = copy.deepcopy(world.kubernetes.objects)
    backup[SERVER_KEY]["status"] = {"rooms": 5}
    backup[SERVER_KEY]["metadata"]["resourceVersion"] = "90"
    world.kubernetes.restore(backup, world.kubernetes.version + 1000, WatchExpired("compacted"))
    await eventually(lambda: {SERVER, POOL, ROOM} <= set(heard.woken), "the server and those that refer to it")


async def test_what_is_gone_is_due_no_more(mirrored: tuple[World, Heard]) -> None:
    world, heard = mirrored
    world.kubernetes.vanish("MeetingRoom", NAMESPACE, "support-42")
    await eventually(lambda: heard.dropped, "the room to be dropped")
    assert heard.dropped == [ROOM]


async def test_owners_are_listed_before_what_they_own_and_two_kinds_at_once() -> None:
    world = World()
    runtime = Runtime(world.kubernetes, world.worker, world.loads, world.livekit.connect, QUIET, world.context.metrics)
    at_once, most = 0, 0
    pages = world.kubernetes.pages

    async def counted(kind: str, selector: str | None = None) -> AsyncIterator[Page]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        async for page in pages(kind, selector):
            yield page
        at_once -= 1

    world.kubernetes.pages = counted  # type: ignore[method-assign]
    await runtime.caches.start()
    await runtime.caches.stop()
    listed = [read.split()[1] for read in world.kubernetes.reads if read.startswith("list ")]
    assert set(listed[: len(resource_kinds(TABLE))]) == set(resource_kinds(TABLE))
    assert most == 2
