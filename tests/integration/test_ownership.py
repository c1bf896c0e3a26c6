"""Whose objects are, at a real API server: nothing forged is believed, what a former owner left is taken over."""

import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from livekit_operator.clients.api_resources import RESOURCES
from livekit_operator.pools.manifests import versions
from livekit_operator.process.wiring import TABLE, child_kinds
from tests.fakes import manifests
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.manifests import Manifest, decoded
from tests.harness.api import Api
from tests.integration.conftest import create_namespace, delete_namespace
from tests.integration.operated import Operated, operated

UNSERVED = "livekit-operator.dev/v1alpha0"
IMAGE = "registry.example.com/mallory:1"
ALICE = [{"identity": "alice", "revoke": True}]
ways = pytest.mark.parametrize("way", ["orphaned", "a dead uid"])


@pytest.fixture
async def mallory(api: Api, namespace: str) -> AsyncIterator[str]:
    """Return a namespace of somebody else's, which the operator sees as well."""
    name = f"{namespace}-mallory"
    await create_namespace(api, name)
    yield name
    await delete_namespace(api, name)


async def forge(api: Api, manifest: Manifest, namespace: str, name: str | None = None) -> Manifest:
    """Create a copy of an object, with the owner that it has, as somebody may who has read it.

    The owner is said to be of a version that is not served, so that the garbage collector cannot tell that there is
    none in this namespace.
    """
    kept = {key: manifest["metadata"].get(key) for key in ("labels", "annotations", "ownerReferences")}
    metadata = {**copy.deepcopy(kept), "namespace": namespace, "name": name or manifest["metadata"]["name"]}
    for reference in metadata["ownerReferences"]:
        reference["apiVersion"] = UNSERVED
    made = {**copy.deepcopy(manifest), "metadata": metadata}
    if made["kind"] == "Pod":
        containers = [{"name": c["name"], "image": IMAGE, "ports": c.get("ports")} for c in made["spec"]["containers"]]
        made["spec"] = {"schedulerName": "nobody", "containers": containers}
    made.pop("status", None)
    return await api.create(made)


def program(version: Manifest) -> Manifest:
    """Return a version's ConfigMap that would have another image run, by a digest that is right."""
    made = copy.deepcopy(version)
    template, config = json.loads(made["data"]["template.json"]), json.loads(made["data"]["config.json"])
    agent = template["spec"]["agent"]
    template["stockImage"], agent["instructions"] = IMAGE, config["instructions"]
    revision = versions.revision(template)
    agent.pop("instructions")
    made["data"]["template.json"] = json.dumps(template)
    made["metadata"]["labels"]["livekit-operator.dev/revision"] = revision
    made["metadata"]["name"] = f"front-desk-agent-{revision}"
    made["metadata"]["annotations"] = {"livekit-operator.dev/proven": "2030-01-01T00:00:00Z"}
    return made


async def images(operator: Operated) -> set[str]:
    pods = await operator.api.list("Pod", operator.namespace)
    return {
        container["image"] for pod in pods for container in pod["spec"]["containers"] if "agent" in container["name"]
    }


@pytest.mark.parametrize("where", ["in another namespace", "beside the true ones"])
async def test_forged_children_are_not_believed(api: Api, namespace: str, mallory: str, where: str) -> None:
    target = mallory if where == "in another namespace" else namespace
    async with operated(api, namespace, others=frozenset({mallory})) as operator:
        await operator.with_server()
        await operator.with_pool()
        await operator.create(manifests.room(tokens=ALICE))
        await operator.reason("MeetingRoom", "support-42")
        operator.livekit.join("support-42", "bob")
        pool = await operator.get("VoiceAgentPool", "front-desk")
        revision = pool["status"]["revision"]
        version = await operator.get("ConfigMap", f"front-desk-agent-{revision}")
        forged = await forge(api, program(version), target)
        token = await operator.get("Secret", "support-42-alice")
        token["metadata"]["annotations"]["livekit-operator.dev/revokes"] = "bob"
        await forge(api, token, target, "support-42-bob")
        if target == mallory:
            pod = await forge(api, await operator.get("Pod", "voice-livekit-0"), target)
            await api.patch("Pod", target, pod["metadata"]["name"], RUNNING, "status")
            [worker] = [p for p in await api.list("Pod", namespace) if p["metadata"]["name"].startswith("front-desk-")]
            pod = await forge(api, {**worker, "apiVersion": "v1", "kind": "Pod"}, target)
            await api.patch("Pod", target, pod["metadata"]["name"], RUNNING, "status")
        asked = forged["metadata"]["labels"]["livekit-operator.dev/revision"]
        await operator.patch("VoiceAgentPool", "front-desk", {"spec": {"rollout": {"rollbackTo": asked}}})
        await operator.reason("VoiceAgentPool", "front-desk", "RevisionNotFound")
        await operator.patch("MeetingRoom", "support-42", {"spec": {"metadata": "looked at"}})
        await operator.reason("MeetingRoom", "support-42")
        asked_before, listed_before = len(operator.worker.asked), operator.livekit.asked("list_rooms")

        async def looked_at() -> bool:
            listings = operator.livekit.asked("list_rooms") - listed_before
            return len(operator.worker.asked) > asked_before and listings > 1

        await operator.until("server and pool to be looked at", looked_at)
        assert await images(operator) == {"agent:1"}
        told = (await operator.get("VoiceAgentPool", "front-desk"))["status"]
        assert [line["revision"] for line in told["versions"]] == [revision]
        assert ("remove_participant", "support-42", "bob") not in operator.livekit.requests
        assert not [url for url, *_ in operator.livekit.connections if ADDRESS in url]
        assert ADDRESS not in operator.worker.asked
        assert len((await operator.get("LiveKitServer", "voice"))["status"]["servers"]) == 1
        assert operator.kubernetes.strayed == []


ADDRESS = "192.0.2.66"
RUNNING = {
    "status": {
        "phase": "Running",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
}


async def leave(
    api: Api, namespace: str, kind: str, name: str, way: str, *, away: bool = True
) -> dict[tuple[str, str], str]:
    """Delete a resource whose operator may be away, but not its children; return the uids of those."""
    owner = await api.get(kind, namespace, name)
    assert owner is not None
    left = {}
    for child_kind in child_kinds(TABLE):
        for child in await api.list(child_kind, namespace):
            references = child["metadata"].get("ownerReferences") or []
            if not any(reference["uid"] == owner["metadata"]["uid"] for reference in references):
                continue
            key = child_kind, child["metadata"]["name"]
            left[key] = child["metadata"]["uid"]
            if way == "a dead uid":
                # The garbage collector does not know what that is, and lets it be.
                dead = [{**r, "uid": "dead", "apiVersion": UNSERVED} for r in references]
                await api.patch(child_kind, namespace, key[1], {"metadata": {"ownerReferences": dead}})
    if away:
        await api.patch(kind, namespace, name, {"metadata": {"finalizers": None}})
    options = {"propagationPolicy": "Orphan" if way == "orphaned" else "Background"}
    (await api.request("DELETE", RESOURCES[kind].path(namespace, name), options)).accepted()
    return left


async def owners(api: Api, namespace: str, left: dict[tuple[str, str], str]) -> dict[tuple[str, str], Any]:
    """Return uid and controllers of what was left."""
    found = {}
    for kind, name in left:
        child = await api.get(kind, namespace, name)
        references = child["metadata"]["ownerReferences"] if child else []
        found[kind, name] = child and (child["metadata"]["uid"], [r["uid"] for r in references if r.get("controller")])
    return found


async def taken_over(operator: Operated, owner: Manifest, left: dict[tuple[str, str], str]) -> None:
    """Wait until all that was left is the new owner's, and the very same objects."""
    wanted = {key: (uid, [owner["metadata"]["uid"]]) for key, uid in left.items()}

    async def all_are() -> bool:
        return await owners(operator.api, operator.namespace, left) == wanted

    await operator.until("everything to be taken over", all_are)
    await operator.until("an Event", lambda: _told(operator))


async def _told(operator: Operated) -> bool:
    return any(event["reason"] == "Adopted" for event in await operator.api.list("Event", operator.namespace))


@ways
async def test_what_a_server_left_is_taken_over_with_its_key(api: Api, namespace: str, way: str) -> None:
    livekit = FakeLiveKit()
    async with operated(api, namespace, livekit) as operator:
        await operator.with_server()
    keys = decoded((await api.get("Secret", namespace, "voice-livekit-keys")) or {})
    left = await leave(api, namespace, "LiveKitServer", "voice", way)
    assert {("Secret", "voice-livekit-keys"), ("Pod", "voice-livekit-0"), ("Service", "voice-livekit")} <= left.keys()
    async with operated(api, namespace, livekit) as operator:
        await operator.gone("LiveKitServer", "voice")
        owner = await operator.create(manifests.server())
        await operator.reason("LiveKitServer", "voice")
        await taken_over(operator, owner, left)
        assert decoded(await operator.get("Secret", "voice-livekit-keys")) == keys
        assert not [what for what in operator.kubernetes.writes if what.startswith(("delete", "create Pod"))]


@ways
async def test_what_a_pool_left_is_taken_over_with_its_versions(api: Api, namespace: str, way: str) -> None:
    livekit = FakeLiveKit()
    async with operated(api, namespace, livekit) as operator:
        await operator.with_server()
        await operator.with_pool()
        before = (await operator.get("VoiceAgentPool", "front-desk"))["status"]
        answers = operator.worker.answers
    left = await leave(api, namespace, "VoiceAgentPool", "front-desk", way)
    assert {kind for kind, _ in left} >= {"Pod", "Secret", "ConfigMap"}
    async with operated(api, namespace, livekit) as operator:
        operator.worker.answers |= answers
        await operator.gone("VoiceAgentPool", "front-desk")
        owner = await operator.create(manifests.pool())
        await operator.reason("VoiceAgentPool", "front-desk")
        await taken_over(operator, owner, left)
        told = (await operator.get("VoiceAgentPool", "front-desk"))["status"]
        assert [v["revision"] for v in told["versions"]] == [v["revision"] for v in before["versions"]]
        assert not [what for what in operator.kubernetes.writes if what.startswith(("delete", "create Pod"))]


@ways
async def test_what_a_room_left_is_taken_over_with_its_tokens(api: Api, namespace: str, way: str) -> None:
    livekit = FakeLiveKit()
    async with operated(api, namespace, livekit) as operator:
        await operator.with_server()
        await operator.create(manifests.room(tokens=ALICE))
        await operator.reason("MeetingRoom", "support-42")
    token = decoded((await api.get("Secret", namespace, "support-42-alice")) or {})["token"]
    left = await leave(api, namespace, "MeetingRoom", "support-42", way)
    assert left.keys() == {("Secret", "support-42-alice")}
    async with operated(api, namespace, livekit) as operator:
        await operator.gone("MeetingRoom", "support-42")
        owner = await operator.create(manifests.room(tokens=ALICE))
        message = await operator.reason("MeetingRoom", "support-42", "RoomExists")
        assert "spec.adopt" in message
        await operator.patch("MeetingRoom", "support-42", {"spec": {"adopt": True}})
        await operator.reason("MeetingRoom", "support-42")
        await taken_over(operator, owner, left)
        assert decoded(await operator.get("Secret", "support-42-alice"))["token"] == token


async def test_what_is_orphaned_under_the_operator_goes_on_and_is_taken_over(api: Api, namespace: str) -> None:
    async with operated(api, namespace) as operator:
        await operator.with_server()
        await operator.with_pool()
        room = manifests.room(tokens=ALICE, adopt=True)
        await operator.create(room)
        await operator.reason("MeetingRoom", "support-42")
        operator.livekit.join("support-42", "bob")
        keys, sid = (
            decoded(await operator.get("Secret", "voice-livekit-keys")),
            operator.livekit.rooms["support-42"].sid,
        )
        operator.kubernetes.writes.clear()
        left = {}
        for made in (manifests.server(), manifests.pool(), room):
            kind, name = made["kind"], made["metadata"]["name"]
            left[name] = await leave(api, namespace, kind, name, "orphaned", away=False)
            await operator.gone(kind, name)
        for made in (manifests.server(), manifests.pool(), room):
            owner = await operator.create(made)
            await operator.reason(made["kind"], made["metadata"]["name"])
            await taken_over(operator, owner, left[made["metadata"]["name"]])
        assert not [what for what in operator.kubernetes.writes if what.startswith(("delete", "create Pod"))]
        assert decoded(await operator.get("Secret", "voice-livekit-keys")) == keys
        told = (await operator.get("MeetingRoom", "support-42"))["status"]
        assert (told["sid"], told["participants"]) == (sid, 1)


async def test_keys_that_nothing_vouches_for_are_left_alone(api: Api, namespace: str) -> None:
    planted = manifests.keys_secret("voice-livekit-keys", namespace)
    planted["metadata"]["labels"] = {
        "app.kubernetes.io/managed-by": "livekit-operator",
        "app.kubernetes.io/name": "livekit-server",
        "app.kubernetes.io/instance": "voice",
        "app.kubernetes.io/component": "server",
    }
    planted = await api.create(planted)
    async with operated(api, namespace) as operator:
        await operator.create(manifests.server())
        message = await operator.reason("LiveKitServer", "voice", "NotOwned")
        assert "nothing else of a former server of this name" in message
        found = await operator.get("Secret", "voice-livekit-keys")
        assert found["metadata"]["resourceVersion"] == planted["metadata"]["resourceVersion"]


async def test_a_server_whose_label_was_taken_off_is_found_again(api: Api, namespace: str) -> None:
    async with operated(api, namespace) as operator:
        await operator.with_server()
        before = await operator.get("Pod", "voice-livekit-0")
        off = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
        await operator.patch("Pod", "voice-livekit-0", off)

        async def labelled() -> bool:
            pod = await operator.get("Pod", "voice-livekit-0")
            return bool(pod["metadata"]["labels"] == before["metadata"]["labels"])

        await operator.until("the label to come back", labelled)
        await operator.reason("LiveKitServer", "voice")
        assert (await operator.get("Pod", "voice-livekit-0"))["metadata"]["uid"] == before["metadata"]["uid"]
