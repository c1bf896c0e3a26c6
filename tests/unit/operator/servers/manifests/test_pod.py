"""Servers' pods: what they are given, and what makes them other pods."""

from typing import Any

import pytest
import yaml

from livekit_operator.errors import Blocked
from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests.media import SlotPorts
from livekit_operator.servers.manifests.pod import (
    PodFacts,
    ServerInputs,
    SlotInputs,
    build_check_pod,
    build_pod,
    check_passed,
    read_facts,
    revision,
    slot_digest,
)
from tests.fakes import models

Spec = dict[str, Any]
SLOT = SlotInputs(0, SlotPorts((31001, 31001), 31002, 31003), "203.0.113.7")


def inputs(spec: Spec, **changed: Any) -> ServerInputs:
    config = server_config.build_config(models.server(**spec), operator_webhook_url=None, redis_address="r:6379")
    given = {"image": "livekit/livekit-server:v1.13.5", "config": config, "keys_digest": "k", "secrets_digest": "s"}
    return ServerInputs(**{**given, **changed})


def built(spec: Spec | None = None, slot: SlotInputs = SLOT, *, serving: bool = True) -> dict[str, Any]:
    spec = spec or {}
    return build_pod(models.server(**spec), inputs(spec), slot, serving=serving)


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def variables(pod: dict[str, Any]) -> dict[str, Any]:
    return {v["name"]: v.get("value") or v["valueFrom"] for v in container(pod)["env"]}


def config(pod: dict[str, Any]) -> dict[str, Any]:
    loaded = yaml.safe_load(variables(pod)["LIVEKIT_CONFIG"])
    assert isinstance(loaded, dict)
    return loaded


def test_the_pod_of_a_slot() -> None:
    pod = built()
    assert pod["metadata"]["name"] == "voice-livekit-0"
    labels = pod["metadata"]["labels"]
    assert (labels["livekit-operator.dev/slot"], labels["livekit-operator.dev/serving"]) == ("0", "true")
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "LiveKitServer"
    assert "livekit-operator.dev/serving" not in built(serving=False)["metadata"]["labels"]


@pytest.mark.parametrize("drain_timeout", [1, 3600])
def test_the_kubelet_waits_a_moment_before_it_tells_a_server_to_end(drain_timeout: int) -> None:
    pod = built({"drainTimeoutSeconds": drain_timeout})
    waits = container(pod)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < waits <= pod["spec"]["terminationGracePeriodSeconds"], "the API server takes no other"


@pytest.mark.parametrize(("spec", "failures"), [({}, 10), ({"redis": {"managed": {}}}, 3)], ids=["alone", "shared"])
def test_a_server_that_stands_alone_is_left_more_patience(spec: Spec, failures: int) -> None:
    assert container(built(spec))["readinessProbe"]["failureThreshold"] == failures


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        pytest.param({}, {"NODE_IP": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}}, id="host"),
        pytest.param({"nodeIp": "198.51.100.1"}, {"NODE_IP": "198.51.100.1"}, id="a given address"),
        pytest.param({"discoverExternalIp": True}, {}, id="discovered"),
        pytest.param({"exposure": "LoadBalancer"}, {"NODE_IP": "203.0.113.7"}, id="load balancer"),
    ],
)
def test_the_address_that_is_advertised(media: Spec, expected: dict[str, Any]) -> None:
    address = "203.0.113.7" if media.get("exposure") == "LoadBalancer" else None
    pod = built({"media": media}, SlotInputs(0, SLOT.ports, address))
    assert {name: value for name, value in variables(pod).items() if name == "NODE_IP"} == expected


def test_node_ports_are_the_ports_listened_on() -> None:
    pod = built({"media": {"exposure": "NodePort"}, "turn": {}}, SlotInputs(0, SLOT.ports))
    values = variables(pod)
    assert (values["UDP_PORT"], values["LIVEKIT_RTC_TCP_PORT"], values["LIVEKIT_TURN_UDP_PORT"]) == (
        "31001",
        "31002",
        "31003",
    )
    assert pod["spec"]["hostNetwork"] is False
    assert not any("hostPort" in port for port in container(pod)["ports"])


def test_host_ports_keep_servers_apart() -> None:
    ports = container(built({"media": {"udp": {"muxPorts": {"start": 7882, "end": 7882}}}}))["ports"]
    assert {(p["protocol"], p["hostPort"]) for p in ports} == {("TCP", 7880), ("TCP", 7881), ("UDP", 7882)}


def test_the_restricted_standard_is_kept() -> None:
    pod = built({"media": {"exposure": "NodePort"}}, SlotInputs(0, SLOT.ports))
    security = container(pod)["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["serviceAccountName"] == "voice-livekit"


def test_keys_are_a_file_that_others_may_not_read() -> None:
    pod = built()
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "keys")
    assert volume["secret"]["defaultMode"] == 0o440
    assert volume["secret"]["items"] == [{"key": "keys.yaml", "path": "keys.yaml"}]
    assert config(pod)["key_file"] == "/etc/livekit-keys/keys.yaml"
    assert pod["spec"]["securityContext"]["fsGroup"] == 1000


def test_turn_leads_to_its_own_server_and_what_is_allowed() -> None:
    pod = built({"turn": {"allowedPeerCidrs": ["10.1.0.0/16"]}}, SlotInputs(0, SLOT.ports))
    assert config(pod)["turn"]["allow_restricted_peer_cidrs"] == ["10.1.0.0/16", "$(NODE_IP)/32"]
    names = [variable["name"] for variable in container(pod)["env"]]
    assert names.index("NODE_IP") < names.index("LIVEKIT_CONFIG"), "the kubelet fills in what came before"


def test_no_variable_of_the_pod_can_be_put_into_the_configuration() -> None:
    """The kubelet would put the value of `$(NAME)` there, and the server logs some of its configuration."""
    spec: Spec = {"region": "$(REDIS_PASSWORD)", "webhooks": {"urls": ["http://a/$$(X)"]}}
    text = variables(built(spec))["LIVEKIT_CONFIG"]
    assert "$$(REDIS_PASSWORD)" in text
    assert text.replace("$$", "").count("$") == 0
    assert yaml.safe_load(text.replace("$$", "$"))["webhook"]["urls"] == ["http://a/$$(X)"]


def test_a_configuration_that_fits_no_variable_is_refused() -> None:
    with pytest.raises(Blocked, match="longer than"):
        built({"extraConfig": {"room": {"room_configurations": {f"preset-{n}": {} for n in range(9000)}}}})


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"drainTimeoutSeconds": 5}, id="time to drain"),
        pytest.param({"signal": {"externalUrl": "wss://a.example.com"}}, id="external URL"),
        pytest.param({"allowedNamespaces": ["x"]}, id="who may use it"),
        pytest.param({"replicas": 0}, id="how many"),
        pytest.param({"room": {"emptyTimeoutSeconds": 300}}, id="a default"),
    ],
)
def test_what_servers_do_not_read_makes_no_other_pod(spec: Spec) -> None:
    assert revision(models.server(**spec), inputs(spec)) == revision(models.server(), inputs({}))


@pytest.mark.parametrize(
    ("spec", "changed"),
    [
        pytest.param({"logging": {"level": "debug"}}, {}, id="configuration"),
        pytest.param({}, {"image": "livekit/livekit-server:v1.14.0"}, id="image"),
        pytest.param({}, {"keys_digest": "other"}, id="keys"),
        pytest.param({}, {"secrets_digest": "other"}, id="a certificate"),
        pytest.param({"resources": {"limits": {"memory": "1Gi"}}}, {}, id="resources"),
        pytest.param({"podTemplate": {"annotations": {"a": "b"}}}, {}, id="an annotation"),
        pytest.param({"media": {"exposure": "NodePort"}}, {}, id="exposure"),
        pytest.param({"media": {"nodeIp": "198.51.100.1"}}, {}, id="address"),
    ],
)
def test_what_servers_read_makes_another_pod(spec: Spec, changed: Spec) -> None:
    server, before = models.server(**spec), models.server()
    after = (revision(server, inputs(spec, **changed)), slot_digest(server, SlotInputs(0, SLOT.ports)))
    assert after != (revision(before, inputs({})), slot_digest(before, SlotInputs(0, SLOT.ports)))


def test_pods_of_every_slot_are_of_one_revision() -> None:
    label = "livekit-operator.dev/revision"
    revisions = {built(slot=SlotInputs(n, SLOT.ports, f"203.0.113.{n}"))["metadata"]["labels"][label] for n in range(3)}
    assert revisions == {revision(models.server(), inputs({}))}


@pytest.mark.parametrize(("spec", "command"), [({}, "ports"), ({"redis": {"managed": {}}}, "list-nodes")])
def test_the_check_asks_the_server_itself(spec: Spec, command: str) -> None:
    pod = build_check_pod(models.server(**spec), inputs(spec))
    assert container(pod)["args"] == [command]
    assert not pod["spec"].get("hostNetwork")
    assert "ports" not in container(pod)
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "server-check"
    assert "livekit-operator.dev/serving" not in pod["metadata"]["labels"]
    assert variables(pod)["LIVEKIT_CONFIG"] == variables(built(spec))["LIVEKIT_CONFIG"]


@pytest.mark.parametrize(
    ("output", "passed"),
    [
        ("TCP Ports\n7880 - HTTP service\n", True),
        ("│ ID │ IP Address │ Region │", True),
        ("could not parse config: yaml: unmarshal errors:\n  line 1: field foo not found in type config.Config", False),
        ("unable to connect to redis: dial tcp 127.0.0.1:6399: connect: connection refused", False),
        ("", False),
    ],
)
def test_what_the_check_prints(output: str, passed: bool) -> None:
    assert check_passed(output) is passed


SHARED: Spec = {"redis": {"managed": {}}}


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        ({}, PodFacts(shared=False, metrics_port=None)),
        ({"prometheus": {"port": 9000}}, PodFacts(shared=False, metrics_port=9000)),
        (SHARED, PodFacts(shared=True, metrics_port=6789)),
        ({**SHARED, "prometheus": {"port": 9000}}, PodFacts(shared=True, metrics_port=9000)),
    ],
)
@pytest.mark.parametrize("annotated", [True, False], ids=["annotated", "of an older operator"])
def test_a_pod_says_what_it_was_started_with(spec: Spec, facts: PodFacts, annotated: bool) -> None:
    pod = built(spec)
    if not annotated:
        del pod["metadata"]["annotations"]["livekit-operator.dev/shared"]
    later = {} if spec else SHARED
    assert read_facts(models.server(**later), pod) == facts


@pytest.mark.parametrize("port", ["0", "65536", "-1", "1e3", "99999999999999999999", "x", " 80", "\u0664", ""])
def test_a_port_that_is_none_is_not_taken(port: str) -> None:
    pod = built(SHARED)
    pod["metadata"]["annotations"]["livekit-operator.dev/metrics-port"] = port
    assert read_facts(models.server(**SHARED), pod) == PodFacts(shared=True, metrics_port=None)


def bomb() -> str:
    """Return a text that doubles with each line for a parser that follows merges."""
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 200))]
    return "\n".join(lines)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    [bomb(), "[" * 90_000, "{" * 90_000, "redis:\n" * 10_000, "redis" * 1_000_000, "prometheus:\n  port: " * 5000, ""],
    ids=["merges", "lists", "tables", "many", "long", "ports", "none"],
)
def test_a_configuration_that_a_tenant_wrote_is_never_parsed(text: str) -> None:
    pod = built(SHARED)
    pod["metadata"]["annotations"] = {}
    for variable in container(pod)["env"]:
        if variable["name"] == "LIVEKIT_CONFIG":
            variable["value"] = text
    assert read_facts(models.server(**SHARED), pod).metrics_port in (None, 6789)


@pytest.mark.parametrize("value", ["maybe", "True", "{}"])
def test_an_annotation_that_is_none_of_ours_does_not_count(value: str) -> None:
    pod = built(SHARED)
    pod["metadata"]["annotations"]["livekit-operator.dev/shared"] = value
    assert read_facts(models.server(), pod) == PodFacts(shared=True, metrics_port=6789)


def test_what_a_pod_says_of_itself_makes_no_other_version() -> None:
    pod = built(SHARED)
    without = {k: v for k, v in pod["metadata"]["annotations"].items() if not k.endswith(("/shared", "/metrics-port"))}
    assert len(without) == len(pod["metadata"]["annotations"]) - 2
    assert pod["metadata"]["labels"]["livekit-operator.dev/revision"] == revision(
        models.server(**SHARED), inputs(SHARED)
    )


def test_a_check_heeds_what_the_user_tells_a_mesh() -> None:
    template: Spec = {"annotations": {"linkerd.io/inject": "disabled"}, "labels": {"app": "voice"}}
    spec: Spec = {"podTemplate": template}
    pod = build_check_pod(models.server(**spec), inputs(spec))
    assert pod["metadata"]["annotations"] == {"linkerd.io/inject": "disabled"}
    assert "app" not in pod["metadata"]["labels"]


@pytest.mark.parametrize(
    ("template", "omit_ids", "ids"),
    [({}, False, 1000), ({}, True, None), ({"runAsUser": 7}, False, 7), ({"runAsUser": 7}, True, 7)],
)
def test_a_server_and_its_check_have_one_user_or_the_clusters(template: Spec, omit_ids: bool, ids: int | None) -> None:
    spec: Spec = {"podTemplate": template}
    given = inputs(spec, omit_ids=omit_ids)
    for pod in (
        build_pod(models.server(**spec), given, SLOT, serving=True),
        build_check_pod(models.server(**spec), given),
    ):
        context = pod["spec"]["securityContext"]
        assert [context.get(name) for name in ("runAsUser", "runAsGroup", "fsGroup")] == [ids] * 3
        assert context["runAsNonRoot"] is True


def test_a_check_is_small_or_as_a_server_is() -> None:
    spec: Spec = {"resources": {"requests": {"cpu": "2"}}}
    server, given = models.server(**spec), inputs(spec)
    assert container(build_check_pod(server, given))["resources"]["requests"]["cpu"] == "50m"
    assert container(build_check_pod(server, given, small=False))["resources"] == {"requests": {"cpu": "2"}}


PASSWORD = r"""a: "b" # {c} \n"""


def test_the_kubelet_puts_logins_of_turn_servers_into_the_configuration() -> None:
    turn = {"host": "203.0.113.60", "port": 3478, "credentialsSecretRef": {"name": "turn"}}
    pod = built({"media": {"turnServers": [turn]}, "region": "costs $5 @variable:X@"})
    environment = container(pod)["env"]
    names = [item["name"] for item in environment]
    assert names.index("TURN_SERVER_0_PASSWORD") < names.index("LIVEKIT_CONFIG"), "or it would not be put in"
    text = next(item["value"] for item in environment if item["name"] == "LIVEKIT_CONFIG")
    assert "credential: '$(TURN_SERVER_0_PASSWORD)'" in text
    # What the kubelet does (third_party/forked/golang/expansion).
    text = text.replace("$(TURN_SERVER_0_USERNAME)", "1234").replace("$(TURN_SERVER_0_PASSWORD)", PASSWORD)
    read = yaml.safe_load(text.replace("$$", "$"))
    (made,) = read["rtc"]["turn_servers"]
    assert (made["username"], made["credential"]) == ("1234", PASSWORD)
    assert read["region"] == "costs $5 @variable:X@"
