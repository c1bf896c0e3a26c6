"""Pods of a pool: of the stock agent, and of images of the user's own with and without the runner."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from livekit_operator.api.common import Resources
from livekit_operator.constants import ANNOTATION_DO_NOT_DISRUPT as DO_NOT_DISRUPT
from livekit_operator.constants import ANNOTATION_SAFE_TO_EVICT as SAFE_TO_EVICT
from livekit_operator.errors import Blocked
from livekit_operator.pools.manifests import pod as pool_pods
from livekit_operator.pools.manifests import records, versions
from livekit_operator.pools.manifests.children import pod_selector
from tests.fakes import manifests, models
from tests.fakes.manifests import API_SECRET, Manifest

INPUTS = pool_pods.PodInputs("ws://voice-livekit.team.svc:7880", "digest", "key", "shown")
STOCK: dict[str, Any] = {}
OWN: dict[str, Any] = {"agent": manifests.own_agent()}
BARE: dict[str, Any] = {"agent": manifests.own_agent(runner="None")}
kinds = pytest.mark.parametrize("spec", [STOCK, OWN, BARE], ids=["stock", "runner put in", "nothing put in"])


def version(image: str = "agent:1", **spec: Any) -> versions.PoolVersion:
    template = versions.build_template(models.pool(**spec), image, {})
    record = records.Record("digest", datetime(2026, 3, 1, tzinfo=UTC))
    return versions.PoolVersion(versions.revision(template), template, "of the file", record)


def built(track: str = "stable", inputs: pool_pods.PodInputs = INPUTS, **spec: Any) -> Manifest:
    return pool_pods.build_pod(models.pool(**spec), version(**spec), track, inputs, "abc123")


def container(track: str = "stable", **spec: Any) -> Manifest:
    [found] = built(track, **spec)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def values(track: str = "stable", **spec: Any) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(track, **spec)["env"] if "value" in entry}


def stock(**changes: Any) -> dict[str, Any]:
    return {"agent": {**manifests.pool()["spec"]["agent"], **changes}}


def own(**changes: Any) -> dict[str, Any]:
    return {"agent": manifests.own_agent(**changes)}


@kinds
def test_every_pod_passes_the_restricted_standard(spec: dict[str, Any]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    pod = built(**spec)["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    for item in [*pod["containers"], *pod.get("initContainers", ())]:
        assert item["securityContext"]["allowPrivilegeEscalation"] is False
        assert item["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert item["securityContext"]["readOnlyRootFilesystem"] is True
        assert item["resources"]["requests"]
        assert not any("hostPort" in port for port in item.get("ports", ()))
    assert all(volume.keys() <= {"name", "configMap", "emptyDir"} for volume in pod["volumes"])


@kinds
def test_every_pod_is_kept_from_the_api_server_and_has_a_place_to_write(spec: dict[str, Any]) -> None:
    pod = built(**spec)["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "front-desk-agent"
    assert {"name": "tmp", "mountPath": "/tmp"} in container(**spec)["volumeMounts"]
    assert values(**spec)["HOME"] == "/tmp"


def test_no_value_of_a_secret_is_in_a_pod_or_a_config_map() -> None:
    wanted = version()
    text = json.dumps([versions.build_version_map(models.pool(), wanted.template), built()])
    assert API_SECRET not in text
    references = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in container()["env"] if "valueFrom" in v}
    assert references == {
        "LIVEKIT_API_KEY": {"name": "front-desk-agent", "key": "apiKey"},
        "LIVEKIT_API_SECRET": {"name": "front-desk-agent", "key": "apiSecret"},
        "STT_API_KEY": {"name": "providers", "key": "deepgram"},
        "LLM_API_KEY": {"name": "providers", "key": "openai"},
        "TTS_API_KEY": {"name": "providers", "key": "deepgram"},
    }


def test_an_own_agent_gets_the_servers_key_and_none_of_the_providers() -> None:
    named = {v["name"] for v in container(**OWN)["env"] if "valueFrom" in v}
    assert named == {"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"}


def test_a_pod_says_what_it_is() -> None:
    pod, revision = built(), version().revision
    labels, annotations = pod["metadata"]["labels"], pod["metadata"]["annotations"]
    assert pod["metadata"]["name"] == f"front-desk-{revision[:5]}-abc123"
    assert labels["livekit-operator.dev/revision"] == revision
    assert labels["livekit-operator.dev/track"] == "stable"
    assert annotations["livekit-operator.dev/inputs"] == pool_pods.inputs_digest(models.pool(), INPUTS)
    assert annotations["livekit-operator.dev/keys"] == "shown"
    assert dict(term.split("=") for term in pod_selector(models.pool()).split(",")).items() <= labels.items()


@pytest.mark.parametrize(
    "other",
    [
        pool_pods.PodInputs("ws://x", "digest", "key"),
        pool_pods.PodInputs(INPUTS.server_url, "x", "key"),
        pool_pods.PodInputs(INPUTS.server_url, "digest", "x"),
    ],
    ids=["server", "providers' keys", "server's key"],
)
def test_other_inputs_are_seen_and_make_no_version(other: pool_pods.PodInputs) -> None:
    one, two = built()["metadata"], built(inputs=other)["metadata"]
    assert one["annotations"]["livekit-operator.dev/inputs"] != two["annotations"]["livekit-operator.dev/inputs"]
    assert one["labels"] == two["labels"]


def test_an_older_version_is_called_as_rooms_ask_now() -> None:
    renamed = models.pool(agentName="reception", sessionsPerPod=9)
    pod = pool_pods.build_pod(renamed, version(), "stable", INPUTS, "x")
    [agent] = pod["spec"]["containers"]
    assert {"name": "LIVEKIT_AGENT_NAME_OVERRIDE", "value": "reception"} in agent["env"]
    assert pool_pods.inputs_digest(renamed, INPUTS) != pool_pods.inputs_digest(models.pool(), INPUTS)


def test_an_older_versions_pod_is_the_same_whatever_the_pool_is_now() -> None:
    before: dict[str, Any] = {
        "sessionsPerPod": 2,
        "podTemplate": {"priorityClassName": "calls"},
        "terminationGracePeriodSeconds": 4000,
    }
    changed = models.pool(resources={"requests": {"cpu": "8"}}, metricsPort=9091, **OWN)
    assert pool_pods.build_pod(changed, version(**before), "stable", INPUTS, "abc123") == built(**before)


def test_a_pod_reads_the_configuration_of_its_version_and_no_template() -> None:
    volumes = {volume["name"]: volume for volume in built()["spec"]["volumes"]}
    assert volumes["config"]["configMap"] == {
        "name": f"front-desk-agent-{version().revision}",
        "items": [{"key": "config.json", "path": "config.json"}],
    }
    assert values()["AGENT_CONFIG"] == "/etc/voice-agent/config.json"
    assert values()["AGENT_CONFIG_SHA256"] == version().config_digest


@kinds
def test_only_a_canary_registers_for_a_deployment(spec: dict[str, Any]) -> None:
    assert "LIVEKIT_AGENT_DEPLOYMENT" not in values(**spec)
    assert values("canary", **spec)["LIVEKIT_AGENT_DEPLOYMENT"] == f"canary-{version(**spec).revision}"
    assert built("canary", **spec)["metadata"]["labels"]["livekit-operator.dev/track"] == "canary"


def test_the_runner_is_put_where_python_finds_it_first() -> None:
    pod = built(**OWN)["spec"]
    [runner] = pod["initContainers"]
    assert runner["image"] == "agent:1"
    assert runner["command"] == ["python", "-m", "voice_agent.runner.install", "/opt/livekit-runner"]
    assert runner["volumeMounts"] == [{"name": "runner", "mountPath": "/opt/livekit-runner"}]
    assert {"name": "runner", "mountPath": "/opt/livekit-runner", "readOnly": True} in container(**OWN)["volumeMounts"]
    assert {"name": "runner", "emptyDir": {}} in pod["volumes"]
    assert values(**OWN)["PYTHONPATH"] == "/opt/livekit-runner"


def test_an_images_own_path_comes_behind_the_runner() -> None:
    spec = own(env=[{"name": "PYTHONPATH", "value": "/app"}])
    paths = [entry["value"] for entry in container(**spec)["env"] if entry["name"] == "PYTHONPATH"]
    assert paths == ["/opt/livekit-runner:/app"]


@pytest.mark.parametrize("spec", [STOCK, BARE, stock(image="mirror/agent:1")])
def test_elsewhere_there_is_no_runner(spec: dict[str, Any]) -> None:
    assert "initContainers" not in built(**spec)["spec"]
    assert "PYTHONPATH" not in values(**spec)


@pytest.mark.parametrize(
    ("resources", "runner"),
    [
        ({}, {"requests": {"cpu": "500m", "memory": "512Mi"}}),
        ({"requests": {}}, {}),
        (
            {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
            {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        ),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "1", "nvidia.com/gpu": "1"}},
         {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}),
    ],
)  # fmt: skip
def test_the_runner_takes_what_the_agent_takes(resources: dict[str, Any], runner: dict[str, Any]) -> None:
    spec = {**OWN, **({"resources": resources} if resources else {})}
    [found] = built(**spec)["spec"]["initContainers"]
    assert found["resources"] == runner


@pytest.mark.parametrize(
    ("spec", "omit_ids", "ids"),
    [
        (OWN, False, 1000),
        (OWN, True, None),
        ({**OWN, "podTemplate": {"runAsUser": 1000660001}}, False, 1000660001),
        ({**OWN, "podTemplate": {"runAsUser": 1000660001}}, True, 1000660001),
        (own(runAsUser=1000660001), False, 1000660001),
    ],
)
def test_all_of_a_pod_has_one_user_or_the_clusters(spec: dict[str, Any], omit_ids: bool, ids: int | None) -> None:
    inputs = replace(INPUTS, omit_ids=omit_ids)
    found = pool_pods.build_pod(models.pool(**spec), version(**spec), "stable", inputs, "abcde")["spec"]
    context = found["securityContext"]
    assert [context.get(name) for name in ("runAsUser", "runAsGroup", "fsGroup")] == [ids] * 3
    assert context["runAsNonRoot"] is True
    for item in [*found["initContainers"], *found["containers"]]:
        assert item["securityContext"].get("runAsUser", ids) == ids


def test_ids_that_the_cluster_chooses_make_no_other_version() -> None:
    pool = models.pool(**OWN)
    digests = {pool_pods.inputs_digest(pool, replace(INPUTS, omit_ids=omit)) for omit in (True, False)}
    assert len(digests) == 1


def test_images_and_commands() -> None:
    assert container()["image"] == "agent:1"
    assert not container().keys() & {"command", "args"}
    assert container(**stock(image="mirror/agent:1"))["image"] == "mirror/agent:1"
    mine = container(**own(args=["--log-level", "debug"]))
    assert mine["image"] == "registry.example.com/agent:1.2.3"
    assert mine["command"] == ["python", "agent.py", "start"]
    assert mine["args"] == ["--log-level", "debug"]


def test_an_image_may_have_a_user_of_its_own() -> None:
    mine = container(**own(runAsUser=10001))["securityContext"]
    assert (mine["runAsUser"], mine["runAsGroup"]) == (10001, 10001)
    assert "runAsUser" not in container(**OWN)["securityContext"], "the pod's own counts"


@pytest.mark.parametrize(
    ("spec", "port", "alive", "ready", "seconds"),
    [
        (STOCK, "status", "/healthz", "/readyz", 60),
        (OWN, "status", "/healthz", "/readyz", 300),
        (BARE, "worker", "/", "/", 300),
    ],
)
def test_probes_ask_who_knows(spec: dict[str, Any], port: str, alive: str, ready: str, seconds: int) -> None:
    found = container(**spec)
    assert port in {entry["name"] for entry in found["ports"]}
    assert found["startupProbe"]["httpGet"] == {"port": port, "path": alive}
    assert found["startupProbe"]["failureThreshold"] * found["startupProbe"]["periodSeconds"] == seconds
    assert found["readinessProbe"]["httpGet"] == {"port": port, "path": ready}
    assert found["livenessProbe"]["httpGet"] == {"port": port, "path": alive}


@pytest.mark.parametrize("spec", [STOCK, OWN, BARE])
def test_a_slow_start_has_its_time(spec: dict[str, Any]) -> None:
    probe = container(**{**spec, "startupTimeoutSeconds": 450})["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 450


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        (STOCK, {"worker": 8081, "status": 8082}),
        ({**OWN, "metricsPort": 9091}, {"worker": 8081, "status": 8082, "metrics": 9091}),
        ({**BARE, "metricsPort": 9091}, {"worker": 8081, "metrics": 9091}),
    ],
)
def test_ports_have_names(spec: dict[str, Any], ports: dict[str, int]) -> None:
    assert {entry["name"]: entry["containerPort"] for entry in container(**spec)["ports"]} == ports


@kinds
def test_nothing_inside_the_cluster_is_asked_through_a_proxy(spec: dict[str, Any]) -> None:
    inside = "voice-livekit.team.svc,localhost,127.0.0.1,.svc,.cluster.local"
    assert values(**spec)["NO_PROXY"] == inside
    assert not values(**spec).keys() & {"HTTPS_PROXY", "HTTP_PROXY"}


def test_proxies() -> None:
    proxy = {"httpsProxy": "http://proxy:3128", "noProxy": ["10.0.0.0/8", ".svc"]}
    found = values(**stock(proxy=proxy))
    assert found["HTTPS_PROXY"] == "http://proxy:3128"
    assert "HTTP_PROXY" not in found
    assert found["NO_PROXY"] == "voice-livekit.team.svc,localhost,127.0.0.1,.svc,.cluster.local,10.0.0.0/8"


def test_variables_of_the_user_come_with_their_source() -> None:
    reference = {"secretKeyRef": {"name": "mine", "key": "k", "optional": True}}
    env = [{"name": "TZ", "value": "UTC"}, {"name": "EMPTY", "value": ""}, {"name": "MY_KEY", "valueFrom": reference}]
    found = container(**own(env=env))["env"]
    assert found[-3:] == env
    assert len({entry["name"] for entry in found}) == len(found)


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ({}, 1),
        ({"requests": {"cpu": "500m"}}, 1),
        ({"requests": {"cpu": "1500m"}}, 2),
        ({"requests": {"cpu": 1.5}}, 2),
        ({"requests": {"cpu": "4"}, "limits": {"cpu": "8"}}, 4),
        ({"requests": {"memory": "1Gi"}, "limits": {"cpu": "8000m"}}, 8),
        ({"requests": {"cpu": "0"}}, 1),
        ({"requests": {"cpu": 0.5}}, 1),
        ({"requests": {"cpu": 2.5}}, 3),
    ],
)
def test_a_worker_is_told_its_size(resources: dict[str, Any], count: int) -> None:
    assert pool_pods.cpu_count(Resources.model_validate(resources)) == count
    assert values(resources=resources)["NUM_CPUS"] == str(count)


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


def test_pods_of_one_pool_are_spread_over_nodes() -> None:
    [constraint] = built()["spec"]["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    labels = constraint["labelSelector"]["matchLabels"]
    assert labels.items() <= built("canary", **OWN)["metadata"]["labels"].items()


def test_the_users_overrides_are_added() -> None:
    template: dict[str, Any] = {
        "labels": {"team": "voice", "livekit-operator.dev/track": "canary"},
        "nodeSelector": {"pool": "voice"},
        "priorityClassName": "calls",
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        "tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 600}],
    }
    pod = built(podTemplate=template, **OWN)
    assert pod["metadata"]["labels"]["team"] == "voice"
    assert pod["metadata"]["labels"]["livekit-operator.dev/track"] == "stable"
    assert pod["spec"]["nodeSelector"] == {"pool": "voice"}
    assert pod["spec"]["priorityClassName"] == "calls"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    seconds = {entry["key"]: entry["tolerationSeconds"] for entry in pod["spec"]["tolerations"]}
    assert seconds == {"node.kubernetes.io/not-ready": 30, "node.kubernetes.io/unreachable": 600}
    assert {"name": "models", "mountPath": "/models"} in pod["spec"]["containers"][0]["volumeMounts"]
    assert len(pod["spec"]["initContainers"][0]["volumeMounts"]) == 1


@pytest.mark.parametrize("spec", [STOCK, OWN, BARE])
def test_the_end_of_the_log_is_where_the_kubelet_finds_it(spec: dict[str, Any]) -> None:
    made = built(**spec)["spec"]
    policies = {
        one["name"]: one["terminationMessagePolicy"] for one in (*made["containers"], *made.get("initContainers", []))
    }
    assert set(policies.values()) == {"FallbackToLogsOnError"}


def test_the_runners_folder_cannot_be_mounted_over() -> None:
    template: dict[str, Any] = {
        "volumes": [{"name": "mine", "emptyDir": {}}],
        "volumeMounts": [{"name": "mine", "mountPath": "/opt/livekit-runner/livekit"}],
    }
    with pytest.raises(Blocked, match="collides with /opt/livekit-runner"):
        built(podTemplate=template, **OWN)


@pytest.mark.parametrize(
    ("own", "idle"),
    [
        ({}, {SAFE_TO_EVICT: "true", DO_NOT_DISRUPT: None}),
        ({SAFE_TO_EVICT: "false"}, {SAFE_TO_EVICT: "false", DO_NOT_DISRUPT: None}),
        ({DO_NOT_DISRUPT: "true"}, {SAFE_TO_EVICT: "true", DO_NOT_DISRUPT: "true"}),
    ],
)
def test_a_pod_with_calls_is_left_alone_until_they_end(own: dict[str, str], idle: dict[str, str | None]) -> None:
    pool = models.pool(podTemplate={"annotations": own})
    protected = {SAFE_TO_EVICT: "false", DO_NOT_DISRUPT: "true"}
    busy = {"labels": {"livekit-operator.dev/busy": "true"}, "annotations": protected}
    assert pool_pods.busy_patch(pool, busy=True) == {"metadata": busy}
    over = {"labels": {"livekit-operator.dev/busy": None}, "annotations": idle}
    assert pool_pods.busy_patch(pool, busy=False) == {"metadata": over}
    made = built(podTemplate={"annotations": own})["metadata"]["annotations"]
    assert {name: made.get(name) for name in idle} == idle
