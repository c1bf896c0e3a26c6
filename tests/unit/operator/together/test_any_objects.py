"""Whatever objects there are: the operator writes into its resources' namespaces alone, and no pass of it fails.

Passes are run here; that what they are woken by ends no part of the operator either is in the last test.
"""

import asyncio
import base64
import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livekit_operator.errors import KubernetesError
from livekit_operator.process.wiring import TABLE, child_kinds
from livekit_operator.settings import Settings
from tests.fakes import manifests
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.worker import FakeWorker
from tests.fakes.world import World

MALLORY = "mallory"
GROUP = "livekit-operator.dev"
API_VERSIONS = {
    "Deployment": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Ingress": "networking.k8s.io/v1",
}
RESOURCES = (("LiveKitServer", "voice"), ("VoiceAgentPool", "front-desk"), ("MeetingRoom", "support-42"))

DEEP = "[" * 3_000
MOMENTS = ["yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-03-01T12:00:00", ""]
texts = st.one_of(st.text(max_size=20), st.sampled_from([*MOMENTS, DEEP, "{}", "[]", "null", "1e999", '{"spec": 1}']))
# Kubernetes takes no other values of labels.
values = st.one_of(
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True),
    st.sampled_from(
        ["", "true", "9" * 63, "007", "UndeclaredRoom", "server", "agent", "room", "redis", "server-check"]
    ),
)
OWN_LABELS = {
    "app.kubernetes.io/managed-by": ["livekit-operator"],
    "app.kubernetes.io/name": ["livekit-server", "voice-agent", "meeting-room", "redis"],
    "app.kubernetes.io/instance": ["voice", "front-desk", "support-42"],
    "app.kubernetes.io/component": ["server", "server-check", "agent", "room", "redis"],
}
NAMES = (
    "voice-livekit-keys",
    "voice-livekit",
    "voice-livekit-0",
    "voice-livekit-1",
    "voice-livekit-x",
    "voice-livekit-check-01234567",
    "front-desk-agent",
    "front-desk-agent-versions",
    "front-desk-agent-0123456789",
    "front-desk-01234-abcdef",
    "front-desk-busy",
    "support-42-alice",
    "support-42-mallory",
    "mine",
)


@st.composite
def references(draw: st.DrawFn) -> Manifest:
    kind, name = draw(st.sampled_from([*RESOURCES, ("UndeclaredRoom", "voice/support-42"), ("Job", "mine")]))
    return {
        "apiVersion": draw(st.sampled_from([f"{GROUP}/v1alpha1", f"{GROUP}/v1", "batch/v1", "v1"])),
        "kind": kind,
        "name": draw(st.sampled_from([name, name, "another"])),
        # Filled in with the true one when that is known.
        "uid": draw(st.sampled_from(["true", "true", "dead"])),
        "controller": draw(st.booleans()),
    }


@st.composite
def metadata(draw: st.DrawFn) -> Manifest:
    labels = {name: draw(st.one_of(st.sampled_from(known), values)) for name, known in OWN_LABELS.items()}
    for name in ("revision", "track", "slot", "serving", "busy"):
        if draw(st.booleans()):
            labels[f"{GROUP}/{name}"] = draw(values)
    known = ["applied", "inputs", "keys", "slot-inputs", "rotation", "key-in-use-since", "key-users-moved"]
    known += ["claims-since", "expires-at", "token-inputs", "revokes", "given", "served", "proven", "failed", "claim"]
    names = st.sampled_from([f"{GROUP}/{name}" for name in known])
    owners = draw(st.lists(references(), max_size=2))
    if all(owner["controller"] for owner in owners[1:]):
        owners = owners[:1]  # the API server takes one controller
    return {
        "namespace": draw(st.sampled_from([NAMESPACE, MALLORY])),
        "name": draw(st.sampled_from(NAMES)),
        "labels": {name: text for name, text in labels.items() if draw(st.integers(0, 5))},
        "annotations": draw(st.dictionaries(names, texts, max_size=5)),
        "ownerReferences": owners,
        **({"finalizers": ["a/b"], "deletionTimestamp": "2026-03-01T12:00:00Z"} if not draw(st.integers(0, 5)) else {}),
    }


def pod() -> st.SearchStrategy[Manifest]:
    names = st.sampled_from(["livekit-server", "agent", "proxy"])
    ports = st.lists(
        st.fixed_dictionaries(
            {"containerPort": st.integers(1, 65535)}, optional={"name": st.sampled_from(["signal", "status", "worker"])}
        ),
        max_size=3,
    )
    variables = st.lists(
        st.fixed_dictionaries({"name": st.sampled_from(["LIVEKIT_CONFIG", "NODE_IP", "x"])}, optional={"value": texts}),
        max_size=3,
    )
    container = st.fixed_dictionaries({"name": names}, optional={"ports": ports, "env": variables})
    state = st.sampled_from(
        [
            {"running": {}},
            {"terminated": {"exitCode": 1, "message": DEEP}},
            {"waiting": {"reason": "CrashLoopBackOff"}},
            {},
        ]
    )
    of_container = st.fixed_dictionaries({"name": names, "restartCount": st.integers(0, 9), "state": state})
    condition = st.fixed_dictionaries(
        {"type": st.sampled_from(["Ready", "PodScheduled"]), "status": st.sampled_from(["True", "False"])}
    )
    status = st.fixed_dictionaries(
        {"phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed"])},
        optional={
            "podIP": st.sampled_from(["192.0.2.66", "2001:db8::1"]),
            "hostIP": st.just("192.0.2.1"),
            "conditions": st.lists(condition, max_size=2),
            "containerStatuses": st.lists(of_container, max_size=2),
        },
    )
    spec = st.fixed_dictionaries({"containers": st.lists(container, min_size=1, max_size=2)})
    return st.fixed_dictionaries({"spec": spec, "status": status})


def contents(kind: str) -> st.SearchStrategy[Manifest]:
    """Return what an object of a kind may hold beside its metadata, as far as the API server takes it."""
    encoded = st.one_of(texts.map(str.encode), st.binary(max_size=20)).map(lambda raw: base64.b64encode(raw).decode())
    of_secrets = ["apiKey", "apiSecret", "keys.yaml", "token", "password", "0123456789", "deepgram", "../x"]
    port = st.fixed_dictionaries(
        {"port": st.integers(1, 65535)},
        optional={"name": st.sampled_from(["signal", "rtc-udp", "rtc-tcp"]), "nodePort": st.integers(30000, 32767)},
    )
    template = {"metadata": {}, "spec": {"containers": [{"name": "redis", "image": "mallory:1"}]}}
    known: dict[str, st.SearchStrategy[Manifest]] = {
        "Pod": pod(),
        "Secret": st.fixed_dictionaries({"data": st.dictionaries(st.sampled_from(of_secrets), encoded, max_size=4)}),
        "ConfigMap": st.fixed_dictionaries(
            {
                "data": st.dictionaries(st.sampled_from(["config.json", "template.json", "x"]), texts, max_size=3),
                "immutable": st.booleans(),
            }
        ),
        "Service": st.fixed_dictionaries({"spec": st.fixed_dictionaries({"ports": st.lists(port, max_size=3)})}),
        "Deployment": st.just({"spec": {"template": template}}),
    }
    return known.get(kind, st.just({"spec": {}} if kind != "ServiceAccount" else {}))


@st.composite
def objects(draw: st.DrawFn) -> Manifest:
    kind = draw(st.sampled_from([*child_kinds(TABLE), "Pod", "Secret", "ConfigMap"]))
    made = {"apiVersion": API_VERSIONS.get(kind, "v1"), "kind": kind, "metadata": draw(metadata())}
    return {**made, **draw(contents(kind))}


def with_uids(manifest: Manifest, uids: dict[str, str]) -> Manifest:
    """Return an object that names the true uids of the resources that it says are its owners."""
    made = copy.deepcopy(manifest)
    for reference in made["metadata"]["ownerReferences"]:
        if reference["uid"] == "true":
            reference["uid"] = uids.get(reference["kind"], uids["LiveKitServer"])
    return made


def resources() -> list[Manifest]:
    tokens = [{"identity": "alice", "revoke": True}]
    agents = [{"poolRef": {"name": "front-desk"}}]
    return [manifests.server(), manifests.pool(), manifests.room(tokens=tokens, agents=agents)]


async def passes(world: World) -> None:
    """Look at every resource, as often as it may take until they come to rest; the API server may refuse."""
    for _ in range(4):
        for kind, name in RESOURCES:
            try:
                await world.reconcile(kind, name)
            except KubernetesError:
                continue
        world.run_server()
        world.run_pods()


def foreign_objects(world: World) -> dict[tuple[str, str, str], Manifest]:
    """Return what is in the stranger's namespace, but for what scheduler and kubelet write into pods there."""
    found = {key: copy.deepcopy(one) for key, one in world.kubernetes.objects.items() if key[1] == MALLORY}
    for pod in (one for key, one in found.items() if key[0] == "Pod"):
        del pod["status"], pod["metadata"]["resourceVersion"], pod["metadata"]["generation"]
        pod["spec"].pop("nodeName", None)
    return found


async def tried(made: list[Manifest], *, before: bool) -> None:
    world = World()
    world.kubernetes.put(manifests.providers_secret())
    uids = {manifest["kind"]: f"uid-of-{manifest['kind']}" for manifest in resources()}
    if not before:
        for manifest in resources():
            world.kubernetes.put({**manifest, "metadata": {**manifest["metadata"], "uid": uids[manifest["kind"]]}})
        await passes(world)
    for manifest in made:
        world.kubernetes.put(with_uids(manifest, uids))
    if before:
        for manifest in resources():
            world.kubernetes.put({**manifest, "metadata": {**manifest["metadata"], "uid": uids[manifest["kind"]]}})
    foreign = foreign_objects(world)
    await passes(world)
    world.clock.advance(40)
    world.context.key_states.clear()
    world.context.claims.clear()
    world.context.pools.clear()
    await passes(world)
    assert {write.namespace for write in world.kubernetes.writes} <= {NAMESPACE}
    assert foreign_objects(world) == foreign
    images = {c["image"] for p in world.agent_pods() for c in p["spec"]["containers"] if "image" in c}
    assert "mallory:1" not in images


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(objects(), min_size=1, max_size=4), st.booleans())
def test_no_object_makes_a_pass_fail_or_write_elsewhere(made: list[Manifest], before: bool) -> None:
    asyncio.run(tried(made, before=before))


async def run_with(made: list[Manifest]) -> None:
    world = World()
    world.kubernetes.put(manifests.providers_secret())
    values = {"agent_image": "agent:1", "server_poll_seconds": 0.01, "pool_poll_seconds": 0.01}
    async with running(
        world.kubernetes, FakeWorker(), FakeLiveKit().connect, Settings.model_validate(values)
    ) as runtime:
        uids = {}
        for manifest in resources():
            uids[manifest["kind"]] = world.kubernetes.put(manifest)["metadata"]["uid"]
        for manifest in made:
            world.kubernetes.put(with_uids(manifest, uids))

        def looked_at(kind: str, name: str) -> Any:
            status = world.get(kind, name)["status"]
            return status.get("observedGeneration") == world.get(kind, name)["metadata"]["generation"]

        await eventually(lambda: all(looked_at(*resource) for resource in RESOURCES), "every resource to be looked at")
        assert runtime.alive
    assert {write.namespace for write in world.kubernetes.writes} <= {NAMESPACE}


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(objects(), min_size=1, max_size=8))
def test_no_object_ends_a_part_of_the_operator(made: list[Manifest]) -> None:
    asyncio.run(run_with(made))
