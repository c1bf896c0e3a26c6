"""What is missing or wrong is named in a condition, and heals when it is put right, without a restart."""

import base64

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.install import TEST_KEYS, provider_secret
from tests.harness.resources import POOL, ROOM, SERVER, quickstart, room

# The quickstart's server has the host ports that everybody's has.
pytestmark = pytest.mark.xdist_group("quickstart")

HEALING_SECONDS = 10


@pytest.mark.timeout(240)
async def test_a_missing_server_and_a_missing_pool_are_named(story: Story) -> None:
    voice, pool, meeting = quickstart()
    await story.kubectl.apply(meeting)
    assert SERVER in await story.reason("meetingroom", ROOM, "ServerNotFound")
    await story.kubectl.apply(voice)
    assert POOL in await story.reason("meetingroom", ROOM, "PoolNotFound")
    await story.kubectl.apply(pool)
    await story.ready("meetingroom", ROOM)


@pytest.mark.timeout(240)
async def test_a_missing_provider_secret_is_named(story: Story) -> None:
    voice, pool, _ = quickstart()
    await story.kubectl("delete", "secret", "providers")
    await story.kubectl.apply(voice, pool)
    message = await story.reason("voiceagentpool", POOL, "SecretNotFound")
    assert "providers" in message
    await story.kubectl.apply(provider_secret({"openai": TEST_KEYS["openai"]}))
    message = await story.reason("voiceagentpool", POOL, "SecretKeyMissing", seconds=HEALING_SECONDS)
    assert "deepgram" in message
    await story.kubectl.apply(provider_secret(TEST_KEYS))
    await story.ready("voiceagentpool", POOL)


@pytest.mark.timeout(240)
async def test_a_volume_that_cannot_be_mounted_is_named(story: Story) -> None:
    voice, pool, _ = quickstart()
    volumes = {
        "volumes": [{"name": "models", "secret": {"secretName": "models"}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    pool["spec"]["podTemplate"] = volumes
    await story.kubectl.apply(voice, server("another", **node_ports(podTemplate=volumes)), pool)
    for kind, name, reason in (("voiceagentpool", POOL, "PodsFailing"), ("livekitserver", "another", "PodNotStarting")):
        message = await story.reason(kind, name, reason)
        assert "FailedMount" in message
        assert 'secret "models" not found' in message
    metadata = {"name": "models"}
    await story.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "b"}})
    # The kubelet tries again ever more seldom.
    await story.ready("voiceagentpool", POOL)
    await story.ready("livekitserver", "another")


@pytest.mark.timeout(240)
async def test_a_refused_provider_key_is_visible_and_heals(story: Story) -> None:
    voice, pool, meeting = quickstart()
    await story.kubectl.apply(provider_secret({**TEST_KEYS, "openai": "wrong-key"}))
    await story.kubectl.apply(voice, pool, meeting)
    message = await story.reason("voiceagentpool", POOL, "ProviderRejected", seconds=90)
    assert "openai" in message
    assert "401" in message
    assert "wrong-key" not in message
    assert "openai" in await story.reason("meetingroom", ROOM, "ProviderRejected")
    await story.kubectl.apply(provider_secret(TEST_KEYS))
    await story.ready("voiceagentpool", POOL)
    await story.ready("meetingroom", ROOM)


@pytest.mark.timeout(240)
async def test_a_foreign_secret_is_left_alone(story: Story) -> None:
    voice, _, _ = quickstart()
    mine = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lobby-alice"}, "stringData": {"mine": "yes"}}
    await story.kubectl.apply(mine)
    await story.kubectl.apply(voice, room("lobby", "alice"))
    assert "lobby-alice" in await story.reason("meetingroom", "lobby", "NotOwned")
    secret = await story.kubectl.get("secret", "lobby-alice")
    assert secret["data"] == {"mine": base64.b64encode(b"yes").decode()}
    await story.kubectl("delete", "secret", "lobby-alice")
    # A name that is taken is looked at again every five seconds.
    await story.ready("meetingroom", "lobby", seconds=30)
