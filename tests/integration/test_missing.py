"""What is missing is named in a condition, and heals when it is there, without a restart."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes import manifests
from tests.harness.api import Api
from tests.integration.operated import Operated, operated

AGENTS = [{"poolRef": {"name": "front-desk"}, "dispatch": "OnCreate"}]
SHORT, LONG = "0123456789abcdef", "0123456789abcdef0123456789abcdef0123"


@pytest.fixture
async def operator(api: Api, namespace: str) -> AsyncIterator[Operated]:
    """Return a namespace with an operator."""
    async with operated(api, namespace) as made:
        yield made


async def test_a_missing_server_and_a_missing_pool_are_named(operator: Operated) -> None:
    await operator.create(manifests.room(agents=AGENTS))
    assert "voice" in await operator.reason("MeetingRoom", "support-42", "ServerNotFound")
    await operator.with_server()
    assert "front-desk" in await operator.reason("MeetingRoom", "support-42", "PoolNotFound")
    await operator.with_pool()
    await operator.reason("MeetingRoom", "support-42")
    await operator.api.delete("LiveKitServer", operator.namespace, "voice")
    assert "voice" in await operator.reason("MeetingRoom", "support-42", "ServerNotFound")


async def test_a_missing_provider_secret_is_named(operator: Operated) -> None:
    await operator.with_server()
    await operator.create(manifests.pool())
    assert "providers" in await operator.reason("VoiceAgentPool", "front-desk", "SecretNotFound")
    await operator.create(manifests.secret("providers", openai="oa-key"))
    message = await operator.reason("VoiceAgentPool", "front-desk", "SecretKeyMissing", seconds=10)
    assert "deepgram" in message
    await operator.patch("Secret", "providers", {"data": manifests.providers_secret()["data"]})
    await operator.until("a pod", operator.run_pods, seconds=10)
    await operator.reason("VoiceAgentPool", "front-desk")


async def test_wrong_keys_are_named_before_a_server_starts(operator: Operated) -> None:
    await operator.create(manifests.server(keysSecretRef={"name": "mine"}))
    assert "mine" in await operator.reason("LiveKitServer", "voice", "SecretNotFound")
    await operator.create(manifests.secret("mine", apiKey="APImine", apiSecret=SHORT))
    message = await operator.reason("LiveKitServer", "voice", "KeysInvalid")
    assert "32" in message
    assert SHORT not in message
    assert await operator.api.list("Pod", operator.namespace) == []
    right = manifests.secret("mine", apiKey="APImine", apiSecret=LONG)
    await operator.patch("Secret", "mine", {"data": right["data"]})
    await operator.server_runs()
    await operator.reason("LiveKitServer", "voice")
    assert manifests.decoded(await operator.get("Secret", "voice-livekit-keys"))["apiSecret"] == LONG
    assert {secret for _, _, secret in operator.livekit.connections} == {LONG}
