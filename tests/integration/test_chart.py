"""The chart: what it renders, which values it refuses, and that the API server and its security standards take it."""

import json
from typing import Any

import pytest
import yaml

from livekit_operator.api.kinds import KINDS
from livekit_operator.api.writers.crd import build_crd
from livekit_operator.settings import Allowed, Settings, load_settings
from tests.harness.api import Api
from tests.integration.chart import CHART, IMAGES, ChartError, helm, of_kind, path_of, render
from tests.integration.conftest import create_namespace

DIGEST = "sha256:" + "a" * 64


def container(values: dict[str, Any] | None = None) -> dict[str, Any]:
    [found] = pod_spec(values)["containers"]
    assert isinstance(found, dict)
    return found


def pod_spec(values: dict[str, Any] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = of_kind(render(values), "Deployment")["spec"]["template"]["spec"]
    return spec


def settings(values: dict[str, Any] | None = None) -> Settings:
    """Return what the operator makes of its environment."""
    return load_settings({variable["name"]: variable["value"] for variable in container(values)["env"]})


def test_lint_finds_nothing() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), values=IMAGES)


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ({"agents": IMAGES["agents"]}, "image.repository"),
        ({"image": IMAGES["image"]}, "agents.image.repository"),
        ({"image": {"repository": "", "tag": "1"}, "agents": IMAGES["agents"]}, "image.repository"),
    ],
)
def test_an_image_that_nobody_named_is_asked_for(values: dict[str, Any], value: str) -> None:
    """Whose it would be at a name that nobody has taken yet is up to whoever takes it."""
    with pytest.raises(ChartError) as refused:
        helm("template", "livekit-operator", str(CHART), values=values)
    assert f": {value} is not given: no image is published yet. Build it from this repository" in str(refused.value)


def test_what_is_rendered_by_default() -> None:
    kinds = sorted(manifest["kind"] for manifest in render())
    assert kinds == [
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "CustomResourceDefinition",
        "CustomResourceDefinition",
        "Deployment",
        "PriorityClass",
        "Service",
        "ServiceAccount",
    ]


def test_the_crds_are_those_of_the_models_and_stay_when_the_chart_goes() -> None:
    rendered = {m["metadata"]["name"]: m for m in render() if m["kind"] == "CustomResourceDefinition"}
    for kind in KINDS:
        crd = json.loads(json.dumps(build_crd(kind)))
        found = rendered[crd["metadata"]["name"]]
        assert found["spec"] == crd["spec"]
        assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    without = render({"crds": {"keep": False}})
    assert not any((m["metadata"].get("annotations") or {}) for m in without if m["kind"] == "CustomResourceDefinition")
    assert "CustomResourceDefinition" not in {m["kind"] for m in render({"crds": {"install": False}})}


def test_the_operator_understands_its_environment() -> None:
    made = settings()
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert made.agent_image == f"r/agent:{version}"
    assert made.server_image == "livekit/livekit-server"
    assert made.webhook_url == "http://livekit-operator.operators.svc:8080"
    assert made.provider_base_urls == {}
    assert made.allowed == Allowed(), "the defaults stand in two places"
    port = of_kind(render(), "Service")["spec"]["ports"][0]["port"]
    assert made.webhook_url.endswith(f":{port}")
    ports = {p["name"]: p["containerPort"] for p in container()["ports"]}
    assert ports == {"http": made.http_port, "liveness": made.liveness_port}


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"agents": {"image": {"repository": "r/agent", "tag": "2"}}}, "agent_image", "r/agent:2"),
        ({"agents": {"image": {"digest": DIGEST}}}, "agent_image", f"r/agent@{DIGEST}"),
        ({"server": {"image": {"repository": "r/server"}}}, "server_image", "r/server"),
        ({"webhooks": {"enabled": False}}, "webhook_url", None),
        (
            {"allowed": {"hostNetwork": False, "hosts": {"media": ["*.example.com"]}, "issuers": []}},
            "allowed",
            Allowed(host_network=False, hosts={"media": ("*.example.com",)}, issuers=()),
        ),
        (
            {"agents": {"providerBaseUrls": {"openai": "http://gateway/v1"}}},
            "provider_base_urls",
            {"openai": "http://gateway/v1"},
        ),
    ],
)
def test_values_that_become_settings(values: dict[str, Any], field: str, expected: object) -> None:
    assert getattr(settings(values), field) == expected


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"priorityClassName": "high"}, "priorityClassName", "high"),
        ({"nodeSelector": {"a": "b"}}, "nodeSelector", {"a": "b"}),
        ({"tolerations": [{"operator": "Exists"}]}, "tolerations", [{"operator": "Exists"}]),
        ({"affinity": {"nodeAffinity": {}}}, "affinity", {"nodeAffinity": {}}),
        ({"imagePullSecrets": [{"name": "pull"}]}, "imagePullSecrets", [{"name": "pull"}]),
        ({"serviceAccount": {"name": "given"}}, "serviceAccountName", "given"),
    ],
)
def test_values_of_the_pod(values: dict[str, Any], field: str, expected: object) -> None:
    assert pod_spec(values)[field] == expected
    assert pod_spec().get(field) != expected


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"image": {"repository": "r/o", "tag": "3"}}, "image", "r/o:3"),
        ({"image": {"digest": DIGEST, "tag": "3"}}, "image", f"r/operator@{DIGEST}"),
        ({"image": {"pullPolicy": "Always"}}, "imagePullPolicy", "Always"),
        (
            {"resources": {"limits": {"memory": "1Gi"}}},
            "resources",
            {"limits": {"memory": "1Gi"}, "requests": {"cpu": "100m"}},
        ),
    ],
)
def test_values_of_the_container(values: dict[str, Any], field: str, expected: object) -> None:
    assert container(values)[field] == expected


def test_ids_are_left_to_the_cluster_where_that_is_asked() -> None:
    def context(values: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = of_kind(render(values), "Deployment")["spec"]["template"]["spec"]["securityContext"]
        return found

    assert (context({})["runAsUser"], context({})["runAsGroup"]) == (1000, 1000)
    assert context({"podSecurity": {"omitIds": True}}).keys() == {"runAsNonRoot", "seccompProfile"}
    variables = {"LIVEKIT_OPERATOR_OMIT_IDS": "true"}
    env = {v["name"]: v.get("value") for v in container({"podSecurity": {"omitIds": True}})["env"]}
    assert variables.items() <= env.items()
    assert not variables.keys() & {v["name"] for v in container({})["env"]}


def lost(key: str, **said: Any) -> dict[str, Any]:
    """Return a toleration of a node that is lost."""
    return {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", **said}


OF_GPUS = {"key": "gpu", "operator": "Exists"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(
            {}, [lost("not-ready", tolerationSeconds=30), lost("unreachable", tolerationSeconds=30)], id="30 s"
        ),
        pytest.param(
            {"lostNodeSeconds": 0, "tolerations": [OF_GPUS]},
            [lost("not-ready", tolerationSeconds=0), lost("unreachable", tolerationSeconds=0), OF_GPUS],
            id="beside others",
        ),
        pytest.param(
            {"tolerations": [lost("unreachable", tolerationSeconds=600)]},
            [lost("not-ready", tolerationSeconds=30), lost("unreachable", tolerationSeconds=600)],
            id="the user's counts",
        ),
        pytest.param(
            {"tolerations": [{"effect": "NoExecute", "operator": "Exists"}]},
            [{"effect": "NoExecute", "operator": "Exists"}],
            id="the user's for everything",
        ),
    ],
)
def test_the_operator_leaves_a_lost_node_soon(values: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    assert pod_spec(values)["tolerations"] == expected


@pytest.mark.parametrize(
    ("values", "classes", "name"),
    [
        ({}, [("livekit-operator-1000000", 1_000_000)], "livekit-operator-1000000"),
        ({"priorityClass": {"value": 7}}, [("livekit-operator-7", 7)], "livekit-operator-7"),
        ({"priorityClassName": "given"}, [], "given"),
        ({"priorityClass": {"create": False}}, [], None),
    ],
)
def test_a_priority_class_of_its_own_unless_one_is_named(
    values: dict[str, Any], classes: list[tuple[str, int]], name: str | None
) -> None:
    found = [m for m in render(values) if m["kind"] == "PriorityClass"]
    assert [(m["metadata"]["name"], m["value"]) for m in found] == classes
    assert not any(m.get("globalDefault") for m in found)
    assert pod_spec(values).get("priorityClassName") == name


def test_labels_annotations_and_log_level() -> None:
    values = {
        "podLabels": {"team": "voice"},
        "podAnnotations": {"a/b": "c"},
        "logLevel": "debug",
        "serviceAccount": {"annotations": {"d/e": "f"}},
    }
    rendered = render(values)
    template = of_kind(rendered, "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "voice"
    assert template["metadata"]["annotations"] == {"a/b": "c"}
    assert of_kind(rendered, "ServiceAccount")["metadata"]["annotations"] == {"d/e": "f"}
    env = {variable["name"]: variable["value"] for variable in template["spec"]["containers"][0]["env"]}
    assert env["LIVEKIT_OPERATOR_LOG_LEVEL"] == "debug"


def test_the_service_account_is_bound_by_its_name() -> None:
    rendered = render({"serviceAccount": {"name": "given"}})
    assert of_kind(rendered, "ServiceAccount")["metadata"]["name"] == "given"
    [subject] = of_kind(rendered, "ClusterRoleBinding")["subjects"]
    assert (subject["name"], subject["namespace"]) == ("given", "operators")


def test_a_service_monitor_when_it_is_wanted() -> None:
    values = {"serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}}}
    monitor = of_kind(render(values), "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    [endpoint] = monitor["spec"]["endpoints"]
    assert (endpoint["interval"], endpoint["path"]) == ("15s", "/metrics")
    selected = monitor["spec"]["selector"]["matchLabels"].items()
    assert selected <= of_kind(render(values), "Service")["metadata"]["labels"].items()


def test_the_service_selects_the_operator_and_only_it() -> None:
    rendered = render()
    selector = of_kind(rendered, "Service")["spec"]["selector"]
    template = of_kind(rendered, "Deployment")["spec"]["template"]
    assert selector.items() <= template["metadata"]["labels"].items()
    for manifest in rendered:
        managed_by = manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"]
        assert managed_by != "livekit-operator", "that label marks what the operator itself makes"


def test_one_operator_at_a_time() -> None:
    spec = of_kind(render(), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_two_releases_do_not_collide() -> None:
    def names(release: str) -> set[tuple[str, str]]:
        rendered = render({"crds": {"install": False}}, release=release)
        return {(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendered}

    assert not names("one") & names("two")


def test_a_long_release_name_is_cut() -> None:
    for manifest in render({"crds": {"install": False}}, release="r" * 53):
        assert len(manifest["metadata"]["name"]) <= 63


@pytest.mark.parametrize(
    ("values", "field"),
    [
        pytest.param({"wrong": 1}, "wrong", id="unknown key"),
        pytest.param({"image": {"wrong": 1}}, "wrong", id="unknown key inside"),
        pytest.param({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy", id="unknown policy"),
        pytest.param({"image": {"repository": 1}}, "/image/repository", id="no name of an image"),
        pytest.param({"image": {"digest": "sha256:abc"}}, "/image/digest", id="no digest"),
        pytest.param({"allowed": {"hosts": ["a.example.com"]}}, "/allowed/hosts", id="hosts of no namespace"),
        pytest.param({"allowed": {"ingress": False}}, "ingress", id="unknown switch"),
        pytest.param({"logLevel": "loud"}, "/logLevel", id="unknown level"),
        pytest.param({"crds": {"install": "yes"}}, "/crds/install", id="no boolean"),
        pytest.param({"agents": {"providerBaseUrls": {"magic": "http://x"}}}, "magic", id="unknown provider"),
        pytest.param({"agents": {"providerBaseUrls": {"openai": "x"}}}, "openai", id="no URL"),
        pytest.param({"imagePullSecrets": ["pull"]}, "/imagePullSecrets/0", id="no reference"),
        pytest.param({"serviceMonitor": {"interval": "often"}}, "/serviceMonitor/interval", id="no interval"),
        pytest.param({"tolerations": {}}, "/tolerations", id="no list"),
        pytest.param({"lostNodeSeconds": -1}, "/lostNodeSeconds", id="no time"),
        pytest.param({"priorityClass": {"value": 2000000000}}, "/priorityClass/value", id="the system's priorities"),
        pytest.param({"podLabels": {"a": 1}}, "/podLabels/a", id="no text"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ChartError) as refused:
        render(values)
    words = str(refused.value)
    assert "values don't meet the specifications of the schema" in words
    assert field in words or field.strip("/").replace("/", ".") in words


def test_every_value_is_in_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    def check(node: dict[str, Any], part: dict[str, Any], path: str) -> None:
        for key, value in node.items():
            assert key in part["properties"], f"{path}{key}"
            if isinstance(value, dict) and "properties" in part["properties"][key]:
                check(value, part["properties"][key], f"{path}{key}.")

    check(values, schema, "")


def test_no_secret_is_rendered() -> None:
    rendered = render()
    assert "Secret" not in {manifest["kind"] for manifest in rendered}
    for variable in container()["env"]:
        assert not any(word in variable["name"] for word in ("SECRET", "TOKEN", "PASSWORD", "API_KEY"))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"a": "b"},
            "tolerations": [{"operator": "Exists"}],
            "podLabels": {"team": "voice"},
            "podAnnotations": {"a/b": "c"},
            "imagePullSecrets": [{"name": "pull"}],
            "agents": {"providerBaseUrls": {"openai": "http://gateway/v1"}},
        },
    ],
    ids=["defaults", "everything"],
)
async def test_the_api_server_accepts_what_is_rendered(api: Api, namespace: str, values: dict[str, Any]) -> None:
    for manifest in render(values, release=namespace, namespace=namespace):
        (await api.apply(path_of(manifest), manifest, "helm", dry_run=True)).accepted()


async def test_the_memory_that_the_operator_may_use_is_its_own(api: Api, namespace: str) -> None:
    template = of_kind(render({"priorityClass": {"create": False}}), "Deployment")["spec"]["template"]
    template["spec"]["serviceAccountName"] = "default"
    pod = {"metadata": {"name": "operator", **template["metadata"]}, "spec": template["spec"]}
    made = (await api.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)).accepted()
    [resources] = [one["resources"] for one in made["spec"]["containers"]]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == "512Mi"


async def test_the_operators_pod_passes_the_restricted_standard(api: Api, namespace: str) -> None:
    restricted = f"{namespace}-restricted"
    await create_namespace(api, restricted, {"pod-security.kubernetes.io/enforce": "restricted"})
    try:
        rendered = render({"priorityClass": {"create": False}}, release=namespace, namespace=restricted)
        template = of_kind(rendered, "Deployment")["spec"]["template"]
        template["spec"]["serviceAccountName"] = "default"
        metadata = {"name": "operator", "namespace": restricted, **template["metadata"]}
        pod = {"metadata": metadata, "spec": template["spec"]}
        path = f"/api/v1/namespaces/{restricted}/pods?dryRun=All&fieldValidation=Strict"
        (await api.request("POST", path, pod)).accepted()
        # The standard is really enforced: without its security context the same pod is refused.
        del pod["spec"]["containers"][0]["securityContext"]
        refused = await api.request("POST", path, pod)
        assert (refused.status, "restricted" in refused.message) == (403, True)
    finally:
        (await api.request("DELETE", f"/api/v1/namespaces/{restricted}")).accepted()
