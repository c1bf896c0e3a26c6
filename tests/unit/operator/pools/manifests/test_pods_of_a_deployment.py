"""What the pods of a Deployment could say, a pool says: what becomes of it in its pods and versions."""

from typing import Any

import pytest

from livekit_operator.api.agent import OPERATOR_VARIABLES
from tests.fakes import manifests
from tests.fakes.agent_pods import EVERYTHING
from tests.unit.operator.pools.manifests.test_pod import BARE, OWN, built, container, own, values
from tests.unit.operator.pools.manifests.test_versions import POD_TEMPLATE, agent, revision


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        pytest.param({"agent": agent(imagePullPolicy="Always")}, False, id="pull policy"),
        pytest.param({"agent": agent(securityContext={"readOnlyRootFilesystem": False})}, False, id="rights"),
        *[
            pytest.param({"podTemplate": template}, False, id=f"pods' {', '.join(template)}")
            for template in (
                {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-03-01T12:00:00Z"}},
                {"serviceAccountName": "booking"},
                {"automountServiceAccountToken": True},
                {"initContainers": [{"name": "models", "image": "example/models:3"}]},
                {"containers": [{"name": "proxy", "image": "example/proxy:3"}]},
                {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["crm"]}]},
                {"dnsPolicy": "Default"},
                {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}},
                {"securityContext": {"fsGroup": 3000}},
            )
        ],
        *[
            pytest.param({"podTemplate": {field: empty}}, True, id=f"empty {field}")
            for field, empty in (("initContainers", []), ("containers", []), ("hostAliases", []), ("dnsConfig", {}))
        ],
    ],
)  # fmt: skip
def test_what_is_said_of_pods_makes_another_version(spec: dict[str, Any], same: bool) -> None:
    assert (revision(**spec) == revision()) is same


PLACED = {
    **POD_TEMPLATE,
    "nodeSelector": {"a": "b"},
    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    "runAsUser": 3000,
    "imagePullSecrets": [{"name": "r"}],
}


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"agent": manifests.own_agent(env=[{"name": "TZ", "value": "UTC"}], runAsUser=2000)}, "f65cdb1c94"),
        ({"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"nvidia.com/gpu": 1}}}, "a39737f605"),
        ({"podTemplate": PLACED}, "1c9146e033"),
    ],
)
def test_pools_that_use_none_of_it_keep_their_versions(spec: dict[str, Any], name: str) -> None:
    assert revision(**spec) == name


def test_whatever_a_user_adds_passes_the_restricted_standard() -> None:
    spec = built(**EVERYTHING)["spec"]
    containers = {one["name"]: one for one in (*spec["initContainers"], *spec["containers"])}
    assert list(containers) == ["runner", "models", "sql", "agent", "logs"]
    for one in containers.values():
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert "privileged" not in one["securityContext"]
        assert not any("hostPort" in port for port in one.get("ports", ()))
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 2000,
        "runAsGroup": 2000,
        "fsGroup": 3000,
        "supplementalGroups": [7],
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert containers["runner"] == built(**own())["spec"]["initContainers"][0] | {
        "resources": {"requests": {"cpu": "0.5", "memory": "1Gi"}}
    }
    secrets = {
        v["name"]: v["valueFrom"]["secretKeyRef"]["name"] for v in containers["agent"]["env"] if "valueFrom" in v
    }
    assert secrets == {"LIVEKIT_API_KEY": "front-desk-agent", "LIVEKIT_API_SECRET": "front-desk-agent"}


def test_what_a_deployment_says_of_its_container_a_pool_says() -> None:
    agent = next(one for one in built(**EVERYTHING)["spec"]["containers"] if one["name"] == "agent")
    assert agent["envFrom"] == EVERYTHING["agent"]["envFrom"]
    assert agent["imagePullPolicy"] == "Always"
    assert agent["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    said = EVERYTHING["agent"]["securityContext"]
    assert agent["securityContext"] == {
        **{right: value for right, value in said.items() if right not in ("privileged", "runAsNonRoot")},
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    }
    assert {"name": "cache", "mountPath": "/home/app/.cache"} in agent["volumeMounts"]


@pytest.mark.parametrize("spec", [OWN, BARE], ids=["runner put in", "nothing put in"])
def test_the_home_of_an_image_can_be_kept(spec: dict[str, Any]) -> None:
    named: dict[str, Any] = {"agent": {**spec["agent"], "env": [{"name": "HOME", "value": "/home/app"}]}}
    homes = [entry["value"] for entry in container(**named)["env"] if entry["name"] == "HOME"]
    assert homes == ["/home/app"]


@pytest.mark.parametrize("track", ["stable", "canary"])
@pytest.mark.parametrize("runner", ["Injected", "None"])
def test_no_variable_that_comes_with_others_is_taken_for_the_operators(track: str, runner: str) -> None:
    """Kubernetes has a container's `env` count before its `envFrom`."""
    sources = [{"secretRef": {"name": "keys"}}]
    told = {v["name"] for v in container(track, **own(envFrom=sources, runner=runner))["env"]}
    assert set(OPERATOR_VARIABLES) <= told
    found = values(track, **own(envFrom=sources, runner=runner))
    assert found["no_proxy"] == found["NO_PROXY"]
    assert found["LIVEKIT_WORKER_TOKEN"] == found["LIVEKIT_AGENT_NAME"] == ""
    assert bool(found["LIVEKIT_AGENT_DEPLOYMENT"]) is (track == "canary")
    without = {v["name"] for v in container(track, **own(runner=runner))["env"]}
    assert not without & {"LIVEKIT_WORKER_TOKEN", "LIVEKIT_AGENT_NAME", "no_proxy"}
