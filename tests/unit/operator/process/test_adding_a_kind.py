"""A kind that the operator does not have is added as docs/adding-a-kind.md says: by one row, and nothing else."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from livekit_operator.api.base import ApiModel
from livekit_operator.api.common import ObjectRef, Resource, Status
from livekit_operator.api.kinds import READY, Kind
from livekit_operator.conditions import Observed
from livekit_operator.constants import API_VERSION, GROUP, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.manifests.metadata import owner_reference
from livekit_operator.process.runtime import Runtime
from livekit_operator.process.wiring import TABLE, Row
from livekit_operator.reconciling import children
from livekit_operator.reconciling.finalizers import add_finalizer, remove_finalizer
from livekit_operator.reconciling.frame import reconcile
from livekit_operator.reconciling.links import Link
from livekit_operator.reconciling.status import Outcome
from livekit_operator.rooms.context import Context
from livekit_operator.servers.access import find_server
from livekit_operator.servers.links import server_of, to_server
from livekit_operator.settings import Settings
from tests.fakes.manifests import NAMESPACE
from tests.fakes.manifests import server as a_server
from tests.fakes.remains import left, sizes
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.world import World

FINALIZER = f"{GROUP}/doorbell"
# Everything that happens is brought by watches.
QUIET = Settings(agent_image="agent:1", clock_look_seconds=0.02, server_poll_seconds=3600)


class DoorbellSpec(ApiModel):
    """What its user writes."""

    server_ref: ObjectRef
    chime: str = "ding"


class Doorbell(Resource):
    """A resource that says in a ConfigMap where to call."""

    spec: DoorbellSpec


class DoorbellMetrics:
    """Metrics of each doorbell."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rung = Gauge("doorbell_passes", "Passes of a doorbell.", ["namespace", "name"], registry=registry)

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is told of one that is gone."""
        self.rung.remove_by_labels({"namespace": namespace, "name": name})


class Doorbells:
    """The slice: its memory, its pass, what it refers to."""

    def __init__(self) -> None:
        self.passes: dict[Key, int] = {}

    async def reconcile(self, context: Context, key: Key) -> float | None:
        return await reconcile(context, Doorbell, key, self._pass)

    async def forget(self, _context: Context, key: Key) -> None:
        self.passes.pop(key, None)

    async def _pass(self, context: Context, doorbell: Doorbell) -> Outcome | None:
        if doorbell.metadata.deletion_timestamp:
            await remove_finalizer(context, doorbell, FINALIZER)
            return None
        await add_finalizer(context, doorbell, FINALIZER)
        self.passes[doorbell.key] = self.passes.get(doorbell.key, 0) + 1
        context.metrics.of(DoorbellMetrics).rung.labels(*doorbell.key).set(self.passes[doorbell.key])
        server = find_server(context, doorbell, doorbell.spec.server_ref)
        url = server.status.get("externalUrl") or ""
        await children.ensure(context, doorbell, _note(doorbell, f"{doorbell.spec.chime} {url}"))
        return Outcome([Observed.ready(f"It calls {url}.")], None)


def _note(doorbell: Doorbell, text: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{doorbell.metadata.name}-note",
            "namespace": doorbell.metadata.namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_INSTANCE: doorbell.metadata.name},
            "ownerReferences": [owner_reference(doorbell, "Doorbell")],
        },
        "data": {"note": text},
    }


def links(manifest: Manifest) -> Iterable[Link]:
    """Return what a doorbell refers to."""
    if server := server_of(manifest):
        yield to_server(server)


def with_doorbells(doorbells: Doorbells) -> dict[str, Row]:
    """Return the table of kinds with one more row."""
    kind = Kind("Doorbell", "doorbells", "db", Doorbell, DoorbellSpec, Status, columns=(READY,))
    row = Row(
        "Doorbell",
        doorbells.reconcile,
        doorbells.forget,
        resource=kind,
        children=("ConfigMap",),
        links=links,
        finalizer=FINALIZER,
        metrics=DoorbellMetrics,
    )
    return {**TABLE, row.name: row}


def doorbell(**spec: Any) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "Doorbell",
        "metadata": {"name": "front", "namespace": NAMESPACE},
        "spec": {"serverRef": {"name": "voice"}, **spec},
    }


async def says(world: World, note: str) -> None:
    def is_so() -> bool:
        found = world.kubernetes.peek("ConfigMap", NAMESPACE, "front-note")
        return found is not None and found["data"]["note"] == note

    await eventually(is_so, f"the note {note!r}")


async def ready(world: World, reason: str) -> None:
    def is_so() -> bool:
        conditions = (world.get("Doorbell", "front").get("status") or {}).get("conditions") or []
        return any(one["type"] == "Ready" and one["reason"] == reason for one in conditions)

    await eventually(is_so, f"Doorbell front {reason}")


def told(runtime: Runtime, metric: str, **labels: str) -> float | None:
    return runtime.context.metrics.registry.get_sample_value(metric, labels)


async def test_a_kind_of_one_row_is_reconciled_woken_and_forgotten() -> None:
    world, doorbells = World(), Doorbells()
    table = with_doorbells(doorbells)
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET, table=table) as runtime:
        await eventually(lambda: sizes(runtime)["Runtime.leader.controllers[Doorbell].queue._waiting"], "idle workers")
        before = sizes(runtime)

        world.kubernetes.put(doorbell())
        await ready(world, "ServerNotFound")

        world.kubernetes.put(a_server())  # it refers to it: nobody else tells
        await eventually(world.server_pods, "the server's pod")
        world.run_server()
        await says(world, "ding wss://voice.example.com")
        await ready(world, "Ready")

        world.kubernetes.edit("Doorbell", NAMESPACE, "front", {"spec": {"chime": "dong"}})
        await says(world, "dong wss://voice.example.com")
        other = {"spec": {"signal": {"externalUrl": "wss://other.example.com"}}}
        world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", other)
        await says(world, "dong wss://other.example.com")
        world.kubernetes.edit("ConfigMap", NAMESPACE, "front-note", {"data": {"note": "by hand"}})
        await says(world, "dong wss://other.example.com")
        assert told(runtime, "livekit_operator_resources", kind="Doorbell") == 1
        assert (
            told(runtime, "doorbell_passes", namespace=NAMESPACE, name="front") == doorbells.passes[NAMESPACE, "front"]
        )

        world.kubernetes.ask_to_delete("Doorbell", NAMESPACE, "front")
        world.kubernetes.vanish("LiveKitServer", NAMESPACE, "voice")
        await eventually(lambda: not doorbells.passes, "the doorbell to be forgotten")
        world.clock.advance(3600)
        runtime.context.now = world.clock

        def nothing_left() -> bool:
            world.collect_garbage()
            return not left(before, runtime)

        await eventually(nothing_left, "every memory to be empty")
        assert told(runtime, "livekit_operator_resources", kind="Doorbell") == 0
        assert told(runtime, "doorbell_passes", namespace=NAMESPACE, name="front") is None


async def test_the_fake_world_runs_a_kind_of_one_row_too() -> None:
    doorbells = Doorbells()
    world = World(table=with_doorbells(doorbells))
    await world.with_server()
    world.kubernetes.put(doorbell())
    await world.settle()
    assert world.ready("Doorbell", "front") == ("True", "Ready")
    assert world.get("ConfigMap", "front-note")["data"] == {"note": "ding wss://voice.example.com"}
    world.kubernetes.ask_to_delete("Doorbell", NAMESPACE, "front")
    await world.settle()
    assert world.kubernetes.names("Doorbell") == []
    assert doorbells.passes == {}
