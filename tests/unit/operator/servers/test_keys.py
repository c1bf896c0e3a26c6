"""A server's keys: rotated step by step, given, spoiled, changed by hand."""

from typing import Any

import pytest

from tests.fakes import manifests
from tests.fakes.manifests import API_KEY, API_SECRET, NAMESPACE, decoded
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import SHARED, names, settled, started, status


async def test_keys_rotate_step_by_step(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await settled(world)
    before = decoded(world.get("Secret", "voice-livekit-keys"))
    token = decoded(world.get("Secret", "support-42-alice"))["token"]
    first = names(world)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"keyRotation": {"id": "spring"}}})
    await world.settle()
    assert status(world)["keys"] == {"phase": "Accepting", "rotation": "spring", "accepted": 2}
    assert decoded(world.get("Secret", "voice-livekit-keys"))["apiKey"] == before["apiKey"]
    await settled(world)
    moving = decoded(world.get("Secret", "voice-livekit-keys"))
    assert moving["apiKey"] != before["apiKey"]
    assert before["apiSecret"] in moving["keys.yaml"]
    assert status(world)["keys"]["phase"] == "Moving"
    assert not set(names(world)) & set(first), "every server accepts both"
    assert decoded(world.get("Secret", "support-42-alice"))["token"] != token
    world.clock.advance(7200)
    await settled(world)
    assert status(world)["keys"] == {"phase": "Stable", "rotation": "spring", "accepted": 1}
    assert before["apiSecret"] not in decoded(world.get("Secret", "voice-livekit-keys"))["keys.yaml"]


async def test_the_key_of_a_given_secret_rotates_when_it_changes(world: World) -> None:
    world.kubernetes.put(manifests.keys_secret())
    await started(world, keysSecretRef={"name": "my-keys"})
    changed = manifests.secret("my-keys", apiKey="APInew", apiSecret=API_SECRET[::-1])
    world.kubernetes.edit("Secret", NAMESPACE, "my-keys", {"data": changed["data"]})
    world.clock.advance(11)
    await settled(world)
    assert decoded(world.get("Secret", "voice-livekit-keys"))["apiKey"] == "APInew"
    assert status(world)["keys"]["accepted"] == 2


async def test_a_given_secret_that_is_spoiled_later_changes_nothing(world: World) -> None:
    world.kubernetes.put(manifests.keys_secret())
    await started(world, keysSecretRef={"name": "my-keys"})
    before = world.get("Secret", "voice-livekit-keys")
    world.kubernetes.edit("Secret", NAMESPACE, "my-keys", {"data": {"apiSecret": "c2hvcnQ="}})
    world.clock.advance(11)
    await settled(world)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "KeysInvalid")
    assert world.get("Secret", "voice-livekit-keys") == before


async def test_keys_changed_by_hand_are_put_back(world: World) -> None:
    await started(world)
    before = decoded(world.get("Secret", "voice-livekit-keys"))
    spoiled = manifests.secret("x", apiKey="mine", apiSecret="short")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "voice-livekit-keys", {"data": spoiled})
    await world.settle()
    assert decoded(world.get("Secret", "voice-livekit-keys")) == before


async def test_a_foreign_keys_secret_is_left_alone(world: World) -> None:
    foreign = world.kubernetes.put(manifests.keys_secret("voice-livekit-keys"))
    world.kubernetes.put(manifests.server())
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert "Secret team/voice-livekit-keys" in world.message("LiveKitServer", "voice")
    assert world.get("Secret", "voice-livekit-keys") == foreign
    assert again is not None
    world.kubernetes.vanish("Secret", NAMESPACE, "voice-livekit-keys")
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")


async def test_a_secret_of_keys_that_somebody_deletes_comes_back_as_it_was(world: World) -> None:
    await world.with_server()
    before = decoded(world.get("Secret", "voice-livekit-keys"))
    world.kubernetes.vanish("Secret", NAMESPACE, "voice-livekit-keys")
    await world.settle()
    assert decoded(world.get("Secret", "voice-livekit-keys")) == before


async def test_every_server_has_keys_of_its_own(world: World) -> None:
    for name in ("voice", "video"):
        world.kubernetes.put(manifests.server(name))
        await world.reconcile("LiveKitServer", name)
    assert decoded(world.get("Secret", "voice-livekit-keys")) != decoded(world.get("Secret", "video-livekit-keys"))


async def test_a_given_secret_is_awaited_and_used(world: World) -> None:
    world.kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "SecretNotFound")
    assert "my-keys" in world.message("LiveKitServer", "voice")
    assert again is not None, "a Secret that is not ours is not watched"
    assert world.kubernetes.names("Pod") == []
    given = world.kubernetes.put(manifests.keys_secret("my-keys"))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
    assert world.get("Secret", "my-keys") == given
    assert world.kubernetes.names("Secret") == ["my-keys", "voice-livekit-keys"]
    assert world.livekit.connections[-1][1:] == (API_KEY, API_SECRET)
    assert [event[:2] for event in world.events()] == [("Warning", "SecretNotFound")]


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        pytest.param(manifests.keys_secret(api_secret="x" * 31), "shorter than 32", id="short secret"),
        pytest.param(manifests.keys_secret(api_secret="x" * 1025), "longer than 1024", id="long secret"),
        pytest.param(manifests.secret("my-keys", apiKey="APIx"), "no key apiSecret", id="no secret"),
        pytest.param(manifests.secret("my-keys", apiSecret="x" * 40), "no key apiKey", id="no key"),
        pytest.param(manifests.secret("my-keys", apiKey="  ", apiSecret="x" * 40), "no key apiKey", id="blank"),
        pytest.param({**manifests.secret("my-keys"), "data": None}, "no key apiKey", id="empty"),
        pytest.param({**manifests.secret("my-keys"), "data": {"apiKey": "%"}}, "no key apiKey", id="no base64"),
    ],
)
async def test_wrong_keys_are_named_and_heal(world: World, secret: dict[str, Any], message: str) -> None:
    world.kubernetes.put(secret)
    world.kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "KeysInvalid")
    assert message in world.message("LiveKitServer", "voice")
    world.kubernetes.edit("Secret", NAMESPACE, "my-keys", {"data": manifests.keys_secret()["data"]})
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
