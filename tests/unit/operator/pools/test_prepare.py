"""What must be there before a pool is observed: its server, its keys, and pods that are the pool's."""

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.pools.memory import PoolMemory, SeenPod
from livekit_operator.pools.prepare import prepare, restore_labels
from livekit_operator.servers.access import find_credentials
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World


async def test_a_pool_waits_for_its_server_by_name(world: World) -> None:
    world.kubernetes.put(manifests.pool())
    world.kubernetes.put(manifests.providers_secret())
    assert await world.reconcile("VoiceAgentPool", "front-desk") is None
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ServerNotFound")
    assert "LiveKitServer voice does not exist" in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert len(world.agent_pods()) == 1, "the keys and the URL are known before the server answers"


async def test_another_namespace_must_be_allowed(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret("guests"))
    world.kubernetes.put(manifests.pool(namespace="guests", serverRef={"name": "voice", "namespace": NAMESPACE}))
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk", "guests") == ("False", "ServerNotAllowed")
    assert "adds guests to its spec.allowedPoolNamespaces" in world.message("VoiceAgentPool", "front-desk", "guests")
    assert "Secret" not in {write.kind for write in world.kubernetes.writes if write.namespace == "guests"}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedNamespaces": ["guests"]}})
    await world.settle()
    assert world.agent_pods() == [], "that is for rooms, which get no key"
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedPoolNamespaces": ["guests"]}})
    await world.settle()
    [pod] = world.agent_pods()
    assert pod["metadata"]["namespace"] == "guests"
    assert world.get("VoiceAgentPool", "front-desk", "guests")["status"]["agentName"] == "guests/front-desk"


async def test_an_agent_whose_label_was_taken_off_is_found_again(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (serving,) = world.agent_pods()
    off = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    world.kubernetes.edit("Pod", NAMESPACE, serving["metadata"]["name"], off)
    world.forget()
    await world.settle()
    assert [pod["metadata"]["uid"] for pod in world.agent_pods()] == [serving["metadata"]["uid"]]
    assert world.agent_pods()[0]["metadata"]["labels"] == serving["metadata"]["labels"]
    assert not [what for what in world.written() if what.startswith(("create", "delete"))]


async def test_while_a_servers_keys_are_to_come_nothing_is_prepared(world: World) -> None:
    await world.with_server()
    pool = VoiceAgentPool.model_validate(world.kubernetes.put(manifests.pool()))
    assert await prepare(world.context, pool, PoolMemory()) is not None
    server = LiveKitServer.model_validate(world.get("LiveKitServer", "voice"))
    world.context.stored_keys.clear()
    world.context.credentials.clear()
    world.context.servers.clear()
    world.context.key_states.clear()
    world.context.children["Secret"].remove((NAMESPACE, "voice-livekit-keys"))
    assert find_credentials(world.context, pool, server) is None
    assert await prepare(world.context, pool, PoolMemory()) is None


def seen(pod: Manifest, *, leaving: bool = False) -> PoolMemory:
    """Return what is known of a pool that had this pod."""
    known = SeenPod("new", leaving, "", False, None, pod["metadata"]["name"])
    return PoolMemory(pods={pod["metadata"]["uid"]: known})


UNLABELLED = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}


@pytest.mark.parametrize(
    ("change", "leaving", "written"),
    [
        pytest.param(UNLABELLED, False, True, id="its label was taken off"),
        pytest.param({}, False, False, id="it is there"),
        pytest.param(UNLABELLED, True, False, id="it was leaving"),
        pytest.param(
            {"metadata": {**UNLABELLED["metadata"], "ownerReferences": None}}, False, False, id="not the pool's"
        ),
    ],
)
async def test_labels_of_pods_that_vanished_are_put_back(
    world: World, change: Manifest, leaving: bool, written: bool
) -> None:
    await world.with_server()
    await world.with_pool()
    (pod,) = world.agent_pods()
    name = pod["metadata"]["name"]
    world.kubernetes.edit("Pod", NAMESPACE, name, change)
    world.forget()
    pool = VoiceAgentPool.model_validate(world.get("VoiceAgentPool", "front-desk"))
    await restore_labels(world.context, pool, seen(pod, leaving=leaving))
    assert world.written() == ([f"merge Pod/{name}"] if written else [])
    world.kubernetes.vanish("Pod", NAMESPACE, name)
    world.forget()
    await restore_labels(world.context, pool, seen(pod))
    assert world.written() == [], "it is gone"
