"""The operator against a real API server: what server-side apply, ownership and deletion really do."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from livekit_operator.constants import MANAGED_SELECTOR, ROOM_FINALIZER, SERVER_FINALIZER
from tests.fakes import manifests
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.manifests import decoded
from tests.fakes.waiting import eventually
from tests.harness.api import Api
from tests.integration.conftest import create_namespace
from tests.integration.operated import Operated, operated

ALICE = [{"identity": "alice"}]
CHILDREN = "pods,secrets,configmaps,services,serviceaccounts,poddisruptionbudgets,networkpolicies"


@pytest.fixture
async def operator(api: Api, namespace: str) -> AsyncIterator[Operated]:
    """Return a namespace with an operator."""
    async with operated(api, namespace) as made:
        yield made


async def test_children_are_applied_and_owned(operator: Operated) -> None:
    await operator.with_server()
    await operator.create(manifests.room(tokens=ALICE))
    await operator.reason("MeetingRoom", "support-42")
    for kind, name, owner in (
        ("Secret", "voice-livekit-keys", "LiveKitServer"),
        ("ServiceAccount", "voice-livekit", "LiveKitServer"),
        ("Service", "voice-livekit", "LiveKitServer"),
        ("PodDisruptionBudget", "voice-livekit", "LiveKitServer"),
        ("Secret", "support-42-alice", "MeetingRoom"),
    ):
        metadata = (await operator.get(kind, name))["metadata"]
        [reference] = metadata["ownerReferences"]
        assert (reference["kind"], reference["controller"], reference["blockOwnerDeletion"]) == (owner, True, True)
        managers = {(m["manager"], m["operation"]) for m in metadata["managedFields"] if not m.get("subresource")}
        # A child of a new room is created, which needs no look whether it is there.
        assert managers == {("livekit-operator", "Update" if owner == "MeetingRoom" else "Apply")}


async def test_a_created_child_loses_what_is_no_longer_wanted(operator: Operated) -> None:
    await operator.with_server()
    await operator.create(manifests.room(tokens=ALICE))
    await operator.reason("MeetingRoom", "support-42")
    env = [{**ALICE[0], "secret": {"style": "Env"}}]
    await operator.patch("MeetingRoom", "support-42", {"spec": {"tokens": env}})

    async def changed() -> bool:
        keys = ((await operator.get("Secret", "support-42-alice")).get("data") or {}).keys()
        return "LIVEKIT_TOKEN" in keys and not {"token", "url"} & keys

    await operator.until("the keys of before to go", changed)


async def test_what_ends_with_more_than_itself_has_a_finalizer(operator: Operated) -> None:
    await operator.with_server()
    await operator.with_pool()
    await operator.create(manifests.room())
    await operator.reason("MeetingRoom", "support-42")
    assert (await operator.get("MeetingRoom", "support-42"))["metadata"]["finalizers"] == [ROOM_FINALIZER]
    assert (await operator.get("LiveKitServer", "voice"))["metadata"]["finalizers"] == [SERVER_FINALIZER]
    assert "finalizers" not in (await operator.get("VoiceAgentPool", "front-desk"))["metadata"]


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    [found] = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def image_changed(deployment: dict[str, Any]) -> Any:
    return {"spec": {"template": {"spec": {"containers": [{**container(deployment), "image": "by-hand:1"}]}}}}


def sidecar_added(deployment: dict[str, Any]) -> Any:
    containers = [container(deployment), {"name": "by-hand", "image": "by-hand:1"}]
    return {"spec": {"template": {"spec": {"containers": containers}}}}


def always(patch: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda _: patch


@pytest.mark.parametrize(
    ("kind", "name", "change", "part"),
    [
        pytest.param("Deployment", "voice-redis", always({"spec": {"replicas": 3}}), "spec", id="replicas"),
        pytest.param("Deployment", "voice-redis", image_changed, "spec", id="another image"),
        pytest.param("Deployment", "voice-redis", sidecar_added, "spec", id="a container more"),
        pytest.param(
            "PodDisruptionBudget", "voice-livekit", always({"spec": {"maxUnavailable": 5}}), "spec", id="a budget"
        ),
        pytest.param(
            "Service",
            "voice-livekit",
            always({"spec": {"ports": [{"name": "signal", "port": 1, "protocol": "TCP", "targetPort": "signal"}]}}),
            "spec",
            id="another port",
        ),
        pytest.param("Secret", "support-42-alice", always({"data": {"token": "eA=="}}), "data", id="a token"),
        pytest.param("Secret", "support-42-alice", always({"data": {"url": "eA=="}}), "data", id="a URL"),
        pytest.param("Secret", "front-desk-agent", always({"data": {"apiSecret": "eA=="}}), "data", id="credentials"),
    ],
)
async def test_what_is_changed_by_hand_is_put_back(
    operator: Operated, kind: str, name: str, change: Callable[[dict[str, Any]], Any], part: str
) -> None:
    await operator.with_server(redis={"managed": {}})
    await operator.with_pool()
    await operator.create(manifests.room(tokens=ALICE))
    before = (await operator.get(kind, name))[part]
    await operator.patch(kind, name, change(await operator.get(kind, name)))

    async def put_back() -> bool:
        after = (await operator.get(kind, name)).get(part) or {}
        if name == "support-42-alice":  # a token that was lost is another one
            return (
                {**after, "token": ""}.keys() == before.keys()
                and after["url"] == before["url"]
                and (base64.b64decode(after["token"]).count(b".") == 2)
            )
        return bool(after == before)

    await operator.until(f"{kind}/{name} as it was", put_back, seconds=10)
    await comes_to_rest(operator)


async def comes_to_rest(operator: Operated) -> None:
    """Fail when the operator goes on writing children that need no change."""
    value = operator.metrics.registry.get_sample_value
    labels = {"kind": "LiveKitServer", "result": "ok"}

    async def passes(count: float) -> None:
        wanted = (value("livekit_operator_reconcile_total", labels) or 0) + count
        await eventually(lambda: (value("livekit_operator_reconcile_total", labels) or 0) >= wanted, "passes")

    await passes(2)
    operator.kubernetes.writes.clear()
    await passes(2)
    assert [what for what in operator.kubernetes.writes if what.startswith("apply")] == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [("Secret", "support-42-alice"), ("ServiceAccount", "voice-livekit"), ("Service", "voice-livekit")],
)
async def test_what_is_deleted_by_hand_is_made_again(operator: Operated, kind: str, name: str) -> None:
    await operator.with_server()
    await operator.create(manifests.room(tokens=ALICE))
    uid = (await operator.get(kind, name))["metadata"]["uid"]
    await operator.api.delete(kind, operator.namespace, name)

    async def made_again() -> bool:
        found = await operator.find(kind, name)
        return found is not None and found["metadata"]["uid"] != uid

    await operator.until(f"{kind}/{name} again", made_again, seconds=10)


async def test_a_child_without_its_label_gets_it_back(operator: Operated) -> None:
    await operator.with_server()
    label = "app.kubernetes.io/managed-by"
    await operator.patch("Service", "voice-livekit", {"metadata": {"labels": {label: None}}})

    async def labelled() -> bool:
        return label in (await operator.get("Service", "voice-livekit"))["metadata"]["labels"]

    await operator.until("the label", labelled, seconds=10)


@pytest.mark.parametrize("after_repair", [False, True], ids=["applied only", "repaired before"])
async def test_a_removed_field_is_really_removed(operator: Operated, after_repair: bool) -> None:
    resources = {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}
    await operator.with_server(redis={"managed": {"resources": resources}})
    if after_repair:
        patch = image_changed(await operator.get("Deployment", "voice-redis"))
        await operator.patch("Deployment", "voice-redis", patch)

        async def repaired() -> bool:
            return bool(container(await operator.get("Deployment", "voice-redis"))["image"] != "by-hand:1")

        await operator.until("the repair", repaired, seconds=10)
    before = container(await operator.get("Deployment", "voice-redis"))
    assert before["resources"] == resources
    less = {"redis": {"managed": {"resources": {"limits": None}}}}
    await operator.patch("LiveKitServer", "voice", {"spec": less})

    async def removed() -> bool:
        return "limits" not in container(await operator.get("Deployment", "voice-redis"))["resources"]

    await operator.until("the fields to go", removed, seconds=10)


@pytest.mark.parametrize(
    ("name", "kind"), [("voice-livekit-keys", "LiveKitServer"), ("support-42-alice", "MeetingRoom")]
)
async def test_a_foreign_secret_is_not_overwritten(operator: Operated, name: str, kind: str) -> None:
    foreign = await operator.create(manifests.secret(name, mine="yes"))
    if kind == "MeetingRoom":
        await operator.with_server()
        await operator.create(manifests.room(tokens=ALICE))
        message = await operator.reason("MeetingRoom", "support-42", "NotOwned")
    else:
        await operator.create(manifests.server())
        message = await operator.reason("LiveKitServer", "voice", "NotOwned")
    assert name in message
    assert (await operator.get("Secret", name))["metadata"]["resourceVersion"] == foreign["metadata"]["resourceVersion"]
    await operator.api.delete("Secret", operator.namespace, name)
    if kind == "LiveKitServer":
        await operator.server_runs()
    await operator.reason(kind, "support-42" if kind == "MeetingRoom" else "voice")
    assert "mine" not in (await operator.get("Secret", name))["data"]


async def test_a_quota_is_told_in_the_status_and_heals(operator: Operated) -> None:
    quota = {"metadata": {"name": "none", "namespace": operator.namespace}, "spec": {"hard": {"count/pods": "0"}}}
    path = f"/api/v1/namespaces/{operator.namespace}/resourcequotas"
    await operator.create(manifests.server())
    await operator.get("Pod", "voice-livekit-0")
    (await operator.api.request("POST", path, quota)).accepted()

    async def counted() -> bool:
        return bool((await operator.api.request("GET", f"{path}/none")).accepted().get("status", {}).get("hard"))

    await operator.until("the quota to be counted", counted)
    await operator.create(manifests.providers_secret())
    await operator.create(manifests.pool())
    message = await operator.reason("VoiceAgentPool", "front-desk", "KubernetesRefused")
    assert "exceeded quota: none" in message
    (await operator.api.request("DELETE", f"{path}/none")).accepted()

    async def pods() -> bool:
        return await operator.run_pods() > 0

    await operator.until("the pod", pods, seconds=90)
    await operator.reason("VoiceAgentPool", "front-desk")


async def test_a_changed_pool_gets_new_pods(operator: Operated) -> None:
    await operator.with_server()
    await operator.with_pool(replicas=2)
    old = {pod["metadata"]["name"] for pod in await agent_pods(operator)}
    assert len(old) == 2
    await operator.patch("VoiceAgentPool", "front-desk", {"spec": {"sessionsPerPod": 2}})

    async def replaced() -> bool:
        await operator.run_pods()
        names = {pod["metadata"]["name"] for pod in await agent_pods(operator)}
        return len(names) == 2 and not names & old

    await operator.until("new pods", replaced)
    await operator.reason("VoiceAgentPool", "front-desk")


async def agent_pods(operator: Operated) -> list[dict[str, Any]]:
    pods = await operator.api.list("Pod", operator.namespace)
    return [pod for pod in pods if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "agent"]


async def test_deleting_takes_everything_with_it(operator: Operated) -> None:
    await operator.with_server()
    await operator.with_pool()
    await operator.create(manifests.room(tokens=ALICE))
    await operator.reason("MeetingRoom", "support-42")
    await operator.api.delete("MeetingRoom", operator.namespace, "support-42")
    await operator.gone("MeetingRoom", "support-42")
    assert operator.livekit.rooms == {}
    await operator.gone("Secret", "support-42-alice")
    await operator.api.delete("VoiceAgentPool", operator.namespace, "front-desk")
    await operator.gone("Secret", "front-desk-agent")
    await operator.api.delete("LiveKitServer", operator.namespace, "voice")

    async def none() -> bool:
        return not await operator.api.list(CHILDREN, operator.namespace, MANAGED_SELECTOR)

    await operator.until("every child to go", none, seconds=60)


async def test_a_whole_namespace_can_be_deleted(api: Api) -> None:
    """Rooms go with their server, in whatever order the namespace's contents are deleted."""
    name = f"test-{secrets.token_hex(4)}"
    await create_namespace(api, name)
    async with operated(api, name) as operator:
        await operator.with_server()
        await operator.create(manifests.room(tokens=ALICE))
        await operator.reason("MeetingRoom", "support-42")
        (await api.request("DELETE", f"/api/v1/namespaces/{name}")).accepted()

        async def gone() -> bool:
            return (await api.request("GET", f"/api/v1/namespaces/{name}")).status == 404

        await operator.until("the namespace to go", gone, seconds=90)


async def test_200_rooms(api: Api, namespace: str) -> None:
    """Three writes for each room and its token: finalizer, Secret, status. A restart finds nothing to do."""
    livekit = FakeLiveKit()
    names = [f"room-{number}" for number in range(200)]
    async with operated(api, namespace, livekit) as operator:
        await operator.with_server()
        operator.kubernetes.writes.clear()
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(operator.create(manifests.room(name, tokens=ALICE)))
        await operator.until("all rooms to be ready", partial(all_ready, operator, names), seconds=60)
        ours = [what for what in operator.kubernetes.writes if "/room-" in what]
        assert len(ours) == 3 * len(names)
        assert sorted(livekit.rooms) == sorted(names)

        async def counted() -> bool:
            return bool((await operator.get("LiveKitServer", "voice"))["status"]["rooms"] == len(names))

        await operator.until("the server to count its rooms", counted)
    before = {m["metadata"]["name"]: decoded(m)["token"] for m in await api.list("Secret", namespace) if token_of(m)}
    livekit.requests.clear()
    async with operated(api, namespace, livekit) as operator:
        value = operator.metrics.registry.get_sample_value
        labels = {"kind": "MeetingRoom", "result": "ok"}

        # Woken by the start and by the server's first listing: every room is looked at with the server known.
        await eventually(lambda: (value("livekit_operator_reconcile_total", labels) or 0) >= len(names), "passes")
        await eventually(lambda: livekit.asked("list_rooms") >= 2, "two listings")
        depth = {"kind": "MeetingRoom"}
        await eventually(lambda: value("livekit_operator_queue_depth", depth) == 0, "an empty queue")
        assert operator.kubernetes.writes == []
        assert livekit.writes == []
    after = {m["metadata"]["name"]: decoded(m)["token"] for m in await api.list("Secret", namespace) if token_of(m)}
    assert after == before


def token_of(secret: dict[str, Any]) -> bool:
    return "token" in (secret.get("data") or {})


async def all_ready(operator: Operated, names: list[str]) -> bool:
    rooms = await operator.api.list("MeetingRoom", operator.namespace)
    conditions = {r["metadata"]["name"]: (r.get("status") or {}).get("conditions") or [] for r in rooms}
    ready = {name for name, found in conditions.items() if any(c["reason"] == "Ready" for c in found)}
    return ready >= set(names)


async def test_a_room_deleted_while_the_operator_is_down_goes_when_it_is_back(api: Api, namespace: str) -> None:
    """A room deleted while the operator is down waits for it, and goes when it is back."""
    livekit = FakeLiveKit()
    async with operated(api, namespace, livekit) as operator:
        await operator.with_server()
        await operator.create(manifests.room())
        await operator.reason("MeetingRoom", "support-42")
    await api.delete("MeetingRoom", namespace, "support-42")
    assert await api.get("MeetingRoom", namespace, "support-42") is not None
    async with operated(api, namespace, livekit) as operator:
        await operator.gone("MeetingRoom", "support-42")
    assert livekit.rooms == {}
