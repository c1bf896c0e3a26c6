"""What a server's builders make, before the real API server and under the `restricted` Pod Security Standard."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.pods import PodTemplate
from livekit_operator.clients.api_resources import RESOURCES
from livekit_operator.constants import FIELD_MANAGER
from livekit_operator.manifests.metadata import COMPONENT_SERVER, Manifest, selector
from livekit_operator.manifests.pod_template import apply_template
from livekit_operator.servers.manifests import managed_redis, media, policies, signalling, turn
from livekit_operator.servers.manifests.media import SlotPorts
from tests.fakes import manifests
from tests.harness.api import Answer, Api
from tests.integration.conftest import create_namespace, delete_namespace

Spec = dict[str, Any]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
CLOUD: Spec = {
    "annotations": {"cloud.example/kind": "network"},
    "loadBalancerClass": "cloud.example/lb",
    "sourceRanges": ["192.0.2.0/24"],
}
TURN: Spec = {"domain": "turn.example.com", "udp": True, "tls": {"external": True, "service": CLOUD}}
REDIS: Spec = {"redis": {"managed": {"resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}}}}}
SLOTS = {0: SlotPorts((31000, 31000), 31001, 31002), 1: SlotPorts((7882, 7885), 7881)}
SPECS: dict[str, Spec] = {
    "defaults": {},
    "host network, reached in every way": {"signal": {"service": {"type": "NodePort"}}, "turn": TURN, **REDIS},
    "node ports": {"media": {"exposure": "NodePort"}, "turn": {"udp": True}, "prometheus": {}, "replicas": 2, **REDIS},
    "given node ports": {"media": {"exposure": "NodePort", "nodePorts": {"start": 32700, "end": 32767}}, "signal": {}},
    "load balancers": {
        "media": {
            "exposure": "LoadBalancer",
            "loadBalancer": CLOUD,
            "udp": {"muxPorts": {"start": 7882, "end": 7885}},
        },
        "signal": {"service": CLOUD},
        "turn": TURN,
        "prometheus": {"allowedNamespaces": ["monitoring"]},
    },
    "an ingress": {
        "signal": {
            "ingress": {
                "host": "voice.example.com",
                "className": "nginx",
                "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "86400"},
                "tls": {"issuerRef": {"name": "ca"}},
            }
        }
    },
    "a plain ingress": {"signal": {"ingress": {"host": "voice.example.com"}}},
}


@pytest.fixture
async def restricted(api: Api) -> AsyncIterator[str]:
    """Return a namespace that lets in only pods without privileges; it is deleted after the test."""
    name = f"test-{secrets.token_hex(4)}"
    await create_namespace(api, name, RESTRICTED)
    yield name
    await delete_namespace(api, name)


async def create_server(api: Api, namespace: str, **spec: Any) -> LiveKitServer:
    """Create a LiveKitServer that no operator looks after: children need an owner that exists."""
    return LiveKitServer.model_validate(await api.create(manifests.server(namespace=namespace, **spec)))


async def apply(api: Api, manifest: Manifest, *, dry_run: bool = False) -> Answer:
    metadata = manifest["metadata"]
    path = RESOURCES[manifest["kind"]].path(metadata["namespace"], metadata["name"])
    return await api.apply(path, manifest, FIELD_MANAGER, dry_run=dry_run)


def children(server: LiveKitServer) -> list[Manifest]:
    """Return everything of kinds that every cluster has."""
    wanted = [
        signalling.build_signal_service(server),
        media.build_slot_service(server, 0, None),
        signalling.build_ingress(server),
        turn.build_turn_service(server),
        *policies.build_network_policies(server, "operators", SLOTS),
        policies.build_disruption_budget(server),
        policies.build_service_account(server),
        *managed_redis.build_managed_redis(server, "a-password", "redis:7.2-alpine"),
    ]
    return [manifest for manifest in wanted if manifest is not None]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
async def test_children_are_accepted(api: Api, restricted: str, spec: Spec) -> None:
    server = await create_server(api, restricted, **spec)
    answers = {
        f"{manifest['kind']}/{manifest['metadata']['name']}": await apply(api, manifest, dry_run=True)
        for manifest in children(server)
    }
    assert {name: answer.message for name, answer in answers.items() if answer.status >= 300} == {}


async def test_redis_needs_no_privileges(api: Api, restricted: str) -> None:
    server = await create_server(api, restricted, **REDIS)
    (await apply(api, policies.build_service_account(server))).accepted()
    (await try_pod(api, restricted, pod_of_redis(server))).accepted()


async def test_overridden_pods_need_no_privileges(api: Api, restricted: str) -> None:
    server = await create_server(api, restricted, **REDIS)
    (await apply(api, policies.build_service_account(server))).accepted()
    template = PodTemplate.model_validate(
        {
            "labels": {"team": "voice"},
            "annotations": {"note": "any text"},
            "nodeSelector": {"media": "yes"},
            "tolerations": [{"key": "media", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [{"name": "extra", "emptyDir": {}}],
            "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
        }
    )
    pod = pod_of_redis(server)
    metadata, spec = apply_template(
        pod["metadata"], pod["spec"], template, container="redis", selector=selector(server, COMPONENT_SERVER)
    )
    created = (await try_pod(api, restricted, {"metadata": metadata, "spec": spec})).accepted()
    assert created["metadata"]["labels"]["team"] == "voice"
    assert created["spec"]["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"


async def test_node_ports_are_chosen_once_and_stay(api: Api, restricted: str) -> None:
    """What runs in a slot has told its clients the ports: neither a second pass nor a first one again moves them."""
    server = await create_server(api, restricted, media={"exposure": "NodePort"}, turn={"udp": True})

    async def applied(current: Manifest | None) -> Manifest:
        manifest = media.build_slot_service(server, 0, current)
        assert manifest is not None
        return (await apply(api, manifest)).accepted()

    first = await applied(None)
    chosen = media.slot_ports(server, first)
    assert chosen is not None
    assert chosen.turn_udp is not None

    second = await applied(first)
    targets = {port["name"]: (port["targetPort"], port["nodePort"]) for port in second["spec"]["ports"]}
    assert targets == {
        "media": (chosen.udp[0],) * 2,
        "ice-tcp": (chosen.tcp,) * 2,
        "turn-udp": (chosen.turn_udp,) * 2,
    }
    # As after a start of the operator that has not seen the Service yet.
    assert media.slot_ports(server, await applied(None)) == chosen
    third = await applied(second)
    assert third["spec"]["ports"] == second["spec"]["ports"]
    assert media.slot_ports(server, third) == chosen


async def try_pod(api: Api, namespace: str, pod: Manifest) -> Answer:
    """Have the API server, with its admission, look at a pod without making it."""
    metadata = {**pod["metadata"], "name": "pod", "namespace": namespace}
    return await api.try_create({"apiVersion": "v1", "kind": "Pod", **pod, "metadata": metadata}, dryRun="All")


def pod_of_redis(server: LiveKitServer) -> Manifest:
    made = managed_redis.build_managed_redis(server, "a-password", "redis:7.2-alpine")
    template: Manifest = next(m for m in made if m["kind"] == "Deployment")["spec"]["template"]
    return template
