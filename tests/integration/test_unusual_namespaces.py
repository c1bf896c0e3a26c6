"""Namespaces with a mesh, bounds on what containers ask for, or user ids of their own, at a real API server."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from livekit_operator.metrics import Metrics
from tests.fakes import manifests
from tests.fakes.manifests import Manifest
from tests.harness.api import Api, operator_client
from tests.integration.admission import mutating_webhook, validating_policy
from tests.integration.operated import Operated, operated

SHARED: dict[str, Any] = {"replicas": 2, "redis": {"address": "redis.example.com:6379"}}
PROXY_FIRST = {
    "op": "add",
    "path": "/spec/containers/0",
    "value": {"name": "linkerd-proxy", "image": "proxy:1", "securityContext": {"allowPrivilegeEscalation": False}},
}
IDS = (
    "[variables.spec].all(s, s.securityContext.runAsUser >= 1000660000 && s.securityContext.runAsUser < 1000670000)"
    " && variables.spec.?initContainers.orValue([]).all(c, c.?securityContext.?runAsUser.orValue(1000660000) >= "
    "1000660000)"
)


@pytest.fixture
async def operator(api: Api, namespace: str) -> AsyncIterator[Operated]:
    """Return a namespace with an operator."""
    async with operated(api, namespace) as made:
        yield made


async def in_force(operator: Operated, seen: Callable[[int, Manifest], bool]) -> None:
    """Wait until a dry run of a pod shows that a policy or webhook is in force."""
    container = {"name": "x", "image": "x:1"}
    pod: Manifest = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}
    pod["spec"]["securityContext"] = {"runAsUser": 1000}
    pod["metadata"] = {"name": "probe", "namespace": operator.namespace}

    async def shown() -> bool:
        answer = await operator.api.try_create(pod, dryRun="All")
        return seen(answer.status, answer.body)

    await operator.until("it to be in force", shown)


async def limit_range(operator: Operated, **bounds: Any) -> None:
    """Bound what containers of the namespace ask for."""
    body = {"metadata": {"name": "platform"}, "spec": {"limits": [{"type": "Container", **bounds}]}}
    path = f"/api/v1/namespaces/{operator.namespace}/limitranges"
    (await operator.api.request("POST", path, body)).accepted()


def created(operator: Operated, name: str) -> int:
    return sum(write.startswith(f"create Pod/{name}") for write in operator.kubernetes.writes)


async def test_a_container_that_a_mesh_puts_first_replaces_no_server(api: Api, operator: Operated) -> None:
    async with mutating_webhook(api, operator.namespace, lambda _: [PROXY_FIRST]):
        await in_force(operator, lambda _, body: len(body.get("spec", {}).get("containers", ())) == 2)
        await operator.with_server(**SHARED)

        async def both() -> bool:
            await operator.run_pods("server")
            return bool((await operator.get("LiveKitServer", "voice"))["status"].get("readyReplicas") == 2)

        await operator.until("both servers", both)
        pod = await operator.get("Pod", "voice-livekit-0")
        assert [container["name"] for container in pod["spec"]["containers"]] == ["linkerd-proxy", "livekit-server"]
        before = list(operator.kubernetes.writes)
        await _passes(operator, 8)  # each pass used to make one server more
        assert operator.kubernetes.writes == before
        assert created(operator, "voice-livekit-") == 2


async def _passes(operator: Operated, number: int) -> None:
    """Wait until the server was looked at so often again."""
    asked = len(operator.livekit.requests)

    async def looked() -> bool:
        return len(operator.livekit.requests) >= asked + number

    await operator.until(f"{number} looks", looked, seconds=60)


async def test_helpers_fit_where_their_pod_fits(operator: Operated) -> None:
    await limit_range(operator, min={"cpu": "100m", "memory": "128Mi"}, maxLimitRequestRatio={"memory": "3"})
    resources = {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    await operator.with_server(resources={**resources, "limits": {"memory": "512Mi"}})
    await operator.with_pool(agent=manifests.own_agent(), resources=resources)
    [pod] = [p for p in await operator.api.list("Pod", operator.namespace) if p["spec"].get("initContainers")]
    [runner] = pod["spec"]["initContainers"]
    assert runner["resources"] == pod["spec"]["containers"][0]["resources"]

    await operator.patch("LiveKitServer", "voice", {"spec": {"logging": {"level": "debug"}}})

    async def replaced() -> bool:
        await operator.pass_checks()
        await operator.run_pods("server")
        return await operator.find("Pod", "voice-livekit-1") is not None

    await operator.until("a server that was checked", replaced)
    assert created(operator, "voice-livekit-check-") >= 1


async def test_a_container_that_does_not_fit_is_named(operator: Operated) -> None:
    await limit_range(operator, min={"cpu": "300m"}, default={"cpu": "1"}, defaultRequest={"cpu": "300m"})
    await operator.create(manifests.server(resources={"requests": {"cpu": "200m"}}))
    message = await operator.reason("LiveKitServer", "voice", "KubernetesRefused")
    assert "container livekit-server (requests cpu 200m)" in message
    assert "spec.resources" in message
    await operator.patch("LiveKitServer", "voice", {"spec": {"resources": {"requests": {"cpu": "300m"}}}})
    await operator.server_runs()
    await operator.reason("LiveKitServer", "voice")


async def test_ids_of_a_namespaces_own_range(api: Api, operator: Operated) -> None:
    validation = {"expression": IDS, "message": "runAsUser must be in the ranges [1000660000, 1000669999]"}
    spec = {"variables": [{"name": "spec", "expression": "object.spec"}], "validations": [validation]}
    async with validating_policy(api, operator.namespace, spec):
        await in_force(operator, lambda status, _: status == 422)
        await operator.create(manifests.server())
        message = await operator.reason("LiveKitServer", "voice", "KubernetesRefused")
        assert "spec.podTemplate.runAsUser" in message
        template = {"podTemplate": {"runAsUser": 1000660001}}
        await operator.patch("LiveKitServer", "voice", {"spec": template})
        await operator.server_runs()
        await operator.reason("LiveKitServer", "voice")
        await operator.with_pool(agent=manifests.own_agent(runAsUser=1000660001))


async def test_ids_that_the_cluster_chooses_are_not_named(api: Api, namespace: str) -> None:
    async with operated(api, namespace, omit_ids=True) as operator:
        await operator.with_server(redis={"managed": {}})
        await operator.with_pool(agent=manifests.own_agent())
        deployment = await operator.get("Deployment", "voice-redis")
        specs = [pod["spec"] for pod in await api.list("Pod", namespace)]
        for spec in [*specs, deployment["spec"]["template"]["spec"]]:
            contexts = [spec["securityContext"], *(c["securityContext"] for c in spec["containers"])]
            assert not {"runAsUser", "runAsGroup", "fsGroup"} & {name for context in contexts for name in context}


async def test_warnings_about_an_object_and_no_others(api: Api, namespace: str) -> None:
    for uid, kind, reason in (("a", "Warning", "FailedMount"), ("a", "Normal", "Pulled"), ("b", "Warning", "Failed")):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{uid}-{reason.lower()}", "namespace": namespace},
            "involvedObject": {"kind": "Pod", "namespace": namespace, "name": uid, "uid": uid},
            "type": kind,
            "reason": reason,
            "message": "words",
        }
        await api.create(event)
    client = await operator_client(api.configuration, Metrics())
    try:
        assert [event["reason"] for event in await client.warnings(namespace, "a")] == ["FailedMount"]
        assert list(await client.warnings(namespace, "c")) == []
    finally:
        await client.close()
