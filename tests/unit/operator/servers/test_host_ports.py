"""What a server on the host network is told that has to wait for its ports."""

import pytest

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.servers.host_ports import port_conflict
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import started


async def test_the_later_of_two_servers_on_the_same_ports_is_told(world: World) -> None:
    await started(world)
    world.clock.advance(60)
    world.kubernetes.put(manifests.server("video"))
    await world.settle()
    assert world.ready("LiveKitServer", "video") == ("False", "PortConflict")
    assert world.message("LiveKitServer", "video").startswith("LiveKitServer voice has 7880/TCP")
    world.kubernetes.put(manifests.server("theirs", "guests"))
    await world.settle()
    message = world.message("LiveKitServer", "theirs", "guests")
    assert message.startswith("A LiveKitServer of another namespace has 7880/TCP")
    assert "voice" not in message
    assert world.server_pods("video") == []
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    other = {"signal": {"port": 7980}, "media": {"tcpPort": 7981, "udp": {"portRange": {"start": 51000, "end": 51100}}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "video", {"spec": other})
    await world.settle()
    assert len(world.server_pods("video")) == 1


async def test_a_server_that_never_runs_keeps_nobody_elses_from_starting(world: World) -> None:
    """It has no keys, and never gets any; the other one is of another tenant."""
    world.kubernetes.put(manifests.server(namespace="mallory", keysSecretRef={"name": "none"}))
    world.clock.advance(60)
    world.kubernetes.put(manifests.server("video"))
    await world.settle()
    assert world.ready("LiveKitServer", "video") == ("False", "PortConflict")
    message = world.message("LiveKitServer", "video")
    assert message.startswith("A LiveKitServer of another namespace has 7880/TCP"), message
    assert "mallory" not in message
    assert "voice" not in message
    assert await world.reconcile("LiveKitServer", "video") == 5.0
    world.clock.advance(241)
    await world.settle()
    assert len(world.server_pods("video")) == 1
    # The one that has them keeps them, whoever came first.
    world.run_server("video")
    world.kubernetes.put(manifests.keys_secret("none", "mallory"))
    world.clock.advance(60)
    await world.settle()
    assert world.ready("LiveKitServer", "voice", "mallory") == ("False", "PortConflict")
    assert world.ready("LiveKitServer", "video") == ("True", "Ready")


def pod_of(
    server: Manifest, *, node: str | None = "node-1", phase: str = "Running", component: str = "server"
) -> Manifest:
    """Return a pod of a server, on a node or on none."""
    owner = {key: server[key] for key in ("apiVersion", "kind")}
    owner |= {"name": server["metadata"]["name"], "uid": server["metadata"]["uid"], "controller": True}
    labels = {"app.kubernetes.io/component": component, "app.kubernetes.io/managed-by": "livekit-operator"}
    metadata = {"name": "voice-livekit-0", "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]}
    spec = {"containers": [], **({"nodeName": node} if node else {})}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("pod", "has_them"),
    [
        pytest.param({}, True, id="on a node"),
        pytest.param({"node": None}, False, id="on none"),
        pytest.param({"phase": "Succeeded"}, False, id="ended"),
        pytest.param({"phase": "Failed"}, False, id="failed"),
        pytest.param({"component": "server-check"}, False, id="only a check"),
    ],
)
def test_who_came_long_ago_has_its_ports_only_with_a_pod_on_a_node(pod: Manifest, has_them: bool) -> None:
    world = World()
    first = world.kubernetes.put(manifests.server())
    world.clock.advance(600)
    world.kubernetes.put(manifests.server("video"))
    later = LiveKitServer.model_validate(world.get("LiveKitServer", "video"))
    assert port_conflict(world.context, later) is None
    world.kubernetes.put(pod_of(first, **pod))
    problem = port_conflict(world.context, later)
    assert (problem is not None) is has_them
    if problem:
        assert (problem.reason, problem.retry_after) == (reasons.PORT_CONFLICT, 10.0)


@pytest.mark.parametrize(
    "spec", [{"media": {"exposure": "NodePort"}}, {"replicas": 0}, {"podTemplate": {"nodeSelector": {"zone": "b"}}}]
)
def test_who_takes_no_ports_of_the_same_nodes_waits_for_nobody(spec: Manifest) -> None:
    world = World()
    node = {"kind": "Node", "metadata": {"name": "node-1", "labels": {"zone": "a"}}, "spec": {}}
    world.kubernetes.put(node)
    world.kubernetes.put(manifests.server())
    world.clock.advance(1)
    world.kubernetes.put(manifests.server("video", **spec))
    later = LiveKitServer.model_validate(world.get("LiveKitServer", "video"))
    assert port_conflict(world.context, later) is None
