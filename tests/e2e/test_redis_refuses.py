"""Redis that takes no writes, is another server's, or does not start: each is said in the words of who knows it."""

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.kubectl import Manifest
from tests.harness.redis import PASSWORD_KEY, Redis, run_plain
from tests.harness.resources import SERVER


def _at(redis: Redis, db: int) -> Manifest:
    password = {"name": redis.password_secret, "key": PASSWORD_KEY}
    return node_ports(redis={"address": redis.address, "passwordSecretRef": password, "db": db})


@pytest.mark.timeout(240)
async def test_redis_turns_read_only_and_back(story: Story) -> None:
    redis = await run_plain(story.kubectl)
    await story.kubectl.apply(server(**_at(redis, 0)))
    await story.ready("livekitserver", SERVER)

    await story.kubectl.apply(server(name="other", **_at(redis, 1)))
    assert SERVER in await story.reason("livekitserver", "other", "RedisShared")

    await redis.cli("REPLICAOF", "203.0.113.9", "6379")
    message = await story.reason("livekitserver", SERVER, "RedisRefused")
    assert "READONLY You can't write against a read only replica" in message
    await redis.cli("REPLICAOF", "NO", "ONE")
    await story.ready("livekitserver", SERVER)
