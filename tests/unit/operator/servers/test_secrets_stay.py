"""No secret of a server is told outside of Secrets, and no digest lets one be guessed."""

import base64
from dataclasses import replace

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import ANNOTATION_INPUTS, ANNOTATION_KEYS, LABEL_REVISION
from livekit_operator.manifests.metadata import digest
from livekit_operator.servers.manifests.keys import key_digest, keys_digest
from livekit_operator.servers.manifests.pod import revision
from livekit_operator.servers.surroundings import read_inputs
from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World


async def test_no_key_is_in_anything_but_a_secret(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    secret = decoded(world.get("Secret", "voice-livekit-keys"))["apiSecret"]
    others = [m for key, m in world.kubernetes.objects.items() if key[0] != "Secret"]
    assert others
    assert secret not in repr(others)


async def test_what_is_remembered_shows_no_secret_where_it_is_printed(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.settle()
    secrets = [
        decoded(world.get("Secret", "voice-livekit-keys"))["apiSecret"],
        decoded(world.get("Secret", "support-42-alice"))["token"],
        *decoded(world.get("Secret", "providers")).values(),
    ]
    assert world.context.kept_tokens
    assert world.context.foreign_secrets
    shown = [*secrets, *(base64.b64encode(secret.encode()).decode() for secret in secrets)]
    assert [secret for secret in shown if secret in repr(world.context)] == []


_REDIS = {"address": "redis.example:6379", "passwordSecretRef": {"name": "redis", "key": "password"}}


async def test_no_digest_lets_a_guess_of_a_password_be_tried(world: World) -> None:
    world.loads.otherwise = ServerLoad(0, 0)
    world.kubernetes.put(manifests.secret("redis", password="hunter2"))
    await world.with_server(redis=_REDIS)
    await world.with_pool()
    (server,) = world.server_pods()
    (agent,) = world.agent_pods()
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    guesses = {digest(["aHVudGVyMg=="], 8), digest([[keys["apiKey"], keys["apiSecret"]]], 8)}
    guesses.add(digest([keys["apiKey"], keys["apiSecret"]], 8))
    for pod in (server, agent):
        assert not guesses & set(pod["metadata"]["annotations"].values())
    assert server["metadata"]["annotations"][ANNOTATION_INPUTS] == digest(["aHVudGVyMg=="], 8, salt=keys["digestSalt"])


async def test_pods_of_an_operator_that_knew_no_salt_are_not_replaced(world: World) -> None:
    world.loads.otherwise = ServerLoad(0, 0)
    world.kubernetes.put(manifests.secret("redis", password="hunter2"))
    await world.with_server(redis=_REDIS)
    await world.with_pool()
    _, state = world.context.key_states[NAMESPACE, "voice"]
    former = replace(state, salt="")
    model = LiveKitServer.model_validate(world.get("LiveKitServer", "voice"))
    inputs = await read_inputs(world.context, model, state)
    unsalted = replace(inputs, keys_digest=inputs.unsalted[0], secrets_digest=inputs.unsalted[1])  # type: ignore[index]
    (server,), (agent,) = world.server_pods(), world.agent_pods()
    label = {"labels": {LABEL_REVISION: revision(model, unsalted)}}
    told = {ANNOTATION_KEYS: keys_digest(former), ANNOTATION_INPUTS: digest(["aHVudGVyMg=="], 8)}
    world.kubernetes.edit("Pod", NAMESPACE, server["metadata"]["name"], {"metadata": {**label, "annotations": told}})
    told = {ANNOTATION_KEYS: key_digest(state.in_use.id, state.in_use.secret)}
    world.kubernetes.edit("Pod", NAMESPACE, agent["metadata"]["name"], {"metadata": {"annotations": told}})
    world.context.key_states.clear()
    secret = world.get("Secret", "voice-livekit-keys")
    world.kubernetes.edit("Secret", NAMESPACE, secret["metadata"]["name"], {"data": {"digestSalt": None}})
    await world.settle()
    assert decoded(world.get("Secret", "voice-livekit-keys"))["digestSalt"]
    assert [pod["metadata"]["uid"] for pod in world.server_pods(leaving=None)] == [server["metadata"]["uid"]]
    assert [pod["metadata"]["uid"] for pod in world.agent_pods(leaving=None)] == [agent["metadata"]["uid"]]
    assert world.get("LiveKitServer", "voice")["status"]["keys"]["phase"] == "Stable"

    world.kubernetes.edit("Secret", NAMESPACE, "redis", {"data": {"password": "b3RoZXI="}})
    world.clock.advance(60)
    await world.settle()
    assert world.get("LiveKitServer", "voice")["status"]["updatedReplicas"] == 0, "another password still reaches it"
