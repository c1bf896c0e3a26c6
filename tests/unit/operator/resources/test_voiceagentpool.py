"""A pool's children: the configuration its agents read, the credentials, the pods."""

import json
from typing import Any

import pytest

from livekit_operator.resources import voiceagentpool as build
from tests.fakes.manifests import API_SECRET, decoded
from tests.unit.operator.resources import models

INPUTS = build.PoolInputs("ws://voice-livekit.team.svc:7880", "digest", "key", "agent:1")


def built(**spec: Any) -> dict[str, Any]:
    pool = models.pool(**spec)
    return build.build_pod(pool, build.build_agent_config(pool, {}), INPUTS, "abc123")


def revision(inputs: build.PoolInputs = INPUTS, **spec: Any) -> str:
    pool = models.pool(**spec)
    pod = build.build_pod(pool, build.build_agent_config(pool, {}), inputs, "")
    return str(pod["metadata"]["labels"]["livekit-operator.dev/revision"])


def container(**spec: Any) -> dict[str, Any]:
    [found] = built(**spec)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_the_pod_is_hardened() -> None:
    spec = built()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert {"name": "tmp", "mountPath": "/tmp"} in container()["volumeMounts"]


def test_no_value_of_a_secret_is_in_a_pod_or_a_config_map() -> None:
    pool = models.pool()
    config = build.build_agent_config(pool, {})
    text = json.dumps([build.build_config_map(pool, config), built()])
    assert API_SECRET not in text
    values = {variable["name"] for variable in container()["env"] if "value" in variable}
    assert values == {"AGENT_CONFIG", "LIVEKIT_URL", "NUM_CPUS", "HOME"}
    references = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in container()["env"] if "valueFrom" in v}
    assert references == {
        "LIVEKIT_API_KEY": {"name": "front-desk-agent", "key": "apiKey"},
        "LIVEKIT_API_SECRET": {"name": "front-desk-agent", "key": "apiSecret"},
        "STT_API_KEY": {"name": "providers", "key": "deepgram"},
        "LLM_API_KEY": {"name": "providers", "key": "openai"},
        "TTS_API_KEY": {"name": "providers", "key": "deepgram"},
    }


def test_the_credentials_are_a_secret_of_the_pools_own_namespace() -> None:
    secret = build.build_credentials(models.pool("guests"), "APIx", API_SECRET)
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == ("guests", "front-desk-agent")
    assert decoded(secret) == {"apiKey": "APIx", "apiSecret": API_SECRET}


def test_the_configuration_speaks_of_the_agent_and_holds_no_key() -> None:
    config = build.build_agent_config(models.pool(sessionsPerPod=2, idleProcesses=5, drainTimeoutSeconds=60), {})
    assert (config["sessionsPerPod"], config["idleProcesses"], config["drainTimeoutSeconds"]) == (2, 5, 60)
    assert config["agentName"] == "front-desk"
    assert config["stt"] == {
        "provider": "deepgram",
        "model": "nova-3",
        "language": "en-US",
        "endpointingMs": 500,
        "baseUrl": None,
    }
    assert config["turnHandling"]["minInterruptionMs"] == 300
    assert "apiKeySecretRef" not in json.dumps(config)


def test_base_urls_of_the_operator_stand_in_for_those_left_out() -> None:
    agent = models.pool().spec.agent.model_dump(by_alias=True, exclude_none=True)
    agent["tts"]["baseUrl"] = "http://mine/v1"
    config = build.build_agent_config(models.pool(agent=agent), {"deepgram": "http://gateway/v1"})
    assert config["stt"]["baseUrl"] == "http://gateway/v1"
    assert config["tts"]["baseUrl"] == "http://mine/v1"
    assert config["llm"]["baseUrl"] is None


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 3600 + 330),
        ({"drainTimeoutSeconds": 0}, 330),
        ({"drainTimeoutSeconds": 10, "terminationGracePeriodSeconds": 20}, 20),
    ],
)
def test_a_pod_is_not_killed_before_it_is_drained(spec: dict[str, Any], seconds: int) -> None:
    assert built(**spec)["spec"]["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize(
    ("quantity", "count"),
    [(None, 1), ("500m", 1), ("1", 1), ("1500m", 2), ("1.5", 2), ("4", 4), ("0", 1), ("8000m", 8)],
)
def test_a_worker_is_told_its_size(quantity: str | None, count: int) -> None:
    assert build.cpu_count(quantity) == count


def test_the_size_is_the_request() -> None:
    variables = {v["name"]: v.get("value") for v in container(resources={"requests": {"cpu": 3}})["env"]}
    assert variables["NUM_CPUS"] == "3"


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        pytest.param({"replicas": 5}, True, id="number"),
        pytest.param({"autoscaling": {"maxReplicas": 3}}, True, id="limits"),
        pytest.param({"sessionsPerPod": 5}, False, id="capacity"),
        pytest.param({"agentName": "other"}, False, id="name"),
        pytest.param({"drainTimeoutSeconds": 5}, False, id="drain"),
        pytest.param({"resources": {"requests": {"cpu": "1"}}}, False, id="size"),
    ],
)
def test_what_makes_another_version(spec: dict[str, Any], same: bool) -> None:
    assert (revision(**spec) == revision()) is same


@pytest.mark.parametrize(
    "change", [{"secrets_digest": "x"}, {"server_url": "ws://x"}, {"agent_image": "agent:2"}], ids=str
)
def test_inputs_from_outside_make_another_version(change: dict[str, str]) -> None:
    values = {**INPUTS.__dict__, **change}
    assert revision(build.PoolInputs(**values)) != revision()


def test_names_tell_version_and_pool() -> None:
    pod = built()
    assert pod["metadata"]["name"] == f"front-desk-{revision()[:5]}-abc123"
    assert pod["metadata"]["labels"]["livekit-operator.dev/revision"] == revision()
    selector = dict(term.split("=") for term in build.pod_selector(models.pool()).split(","))
    assert selector.items() <= pod["metadata"]["labels"].items()


def test_the_image() -> None:
    assert container()["image"] == "agent:1"
    agent = models.pool().spec.agent.model_dump(by_alias=True, exclude_none=True)
    assert container(agent={**agent, "image": "mine:1"})["image"] == "mine:1"


def test_an_agents_name_is_its_namespaces_own() -> None:
    assert build.agent_name(models.pool()) == "front-desk"
    assert build.agent_name(models.pool(agentName="reception")) == "reception"
    guest = models.pool("guests", serverRef={"name": "voice", "namespace": "team"})
    assert build.agent_name(guest) == "guests/front-desk"


def test_the_agents_account_has_no_token() -> None:
    account = build.build_service_account(models.pool())
    assert account["metadata"]["name"] == "front-desk-agent"
    assert account["automountServiceAccountToken"] is False


def test_no_pod_with_calls_is_evicted() -> None:
    budget = build.build_budget(models.pool(autoscaling={"maxReplicas": 1000}))
    assert budget["metadata"]["name"] == "front-desk-busy"
    assert budget["spec"].keys() == {"minAvailable", "selector"}
    assert budget["spec"]["minAvailable"] > 2 * 1000
    labels = budget["spec"]["selector"]["matchLabels"]
    assert labels == {
        "app.kubernetes.io/name": "voice-agent",
        "app.kubernetes.io/instance": "front-desk",
        "app.kubernetes.io/component": "agent",
        "livekit-operator.dev/busy": "true",
    }


def test_only_the_operator_reaches_the_agents() -> None:
    policy = build.build_network_policy(models.pool(), "livekit-system")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= built()["metadata"]["labels"].items()
    assert policy["spec"]["ingress"] == [
        {
            "ports": [{"protocol": "TCP", "port": "worker"}, {"protocol": "TCP", "port": "status"}],
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "livekit-system"}}}],
        }
    ]


def test_metrics_are_for_everybody_where_there_are_any() -> None:
    rules = build.build_network_policy(models.pool(metricsPort=9091), "livekit-system")["spec"]["ingress"]
    assert rules[1:] == [{"ports": [{"protocol": "TCP", "port": "metrics"}]}]
