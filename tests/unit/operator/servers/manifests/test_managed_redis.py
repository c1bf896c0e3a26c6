"""The small Redis: found by its server, let in by password, kept from everybody else."""

import copy
import json
from typing import Any

import pytest

from livekit_operator.constants import ANNOTATION_APPLIED
from livekit_operator.manifests.metadata import digest
from livekit_operator.servers.manifests import managed_redis as build
from tests.fakes import models
from tests.fakes.manifests import decoded

PASSWORD = "a-generated-password"
IMAGE = "redis:7.2-alpine"
KINDS = ["Secret", "Deployment", "Service", "NetworkPolicy"]
POD = {
    "app.kubernetes.io/name": "redis",
    "app.kubernetes.io/instance": "voice",
    "app.kubernetes.io/component": "redis",
}


def built(password: str = PASSWORD, **spec: Any) -> dict[str, Any]:
    """Return kind -> manifest."""
    server = models.server(**{"redis": {"managed": {}}, **spec})
    return {manifest["kind"]: manifest for manifest in build.build_managed_redis(server, password, IMAGE)}


def pod_template(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = built(**spec)["Deployment"]["spec"]["template"]
    return found


@pytest.mark.parametrize("redis", [None, {"address": "redis:6379"}])
def test_nothing_is_made_unless_asked_for(redis: Any) -> None:
    assert build.build_managed_redis(models.server(redis=redis), PASSWORD, IMAGE) == []


def test_everything_has_one_name_and_the_server_knows_the_address() -> None:
    manifests = built()
    assert list(manifests) == KINDS
    assert {manifest["metadata"]["name"] for manifest in manifests.values()} == {"voice-redis"}
    assert all(manifest["metadata"]["labels"].items() >= POD.items() for manifest in manifests.values())
    assert build.redis_address(models.server()) == "voice-redis.team.svc:6379"
    assert manifests["Service"]["spec"]["ports"][0]["port"] == build.PORT
    assert manifests["Service"]["spec"]["selector"] == POD


def test_redis_reads_its_password_from_a_file_and_keeps_nothing() -> None:
    values = decoded(built()["Secret"])
    assert values["password"] == PASSWORD
    assert values["redis.conf"].splitlines() == [
        "bind * -::*",
        "port 6379",
        f'requirepass "{PASSWORD}"',
        "protected-mode yes",
        'save ""',
        "appendonly no",
        "dir /data",
    ]


def test_a_password_cannot_leave_its_line() -> None:
    assert 'requirepass "a\\"b\\\\c"' in decoded(built('a"b\\c')["Secret"])["redis.conf"]


def test_the_password_is_only_in_the_secret() -> None:
    manifests = built()
    del manifests["Secret"]
    assert PASSWORD not in json.dumps(manifests)
    [container] = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert "env" not in container
    assert container["command"] == ["redis-server", "/etc/redis/redis.conf"]
    assert {"readinessProbe", "livenessProbe"} <= set(container)
    assert all("tcpSocket" in container[probe] for probe in ("readinessProbe", "livenessProbe"))


def test_another_password_starts_another_redis() -> None:
    first, again, other = (pod_template(password=value)["metadata"]["annotations"] for value in ("a", "a", "b"))
    assert first == again != other


def test_there_is_never_a_second_one() -> None:
    spec = built()["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_its_pod_has_no_privileges() -> None:
    spec = pod_template()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "voice-livekit"
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["runAsNonRoot"] is True
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    [config, data] = spec["volumes"]
    assert config["secret"]["items"] == [{"key": "redis.conf", "path": "redis.conf"}]
    assert data["emptyDir"] == {}


def test_its_resources_and_pull_secrets_are_as_asked_for() -> None:
    resources = {"requests": {"cpu": "50m"}, "limits": {"memory": "64Mi"}}
    spec = pod_template(
        redis={"managed": {"resources": resources}}, podTemplate={"imagePullSecrets": [{"name": "registry"}]}
    )["spec"]
    assert spec["containers"][0]["resources"] == resources
    assert spec["containers"][0]["image"] == IMAGE
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("exposure", ["NodePort", "LoadBalancer"])
def test_only_the_servers_reach_it(exposure: str) -> None:
    spec = built(media={"exposure": exposure})["NetworkPolicy"]["spec"]
    assert spec["podSelector"] == {"matchLabels": POD}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    servers = {
        "matchLabels": {"app.kubernetes.io/name": "livekit-server", "app.kubernetes.io/instance": "voice"},
        "matchExpressions": [
            {"key": "app.kubernetes.io/component", "operator": "In", "values": ["server", "server-check"]}
        ],
    }
    assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": 6379}], "from": [{"podSelector": servers}]}]


def test_servers_on_the_host_network_come_from_nodes() -> None:
    spec = built()["NetworkPolicy"]["spec"]
    assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": 6379}]}]
    assert spec["egress"] == []


@pytest.mark.parametrize(("omit_ids", "ids"), [(False, 1000), (True, None)])
def test_its_user_may_be_the_clusters_to_choose(omit_ids: bool, ids: int | None) -> None:
    def context(**spec: Any) -> dict[str, Any]:
        server = models.server(redis={"managed": {}}, **spec)
        made = build.build_managed_redis(server, PASSWORD, IMAGE, omit_ids=omit_ids)
        [deployment] = [manifest for manifest in made if manifest["kind"] == "Deployment"]
        found: dict[str, Any] = deployment["spec"]["template"]["spec"]["securityContext"]
        return found

    assert [context().get(name) for name in ("runAsUser", "runAsGroup", "fsGroup")] == [ids] * 3
    assert context(podTemplate={"runAsUser": 7})["runAsUser"] == 7


def test_redis_runs_where_servers_may() -> None:
    taint = {"key": "media", "operator": "Exists", "effect": "NoSchedule"}
    spec = pod_template(podTemplate={"tolerations": [taint], "nodeSelector": {"pool": "media"}})["spec"]
    assert (spec["tolerations"], spec["nodeSelector"]) == ([taint], {"pool": "media"})
    assert not {"tolerations", "nodeSelector"} & pod_template()["spec"].keys(), "an older one is not replaced"


@pytest.mark.parametrize(("drain", "seconds"), [(0, 30), (1, 31), (3600, 3630)])
def test_redis_may_stay_for_as_long_as_its_servers_drain(drain: int, seconds: int) -> None:
    assert pod_template(drainTimeoutSeconds=drain)["spec"]["terminationGracePeriodSeconds"] == seconds


def deployment(image: str = IMAGE, **spec: Any) -> dict[str, Any]:
    server = models.server(redis={"managed": {}}, **spec)
    made = build.build_managed_redis(server, PASSWORD, image)
    return next(manifest for manifest in made if manifest["kind"] == "Deployment")


def applied(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a Deployment as the API server has it after an operator applied it."""
    made = copy.deepcopy(manifest)
    made["metadata"]["annotations"] = {ANNOTATION_APPLIED: digest(manifest)}
    spec = made["spec"]["template"]["spec"]
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    return made


def without_hook(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a Deployment as operators made it that knew no hook."""
    made = copy.deepcopy(manifest)
    del made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    del made["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
    return made


OTHER_HOOK = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 1"]}}}


def with_hook(manifest: dict[str, Any], hook: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(manifest)
    made["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = hook
    return made


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(deployment(), id="the same"),
        pytest.param(deployment(drainTimeoutSeconds=5), id="another drain timeout"),
        pytest.param(without_hook(deployment()), id="an operator that knew no hook"),
        pytest.param(with_hook(deployment(), OTHER_HOOK), id="an operator with another hook"),
    ],
)
def test_a_redis_that_would_only_leave_otherwise_is_not_replaced(known: dict[str, Any]) -> None:
    assert build.keep_running(deployment(), applied(known)) == known


def edited() -> dict[str, Any]:
    """Return a Deployment whose hook somebody took out."""
    made = applied(deployment())
    del made["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
    return made


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(None, id="none"),
        pytest.param(applied(without_hook(deployment("redis:7.0"))), id="another image, without a hook"),
        pytest.param(applied(deployment("redis:7.0", drainTimeoutSeconds=5)), id="another image and drain timeout"),
        pytest.param(edited(), id="changed by somebody"),
        pytest.param({**deployment(), "metadata": {}}, id="not applied"),
    ],
)
def test_a_redis_that_has_to_be_replaced_leaves_as_it_should_from_then_on(known: dict[str, Any] | None) -> None:
    assert build.keep_running(deployment(), known) == deployment()
