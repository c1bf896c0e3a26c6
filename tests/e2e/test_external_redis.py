"""By a Redis of any form two servers are one: who joins by one talks with who joins by the other."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import ROOM, condition, meeting, node_ports, parties, server, server_pods, talk_ways
from tests.harness.kubectl import Kubectl, Manifest
from tests.harness.redis import PASSWORD_KEY, Redis, run_cluster, run_plain, run_sentinel, run_tls
from tests.harness.resources import SERVER
from tests.harness.rooms import Rooms


@pytest.mark.timeout(180)
@pytest.mark.parametrize("run", [run_plain, run_tls, run_sentinel, run_cluster], ids=lambda run: run.__name__)
async def test_two_servers_are_one_by_a_redis_of_ones_own(
    story: Story, run: Callable[[Kubectl], Awaitable[Redis]]
) -> None:
    redis = await run(story.kubectl)
    told = await _talk_across(story, _spec(redis))
    addresses = (redis.address, *redis.sentinel_addresses, *redis.cluster_addresses)
    assert all(address in told for address in addresses if address), told


@pytest.mark.timeout(180)
async def test_two_servers_are_one_by_a_managed_redis(story: Story) -> None:
    assert await _talk_across(story, {"managed": {}}) == f"managed: {SERVER}-redis"


def _spec(redis: Redis) -> Manifest:
    """Return the spec of a server that uses a Redis."""
    spec: Manifest = {"passwordSecretRef": {"name": redis.password_secret, "key": PASSWORD_KEY}}
    if redis.address:
        spec["address"] = redis.address
    if redis.tls_secret:
        spec["tls"] = {"caSecretRef": {"name": redis.tls_secret, "key": "ca.crt"}}
    if redis.sentinel_addresses:
        password = {"name": redis.sentinel_password_secret, "key": PASSWORD_KEY}
        addresses = list(redis.sentinel_addresses)
        spec["sentinel"] = {
            "masterName": redis.sentinel_master,
            "addresses": addresses,
            "passwordSecretRef": password,
        }
    if redis.cluster_addresses:
        spec["cluster"] = {"addresses": list(redis.cluster_addresses)}
    return spec


async def _talk_across(story: Story, redis: Manifest) -> str:
    """Have two people meet in a room, each by another of two servers; return which Redis the status names."""
    await story.kubectl.apply(server(**node_ports(replicas=2, redis=redis)), meeting())
    (manifest,) = await story.ready("livekitserver", SERVER)
    people = await parties(story)
    await condition(story, SERVER, "Progressing", "UpToDate")
    pods = await server_pods(story)
    urls = [f"ws://{pod['status']['podIP']}:7880" for pod in pods]
    keys = await story.kubectl.secret(manifest["status"]["keysSecretName"])
    for url in urls:
        assert await Rooms(url, keys["apiKey"], keys["apiSecret"]).names() == [ROOM]
    first, second = (
        replace(party, secret=replace(party.secret, url=url)) for party, url in zip(people, urls, strict=True)
    )
    assert {way.protocol for way in await talk_ways((first, second))} == {"udp"}
    return str(manifest["status"]["redis"])
