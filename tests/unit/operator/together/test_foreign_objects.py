"""What the operator does not believe: objects that others write to look like its own."""

import base64
import copy
import json
from typing import Any

import jwt
import pytest

from livekit_operator.pools.manifests import versions as pool_versions
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

MALLORY = "mallory"
IMAGE = "registry.example.com/mallory:1"
VERSIONS = "front-desk-agent-versions"


def versions(world: World) -> list[Manifest]:
    return list(world.get("VoiceAgentPool", "front-desk")["status"]["versions"])


def copied(manifest: Manifest, *, namespace: str = NAMESPACE, name: str | None = None) -> Manifest:
    """Return an object as somebody writes it who has read another one: all of it but what the API server gives."""
    made = copy.deepcopy(manifest)
    metadata = made["metadata"]
    for part in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "deletionTimestamp"):
        metadata.pop(part, None)
    metadata |= {"namespace": namespace, "name": name or metadata["name"]}
    made.pop("status", None)
    return made


def program(manifest: Manifest) -> Manifest:
    """Return a version's ConfigMap that names an image of mallory's, by a digest that is right."""
    made = copy.deepcopy(manifest)
    template, config = json.loads(made["data"]["template.json"]), json.loads(made["data"]["config.json"])
    template["stockImage"] = IMAGE
    template["spec"]["agent"]["instructions"] = config["instructions"]
    revision = pool_versions.revision(template)
    template["spec"]["agent"].pop("instructions")
    made["data"] = {**made["data"], "template.json": json.dumps(template)}
    made["metadata"]["labels"]["livekit-operator.dev/revision"] = revision
    made["metadata"]["name"] = f"front-desk-agent-{revision}"
    made["metadata"]["annotations"] = {"livekit-operator.dev/proven": "2030-01-01T00:00:00Z"}
    return made


def images(world: World) -> set[str]:
    return {container["image"] for pod in world.agent_pods() for container in pod["spec"]["containers"]}


async def rolled(world: World) -> None:
    for _ in range(4):
        world.run_pods()
        await world.settle()
        world.end_pods()


@pytest.mark.parametrize("namespace", [MALLORY, NAMESPACE])
@pytest.mark.parametrize("known", ["before the pool was looked at", "beside others"])
async def test_a_config_map_of_somebody_elses_is_no_version(world: World, namespace: str, known: str) -> None:
    await world.with_server()
    pool = await world.with_pool()
    (mine,) = versions(world)
    forged = program(copied(world.get("ConfigMap", f"front-desk-agent-{mine['revision']}"), namespace=namespace))
    if known != "beside others":
        world.kubernetes.vanish("VoiceAgentPool", NAMESPACE, "front-desk")
        pool = world.kubernetes.put(manifests.pool())
        forged["metadata"]["ownerReferences"][0]["uid"] = pool["metadata"]["uid"]
    world.kubernetes.put(forged)
    revision = forged["metadata"]["labels"]["livekit-operator.dev/revision"]
    for rollout in ({}, {"rollbackTo": revision}):
        world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"rollout": rollout}})
        await rolled(world)
        assert images(world) == {"agent:1"}
        assert [version["revision"] for version in versions(world)] == [mine["revision"]]
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"sessionsPerPod": 3, "rollout": None}})
    await rolled(world)
    assert images(world) == {"agent:1"}
    assert world.kubernetes.peek("ConfigMap", namespace, forged["metadata"]["name"]), "it is not the operator's"


async def test_notes_on_a_config_map_are_for_people_alone(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (mine,) = versions(world)
    name = f"front-desk-agent-{mine['revision']}"
    for note in ("failed", "served"):
        annotations = {f"livekit-operator.dev/{note}": "it is bad"}
        world.kubernetes.edit("ConfigMap", NAMESPACE, name, {"metadata": {"annotations": annotations}})
    await world.settle()
    assert versions(world) == [mine]
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_a_version_that_somebody_put_in_place_of_the_operators_runs_no_more_pods(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (mine,) = versions(world)
    name = f"front-desk-agent-{mine['revision']}"
    original = world.get("ConfigMap", name)
    forged = copied(original)
    forged["data"] = program(original)["data"]
    world.kubernetes.vanish("ConfigMap", NAMESPACE, name)
    world.kubernetes.put(forged)
    (serving,) = world.agent_pods()
    await rolled(world)
    assert images(world) == {"agent:1"}
    assert [pod["metadata"]["name"] for pod in world.agent_pods()] == [serving["metadata"]["name"]]
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "NotOwned")
    assert "remove it, and it is made as it should be" in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.vanish("ConfigMap", NAMESPACE, name)
    await rolled(world)
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert world.get("ConfigMap", name)["data"] == original["data"]


async def test_who_may_write_secrets_alone_makes_no_version(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (mine,) = versions(world)
    forged = program(world.get("ConfigMap", f"front-desk-agent-{mine['revision']}"))
    revision = forged["metadata"]["labels"]["livekit-operator.dev/revision"]
    record = {"content": pool_versions.content_digest(forged), "created": "2026-03-01T12:00:00Z", "served": True}
    encoded = base64.b64encode(json.dumps(record).encode()).decode()
    world.kubernetes.edit("Secret", NAMESPACE, VERSIONS, {"data": {revision: encoded}})
    await rolled(world)
    assert [version["revision"] for version in versions(world)] == [mine["revision"]]


async def test_versions_of_an_operator_that_kept_no_records_are_taken_over(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.clock.advance(60)
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"sessionsPerPod": 2}})
    await rolled(world)
    before = versions(world)
    assert len(before) == 2
    forged = program(copied(world.get("ConfigMap", f"front-desk-agent-{before[0]['revision']}")))
    world.kubernetes.put(forged)
    world.kubernetes.vanish("Secret", NAMESPACE, VERSIONS)
    pods = [pod["metadata"]["name"] for pod in world.agent_pods()]
    world.context.pools.clear()
    await world.settle()
    assert versions(world) == before
    assert [pod["metadata"]["name"] for pod in world.agent_pods()] == pods
    assert len(world.get("Secret", VERSIONS)["data"]) == 2


async def test_a_foreign_pod_is_no_server_and_is_asked_nothing(world: World) -> None:
    await world.with_server()
    (mine,) = world.server_pods()
    for namespace, name in ((MALLORY, "voice-livekit-0"), (MALLORY, "voice-livekit-1"), (NAMESPACE, "voice-mallory")):
        forged = world.kubernetes.put(copied(mine, namespace=namespace, name=name))
        world.run_server_pod(forged, address="203.0.113.66")
    world.livekit.connections.clear()
    await world.settle()
    assert not [url for url, *_ in world.livekit.connections if "203.0.113.66" in url]
    assert [server["name"] for server in world.get("LiveKitServer", "voice")["status"]["servers"]] == [
        "voice-livekit-0"
    ]


async def test_a_foreign_pod_is_no_worker_and_is_not_asked(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (mine,) = world.agent_pods()
    world.kubernetes.put(copied(mine, namespace=MALLORY))
    world.run_pods()
    foreign = world.get("Pod", mine["metadata"]["name"], MALLORY)["status"]["podIP"]
    world.worker.asked.clear()
    await world.settle()
    assert world.worker.asked
    assert foreign not in world.worker.asked
    assert world.get("VoiceAgentPool", "front-desk")["status"]["replicas"] == 1


def revoking(world: World, key: str, **claims: Any) -> Manifest:
    """Return a Secret that would have bob put out of the room, as somebody writes it who knows what ours look like."""
    forged = copied(world.get("Secret", "support-42-alice"), name="support-42-bob")
    forged["metadata"]["annotations"] |= {"livekit-operator.dev/revokes": "bob"}
    token = jwt.encode({"sub": "bob", "video": {"room": "support-42"}, **claims}, key, algorithm="HS256")
    forged["data"]["token"] = base64.b64encode(token.encode()).decode()
    return forged


@pytest.mark.parametrize(
    ("namespace", "ours", "claims", "removed"),
    [
        (MALLORY, True, {}, False),
        (NAMESPACE, False, {}, False),
        (NAMESPACE, True, {"sub": "alice"}, False),
        (NAMESPACE, True, {"video": {"room": "another"}}, False),
        (NAMESPACE, True, {"video": 1}, False),
        (NAMESPACE, True, {"exp": 1}, True),
        (NAMESPACE, True, {}, True),
    ],
)
async def test_only_a_token_of_the_servers_puts_anybody_out(
    world: World, namespace: str, ours: bool, claims: dict[str, Any], removed: bool
) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.settle()
    world.livekit.join("support-42", "bob")
    key = manifests.decoded(world.get("Secret", "voice-livekit-keys"))["apiSecret"] if ours else "k" * 32
    forged = revoking(world, key, **claims)
    forged["metadata"]["namespace"] = namespace
    world.kubernetes.put(forged)
    await world.settle()
    assert (("remove_participant", "support-42", "bob") in world.livekit.requests) is removed
