"""What stands around a server's pods: put back, made again, let go, and left alone where it is another's."""

from typing import Any

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.errors import Blocked, KubernetesError
from livekit_operator.manifests.metadata import digest
from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState
from livekit_operator.servers.manifests.pod import ServerInputs
from livekit_operator.servers.surroundings import read_inputs
from livekit_operator.settings import Allowed, Settings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest, condition
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import settled, started


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount", "PodDisruptionBudget"])
async def test_a_foreign_child_is_left_alone(world: World, kind: str) -> None:
    foreign = world.kubernetes.put(
        {"kind": kind, "metadata": {"name": "voice-livekit", "namespace": NAMESPACE}, "spec": {}}
    )
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert f"{kind} team/voice-livekit" in world.message("LiveKitServer", "voice")
    assert world.get(kind, "voice-livekit") == foreign


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        pytest.param("Service", {"spec": {"ports": []}}, id="ports"),
        pytest.param("Service", {"spec": {"selector": {"app.kubernetes.io/instance": "x"}}}, id="selector"),
        pytest.param("Service", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, id="labels"),
        pytest.param("ServiceAccount", {"automountServiceAccountToken": True}, id="token"),
        pytest.param("PodDisruptionBudget", {"spec": {"maxUnavailable": 1}}, id="budget"),
    ],
)
async def test_what_is_changed_by_hand_is_put_back(world: World, kind: str, patch: dict[str, Any]) -> None:
    await world.with_server()
    before = world.get(kind, "voice-livekit")
    world.kubernetes.edit(kind, NAMESPACE, "voice-livekit", patch)
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    after = world.get(kind, "voice-livekit")
    assert {**after, "metadata": {}} == {**before, "metadata": {}}
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert [write.what for write in world.kubernetes.writes if write.verb == "apply"] == [f"apply {kind}/voice-livekit"]


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount", "PodDisruptionBudget"])
async def test_what_is_deleted_by_hand_is_made_again(world: World, kind: str) -> None:
    await world.with_server()
    world.kubernetes.vanish(kind, NAMESPACE, "voice-livekit")
    await world.settle()
    assert world.get(kind, "voice-livekit")


async def test_what_the_api_server_adds_is_no_change(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", {"spec": {"clusterIPs": ["10.96.0.10"]}})
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert [what for what in world.written() if what.startswith("apply")] == []


async def test_a_child_without_our_label_is_still_ours(world: World) -> None:
    await world.with_server()
    unlabelled = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", unlabelled)
    await world.reconcile("LiveKitServer", "voice")
    assert world.get("Service", "voice-livekit")["metadata"]["labels"]["app.kubernetes.io/managed-by"]


@pytest.mark.parametrize(
    ("kind", "name", "spec", "reason"),
    [
        (
            "HTTPRoute",
            "voice-livekit",
            {"gateway": {"parentRefs": [{"name": "g"}], "host": "a.b"}},
            "GatewayApiMissing",
        ),
        (
            "Certificate",
            "voice-signal-tls",
            {"ingress": {"host": "a.b", "tls": {"issuerRef": {"name": "i"}}}},
            "CertManagerMissing",
        ),
    ],
)
async def test_kinds_of_other_projects(world: World, kind: str, name: str, spec: Manifest, reason: str) -> None:
    world.kubernetes.missing_kinds.add(kind)
    await started(world, signal=spec)
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", reason)
    assert world.ready("LiveKitServer", "voice") == ("False", reason), "its URL leads nowhere"
    world.kubernetes.missing_kinds.clear()
    await settled(world)
    assert world.get(kind, name)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert await world.writes_of_another_round() == []
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"signal": {"gateway": None, "ingress": None}}})
    await settled(world)
    assert world.kubernetes.peek(kind, NAMESPACE, name) is None


async def test_a_missing_cert_manager_is_named_before_the_secret_it_would_write(world: World) -> None:
    world.kubernetes.missing_kinds.add("Certificate")
    turn = {"domain": "turn.a.b", "tls": {"certificate": {"issuerRef": {"name": "i"}}}}
    world.kubernetes.put(manifests.server(turn=turn))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "CertManagerMissing")
    world.kubernetes.missing_kinds.clear()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "SecretNotFound")


async def test_what_an_earlier_spec_wanted_goes(world: World) -> None:
    await started(world, redis={"managed": {}}, signal={"ingress": {"host": "a.b"}}, media={"exposure": "NodePort"})
    assert world.get("Ingress", "voice-livekit")
    assert world.get("Deployment", "voice-redis")
    assert len(world.kubernetes.names("NetworkPolicy")) >= 3
    plain = {"redis": None, "signal": {"ingress": None}, "media": {"exposure": "HostNetwork"}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": plain})
    await settled(world)
    for kind in ("Ingress", "Deployment", "NetworkPolicy"):
        assert world.kubernetes.names(kind) == [], kind
    assert world.kubernetes.names("Service") == ["voice-livekit"]
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"]


def config(world: World, name: str = "voice") -> str:
    """Return the configuration of a server's pods."""
    (pod,) = world.server_pods(name)
    (container,) = pod["spec"]["containers"]
    return next(str(v["value"]) for v in container["env"] if v["name"] == "LIVEKIT_CONFIG")


async def test_without_a_webhook_url_the_server_is_told_of_none(world: World) -> None:
    quiet = World(Settings(agent_image="agent:1"))
    quiet.kubernetes.put(manifests.server())
    await quiet.settle()
    assert "webhook" not in config(quiet)
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert "http://operator:8080/webhooks/team/voice" in config(world)


async def test_a_failing_api_server_is_an_error_and_heals(world: World) -> None:
    world.kubernetes.fail("apply", "Service", KubernetesError(500, "InternalError", "etcd"), once=True)
    world.kubernetes.put(manifests.server())
    with pytest.raises(KubernetesError, match="etcd"):
        await world.reconcile("LiveKitServer", "voice")
    await world.settle()
    assert world.get("Service", "voice-livekit")


async def test_what_the_api_server_refuses_stops_nothing_else(world: World) -> None:
    world.kubernetes.fail("apply", "Ingress", KubernetesError(403, "Forbidden", "exceeded quota: ingresses"))
    await started(world, signal={"ingress": {"host": "a.b"}})
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "KubernetesRefused")


INGRESS = {"ingress": {"host": "voice.example.com"}, "externalUrl": None}


def allowing(**allowed: Any) -> Settings:
    return Settings(agent_image="agent:1", webhook_url="http://operator:8080", allowed=Allowed(**allowed))


async def served(world: World, **spec: Any) -> None:
    world.kubernetes.put(manifests.server(**spec))
    await world.settle()
    world.run_server()
    await world.settle()


def degraded(world: World) -> tuple[str, str]:
    found = condition(world.get("LiveKitServer", "voice"), "Degraded")
    return found["reason"], found["message"]


async def test_an_ingress_that_is_not_allowed_is_not_made_and_said(world: World) -> None:
    annotations = {"nginx.ingress.kubernetes.io/configuration-snippet": "return 200;"}
    await served(world, signal={"ingress": {"host": "voice.example.com", "annotations": annotations}})
    assert world.kubernetes.names("Ingress") == []
    assert len(world.server_pods()) == 1, "calls inside the cluster go on"
    message = (
        "spec.signal.ingress.annotations: nginx.ingress.kubernetes.io/configuration-snippet is not allowed; "
        "the chart's value allowed.deniedAnnotations says what is: choose that, or change it."
    )
    assert degraded(world) == ("NotAllowed", message)
    assert world.ready("LiveKitServer", "voice") == ("False", "NotAllowed"), "nobody outside gets in"


async def test_an_ingress_that_is_allowed_no_more_goes() -> None:
    world = World(allowing())
    await served(world, signal={"ingress": {"host": "voice.example.com"}})
    assert world.kubernetes.names("Ingress") == ["voice-livekit"]
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    world.context.settings = allowing(hosts={"*": ["*.example.org"]})
    await world.settle()
    assert world.kubernetes.names("Ingress") == []
    assert "spec.signal.ingress.host: voice.example.com in namespace team is not allowed" in degraded(world)[1]
    assert await world.writes_of_another_round() == []


@pytest.mark.parametrize(
    ("allowed", "spec", "field"),
    [
        ({"host_network": False}, {}, "spec.media.exposure"),
        ({}, {"podTemplate": {"priorityClassName": "system-node-critical"}}, "spec.podTemplate.priorityClassName"),
    ],
)
async def test_pods_that_are_not_allowed_are_not_started_and_those_that_run_go_on(
    allowed: dict[str, Any], spec: dict[str, Any], field: str
) -> None:
    world = World(allowing(**allowed))
    await served(world, **spec)
    assert world.server_pods() == []
    assert world.ready("LiveKitServer", "voice") == ("False", "NotAllowed")
    assert degraded(world)[1].startswith(f"{field}: ")
    world.context.settings = allowing(priority_classes=["*", "system-node-critical"])
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    world.context.settings = allowing(**allowed)
    await world.settle()
    assert len(world.server_pods()) == 1
    assert degraded(world)[0] == "NotAllowed"


async def test_a_load_balancer_that_is_allowed_no_more_keeps_who_is_on_it() -> None:
    world = World(allowing())
    signal = {"service": {"type": "LoadBalancer"}, "externalUrl": "wss://voice.example.com"}
    await served(world, signal=signal)
    assert world.get("Service", "voice-livekit")["spec"]["type"] == "LoadBalancer"
    world.context.settings = allowing(load_balancer_classes=[])
    await world.settle()
    assert world.get("Service", "voice-livekit")["spec"]["type"] == "LoadBalancer"
    assert degraded(world)[0] == "NotAllowed"
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_load_balancer_that_is_not_allowed_is_not_made() -> None:
    world = World(allowing(load_balancer_classes=[]))
    await served(world, signal={"service": {"type": "LoadBalancer"}})
    assert world.kubernetes.names("Service") == []
    assert world.ready("LiveKitServer", "voice") == ("False", "NotAllowed")
    assert "spec.signal.service.loadBalancerClass" in world.message("LiveKitServer", "voice")


async def test_a_route_that_cannot_be_made_cuts_nobody_off_who_comes_another_way(world: World) -> None:
    world.kubernetes.missing_kinds.add("HTTPRoute")
    gateway = {"parentRefs": [{"name": "g"}], "host": "a.b"}
    await started(world, signal={"gateway": gateway, "externalUrl": "wss://voice.example.com"})
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "GatewayApiMissing")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_optional_objects_of_an_earlier_spec_are_looked_for_once(world: World) -> None:
    await world.with_server()
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    looked_for = "get HTTPRoute/voice-livekit"
    assert looked_for not in world.kubernetes.reads
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"drainTimeoutSeconds": 5}})
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.reads.count(looked_for) == 1
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.reads.count(looked_for) == 1


REDIS = {"address": "redis.example:6379", "passwordSecretRef": {"name": "redis", "key": "password"}}


async def inputs_of(world: World, **spec: Any) -> ServerInputs:
    """Return what servers of a spec would be started with."""
    server = LiveKitServer.model_validate(manifests.stored(manifests.server(**spec)))
    return await read_inputs(world.context, server, KeyState(KEY, (KEY,), salt="salt"))


KEY = ApiKey("id", "secret")


async def test_a_secret_is_known_by_a_digest_that_nobody_can_try_guesses_at(world: World) -> None:
    world.kubernetes.put(manifests.secret("redis", password="hunter2"))
    inputs = await inputs_of(world, redis=REDIS)
    assert inputs.secrets_digest == digest(["aHVudGVyMg=="], 8, salt="salt")
    assert (await inputs_of(world)).secrets_digest == ""


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"redis": REDIS}, "SecretNotFound", id="a Secret that is not there"),
        pytest.param({"extraConfig": {"rtc": {"udp_port": 7882}}}, "ConfigRejected", id="what a field is for"),
        pytest.param(
            {"podTemplate": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}},
            "PodTemplateRejected",
            id="a volume of the host",
        ),
    ],
)
async def test_what_is_wrong_is_said_before_anything_waits_for_it(
    world: World, spec: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Blocked) as blocked:
        await inputs_of(world, **spec)
    assert blocked.value.problem.reason == reason
