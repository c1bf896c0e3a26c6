"""Nothing of a resource outlives it but for a while: every memory there is, the next one too, is empty in the end."""

from prometheus_client import CollectorRegistry

from livekit_operator.process.runtime import Runtime
from livekit_operator.process.wiring import TABLE
from livekit_operator.reconciling.forgetting import forget_old
from livekit_operator.settings import Settings
from livekit_operator.views import RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.remains import left, sizes
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.world import World

GUESTS = "guests"
ROOM = manifests.room(tokens=[{"identity": "alice"}], agents=[{"poolRef": {"name": "front-desk"}}], kind="VoiceAgent")
# Longer than anything is remembered that nobody asks for.
LONG = 3600.0


def server() -> Manifest:
    return manifests.server(
        keysSecretRef={"name": "my-keys"},
        allowedNamespaces=[GUESTS],
        allowedPoolNamespaces=[GUESTS],
    )


def guest(manifest: Manifest) -> Manifest:
    """Return a resource of another namespace that uses the same server."""
    manifest["spec"]["serverRef"]["namespace"] = NAMESPACE
    return manifest


def resources() -> list[Manifest]:
    """Return one of everything, and more: some that cannot become ready."""
    return [
        server(),
        manifests.server("wrong", signal={"externalUrl": "wss://b.example.com"}, keysSecretRef={"name": "missing"}),
        manifests.pool(replicas=2, roomPrefix="phone-", allowedNamespaces=[GUESTS]),
        guest(manifests.pool("guests-desk", GUESTS)),
        manifests.pool("nowhere", serverRef={"name": "missing"}),
        ROOM,
        guest(manifests.room("theirs", GUESTS, agents=[{"poolRef": {"name": "front-desk", "namespace": NAMESPACE}}])),
        manifests.room("taken", roomName="support-42"),
        manifests.room("lost", agents=[{"poolRef": {"name": "missing"}}]),
    ]


def prepare(world: World) -> None:
    """Put there what the resources refer to."""
    for namespace in (NAMESPACE, GUESTS):
        world.kubernetes.put(manifests.providers_secret(namespace))
    world.kubernetes.put(manifests.keys_secret())


def people_come(world: World) -> None:
    """Let people call: in a room of a resource, and in two that only the pool serves."""
    for name in ("phone-1", "phone-2"):
        world.livekit.start_room(RoomSettings(name, 0, 300, 20, ""))
        world.livekit.join(name, "bob")
    world.livekit.join("support-42", "alice")
    pods = world.agent_pods()
    world.say(pods[0], jobs={"AJ_1": "phone-1"})


def labels(registry: CollectorRegistry) -> set[str]:
    """Return all values of labels but those of the operator's own: kinds, results, verbs."""
    told = [sample.labels for metric in registry.collect() for sample in metric.samples]
    return {value for one in told for name, value in one.items() if name in ("namespace", "pool", "name", "revision")}


async def test_a_world_that_was_emptied_leaves_nothing(world: World) -> None:
    before = sizes(world.context)
    prepare(world)
    for manifest in resources():
        world.kubernetes.put(manifest)
    for _ in range(3):
        for step in (world.run_server, world.run_pods):
            await world.round()
            step()
            world.clock.advance(20)
    people_come(world)
    for _ in range(4):
        await world.round()
        world.clock.advance(6)
    held = left(before, world.context)
    for name in ("servers", "pools", "asked_agents", "kept_tokens", "understood", "brakes", "events", "claims"):
        assert any(f".{name}" in one for one in held), f"{name} is not put to the test: {held}"
    for kind, namespace, name in list(world.kubernetes.objects):
        if kind in world.context.resources and world.kubernetes.peek(kind, namespace, name):
            world.kubernetes.ask_to_delete(kind, namespace, name)
    for _ in range(4):
        await world.round()
        for server_name in ("voice", "wrong"):
            for pod in world.server_pods(server_name, leaving=True):
                world.kubernetes.vanish("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        world.end_pods()
        world.clock.advance(90)
    assert [kind for kind in world.context.resources if world.kubernetes.names(kind)] == []
    world.clock.advance(LONG)
    forget_old(world.context)
    assert left(before, world.context) == []
    assert labels(world.context.metrics.registry) == set()
    assert world.livekit.closed == len(world.livekit.connections)


async def test_an_operator_whose_resources_are_all_gone_remembers_nothing() -> None:
    world = World()
    settings = Settings(agent_image="agent:1", clock_look_seconds=0.02, server_poll_seconds=0.1, pool_poll_seconds=0.1)
    async with running(world.kubernetes, world.worker, world.livekit.connect, settings) as runtime:
        runtime.context.now = world.clock
        waiting = [f"Runtime.leader.controllers[{kind}].queue._waiting" for kind in TABLE]
        await eventually(lambda: all(sizes(runtime)[one] for one in waiting), "all workers to wait for something to do")
        before = sizes(runtime)
        await live(world, runtime)
        for kind, namespace, name in list(world.kubernetes.objects):
            if kind in runtime.context.resources:
                world.kubernetes.ask_to_delete(kind, namespace, name)
        world.kubernetes.vanish("Node", "", "node-1")

        def all_gone() -> bool:
            for leaving in (pod for one in ("voice", "wrong") for pod in world.server_pods(one, leaving=True)):
                world.kubernetes.vanish("Pod", leaving["metadata"]["namespace"], leaving["metadata"]["name"])
            world.end_pods()
            world.clock.advance(20)
            return not any(world.kubernetes.names(kind) for kind in runtime.context.resources)

        await eventually(all_gone, "everything to be deleted")
        world.clock.advance(LONG)

        def nothing_left() -> bool:
            world.collect_garbage()
            return not left(before, runtime)

        try:
            await eventually(nothing_left, "every memory to be empty")
        finally:
            assert left(before, runtime) == []
        assert labels(runtime.context.metrics.registry) == set()


async def live(world: World, runtime: Runtime) -> None:
    """Let everything there is come up, and people call."""
    prepare(world)
    world.kubernetes.put({"kind": "Node", "metadata": {"name": "node-1", "labels": {}}, "spec": {}})
    for manifest in resources():
        world.kubernetes.put(manifest)

    def serves() -> bool:
        world.run_server()
        world.run_pods()
        return "support-42" in world.livekit.rooms and len(runtime.context.pools) > 1

    await eventually(serves, "the room to be open")
    people_come(world)
    await eventually(lambda: len(runtime.context.asked_agents) > 2, "agents to be asked for")
