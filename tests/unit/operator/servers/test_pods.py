"""What a server's pods are as values, and how one is found and asked."""

from datetime import UTC, datetime
from typing import Any

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.servers.decisions.key_rotation import ApiKey
from livekit_operator.servers.decisions.rollout import ServerPod
from livekit_operator.servers.pods import Replica, Replicas, advertised, connect_to, pods_of, slot_of
from tests.fakes import models
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def pod(*variables: Manifest, ports: Any = ({"name": "signal", "containerPort": 7880},), **status: str) -> Manifest:
    """Return a server's pod beside whose container a mesh has put its own."""
    mesh = {
        "name": "proxy",
        "ports": [{"name": "signal", "containerPort": 1}],
        "env": [{"name": "NODE_IP", "value": "x"}],
    }
    own = {"name": "livekit-server", "ports": list(ports), "env": list(variables)}
    return {"metadata": {"name": "voice-livekit-0"}, "spec": {"containers": [mesh, own]}, "status": status}


def replica(manifest: Manifest, public: str | None = None, **view: Any) -> Replica:
    return Replica(manifest, ServerPod("voice-livekit-0", 0, NOW, **view), public=public)


@pytest.mark.parametrize(
    ("manifest", "url"),
    [
        (pod(podIP="10.244.2.1"), "ws://10.244.2.1:7880"),
        (pod(podIP="2001:db8::7"), "ws://[2001:db8::7]:7880"),
        (
            pod(ports=({"name": "ice-tcp", "containerPort": 1}, {"name": "signal", "containerPort": 9}), podIP="a"),
            "ws://a:9",
        ),
        (pod(), "ws://:7880"),
    ],
)
def test_the_signalling_of_one_server(manifest: Manifest, url: str) -> None:
    assert replica(manifest).signal_url == url


OF_ITS_NODE = {"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
GIVEN = {"name": "NODE_IP", "value": "203.0.113.9"}


@pytest.mark.parametrize(
    ("manifest", "public", "address", "media"),
    [
        pytest.param(pod(OF_ITS_NODE, hostIP="10.0.0.1"), "203.0.113.1", None, "10.0.0.1", id="that of its node"),
        pytest.param(pod(OF_ITS_NODE), None, None, None, id="which has none yet"),
        pytest.param(pod(GIVEN, hostIP="10.0.0.1"), None, "203.0.113.9", "203.0.113.9", id="the one it is given"),
        pytest.param(pod(hostIP="10.0.0.1"), "203.0.113.1", None, "203.0.113.1", id="it finds the public one"),
        pytest.param(pod(hostIP="10.0.0.1"), None, None, None, id="which only it knows"),
    ],
)
def test_the_address_that_a_server_advertises(
    manifest: Manifest, public: str | None, address: str | None, media: str | None
) -> None:
    assert advertised(manifest) == address
    assert replica(manifest, public).media_address == media


@pytest.mark.parametrize(
    ("view", "stays", "serves"),
    [
        ({"ready": True, "serving": True}, True, True),
        ({"ready": True}, True, False),
        ({"serving": True}, True, False),
        ({"ready": True, "serving": True, "unreachable": True}, True, False),
        ({"ready": True, "serving": True, "leaving": True}, False, False),
        ({"ready": True, "serving": True, "finished": True}, False, False),
    ],
)
def test_who_stays_and_who_serves(view: dict[str, Any], stays: bool, serves: bool) -> None:
    replicas = Replicas([replica(pod(), **view)])
    assert (len(replicas.staying), len(replicas.serving), len(replicas.views)) == (stays, serves, 1)


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        ("voice-livekit-0", 0),
        ("voice-livekit-12", 12),
        ("voice-livekit-01", None),
        ("voice-livekit-x", None),
        ("voice-livekit", None),
        ("video-livekit-0", None),
    ],
)
def test_a_slot_is_in_the_name(name: str, slot: int | None) -> None:
    assert slot_of(models.server(), {"metadata": {"name": name}}) == slot


async def test_only_a_pod_with_the_name_of_a_slot_is_a_server(world: World) -> None:
    await world.with_server()
    own = world.get("Pod", "voice-livekit-0")
    metadata = {key: own["metadata"][key] for key in ("namespace", "labels", "ownerReferences")}
    component = {"labels": {**metadata["labels"], "app.kubernetes.io/component": "server-check"}}
    for name, other in (("voice-livekit-debug", {}), ("voice-livekit-7", component)):
        world.kubernetes.put({**own, "metadata": {**metadata, **other, "name": name}})
    world.kubernetes.put({**own, "metadata": {**metadata, "name": "voice-livekit-8", "ownerReferences": []}})
    server = LiveKitServer.model_validate(world.get("LiveKitServer", "voice"))
    assert [found["metadata"]["name"] for found in pods_of(world.context, server)] == ["voice-livekit-0"]
    checks = pods_of(world.context, server, "server-check")
    assert [found["metadata"]["name"] for found in checks] == ["voice-livekit-7"]
    for name in ("voice-livekit-debug", "voice-livekit-7", "voice-livekit-8"):
        world.kubernetes.vanish("Pod", NAMESPACE, name)


@pytest.mark.parametrize(
    ("address", "url"), [("10.244.2.1", "http://10.244.2.1:7999"), ("2001:db8::7", "http://[2001:db8::7]:7999")]
)
def test_one_server_is_asked_at_its_own_address(address: str, url: str) -> None:
    world = World()
    connect_to(world.context, models.server(signal={"port": 7999}), address, ApiKey("APIx", "secret"))
    assert world.livekit.connections == [(url, "APIx", "secret")]
