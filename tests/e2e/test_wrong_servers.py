"""What is wrong about a server is named in a condition and heals when it is put right; what runs goes on."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import condition, meeting, node_ports, parties, server, server_pods
from tests.harness.kubectl import until
from tests.harness.processes import life
from tests.harness.redis import PASSWORD_KEY, run_plain
from tests.harness.resources import SERVER
from tests.harness.servers import LONGEST_GAP_MS
from tests.media import Talk

HEALING_SECONDS = 30
SHORT, LONG = "0123456789abcdef", "0123456789abcdef0123456789abcdef0123"
PASSWORD = "hunter-2-of-turn"
# What is changed about a server that runs, what it then says, and words of the message.
WRONG: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    ({"extraConfig": {"no_such_setting": 1}}, "ConfigRejected", ("no_such_setting",)),
    ({"image": "127.0.0.1:9/livekit-server:v0.0.0"}, "ImageNotFound", ("127.0.0.1:9/livekit-server:v0.0.0",)),
]


@pytest.mark.quiet  # how long sound stops is measured
@pytest.mark.timeout(240)
async def test_a_server_that_runs_goes_on_whatever_is_changed_wrongly(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports()), meeting())
    await story.ready("livekitserver", SERVER)
    before = [life(pod) for pod in await server_pods(story)]
    async with Talk(*await parties(story)) as talk:
        await talk.both_hear(20)
        for change, reason, words in WRONG:
            await _change(story, change)
            message = await condition(story, SERVER, "Degraded", reason, seconds=40)
            assert all(word in message for word in words), message
            assert PASSWORD not in message
            await story.ready("livekitserver", SERVER)
            await _change(story, dict.fromkeys(change))
            await condition(story, SERVER, "Degraded", "AsExpected", seconds=HEALING_SECONDS)
        await condition(story, SERVER, "Progressing", "UpToDate", seconds=HEALING_SECONDS)
        assert [life(pod) for pod in await server_pods(story)] == before
        for heard in await talk.look():
            assert heard.reconnecting == 0, heard.to_text()
            assert heard.longest_gap_ms() < LONGEST_GAP_MS, heard.to_text()


@pytest.mark.timeout(240)
async def test_a_redis_that_is_wrong_is_named_before_and_while_a_server_runs(story: Story) -> None:
    redis = await run_plain(story.kubectl)
    await story.kubectl.apply(_secret("wrong", password="not-the-password"))
    nowhere: dict[str, Any] = {"address": "127.0.0.1:6379", "passwordSecretRef": {"name": "wrong", "key": "password"}}
    await story.kubectl.apply(server(**node_ports(redis=nowhere)))
    message = await story.reason("livekitserver", SERVER, "RedisUnreachable", seconds=90)
    assert nowhere["address"] in message

    await _change(story, {"redis": {"address": redis.address}})

    async def refused() -> bool:
        return "WRONGPASS" in await condition(story, SERVER, "Ready", "RedisUnreachable")

    await until("the password to be refused", refused, seconds=40)

    await _change(story, {"redis": {"passwordSecretRef": {"name": redis.password_secret, "key": PASSWORD_KEY}}})
    (manifest,) = await story.ready("livekitserver", SERVER)
    assert manifest["status"]["redis"] == redis.address
    before = [life(pod) for pod in await server_pods(story)]
    await _change(story, {"redis": {"passwordSecretRef": {"name": "wrong", "key": "password"}}})
    assert "WRONGPASS" in await condition(story, SERVER, "Degraded", "RedisUnreachable")
    await story.ready("livekitserver", SERVER)
    await _change(story, {"redis": {"passwordSecretRef": {"name": redis.password_secret, "key": PASSWORD_KEY}}})
    await condition(story, SERVER, "Degraded", "AsExpected", seconds=HEALING_SECONDS)
    assert [life(pod) for pod in await server_pods(story)] == before


def _secret(name: str, **values: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


async def _change(story: Story, spec: dict[str, Any]) -> None:
    patch = json.dumps({"spec": spec})
    await story.kubectl("patch", "livekitserver", SERVER, "--type", "merge", "--patch", patch)
