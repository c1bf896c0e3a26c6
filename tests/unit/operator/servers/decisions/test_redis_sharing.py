"""Which of two servers at one Redis is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from livekit_operator.servers.decisions.redis_sharing import RedisClaim, endpoints, find_sharer

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=10)


def claim(name: str, address: str = "redis:6379", *, namespace: str = "team", created: datetime = NOON) -> RedisClaim:
    return RedisClaim((namespace, name), created, endpoints(namespace, [address]))


BLUE = claim("blue")


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        pytest.param("redis:6379", "redis:6379", True, id="itself"),
        pytest.param("redis:6379", "REDIS:6379", True, id="case"),
        pytest.param("redis:6379", "redis", True, id="default port"),
        pytest.param("redis:6379", "redis:6380", False, id="another port"),
        pytest.param("redis:6379", "redis.team:6379", True, id="with its namespace"),
        pytest.param("redis:6379", "redis.team.svc:6379", True, id="svc"),
        pytest.param("redis:6379", "redis.team.svc.cluster.local:6379", True, id="whole name"),
        pytest.param("redis:6379", "redis.team.svc.cluster.local.:6379", True, id="absolute name"),
        pytest.param("redis:6379", "redis.team.svc.corp.example:6379", True, id="a cluster with a domain of its own"),
        pytest.param("redis:6379", "redis.other.svc:6379", False, id="another namespace"),
        pytest.param("r-0.r:6379", "r-0.r.team.svc:6379", True, id="a pod of a Service"),
        pytest.param("redis.example.com:6379", "redis.example.com:6379", True, id="outside"),
        pytest.param("redis.example.com:6379", "other.example.com:6379", False, id="two outside"),
        pytest.param("[2001:db8::1]:6379", "[2001:0db8:0::1]:6379", True, id="IPv6"),
        pytest.param("192.0.2.1:6379", "[::ffff:192.0.2.1]:6379", True, id="IPv4 in IPv6"),
        pytest.param("192.0.2.1:6379", "192.0.2.2:6379", False, id="two addresses"),
    ],
)
def test_what_leads_to_one_redis(one: str, two: str, same: bool) -> None:
    assert bool(endpoints("team", [one]) & endpoints("team", [two])) is same


def test_a_short_name_is_of_its_namespace() -> None:
    assert not endpoints("team", ["redis:6379"]) & endpoints("other", ["redis:6379"])
    assert endpoints("team", ["redis:6379"]) & endpoints("other", ["redis.team:6379"])


def test_sentinels_look_after_several() -> None:
    sentinels = ["s-0:26379", "s-1:26379"]
    assert endpoints("team", sentinels, master="a") & endpoints("team", ["s-1:26379"], master="a")
    assert not endpoints("team", sentinels, master="a") & endpoints("team", sentinels, master="b")


@pytest.mark.parametrize(
    ("server", "told"),
    [
        pytest.param(claim("green", created=LATER), True, id="later"),
        pytest.param(claim("green"), True, id="of the same second, by name"),
        pytest.param(claim("a"), False, id="earlier"),
        pytest.param(BLUE, False, id="itself"),
        pytest.param(claim("green", "other:6379", created=LATER), False, id="another Redis"),
        pytest.param(replace(claim("green", created=LATER), owns=True), False, id="its own Redis"),
        pytest.param(replace(claim("green", created=LATER), running=True), False, id="it runs, the older one does not"),
    ],
)
def test_the_later_one_is_told(server: RedisClaim, told: bool) -> None:
    assert find_sharer(server, [BLUE, server], now=LATER) == (BLUE if told else None)


def test_of_two_that_run_the_later_one_is_told() -> None:
    blue, green = replace(BLUE, running=True), replace(claim("green", created=LATER), running=True)
    assert find_sharer(green, [blue, green], now=LATER) == blue
    assert find_sharer(blue, [blue, green], now=LATER) is None


def test_a_stranger_that_never_runs_keeps_nobody_from_a_redis() -> None:
    mine = claim("mine", created=NOON + timedelta(seconds=30))
    stranger = claim("theirs", "redis.team:6379", namespace="other")
    assert find_sharer(mine, [stranger], now=NOON + timedelta(seconds=60)) == stranger, "it may be on its way"
    assert find_sharer(mine, [stranger], now=NOON + timedelta(seconds=121)) is None
    assert find_sharer(mine, [replace(stranger, running=True)], now=LATER) is not None


def test_a_stranger_that_runs_takes_no_place_of_an_older_server_that_is_down() -> None:
    stranger = replace(claim("theirs", "redis.team:6379", namespace="other", created=LATER), running=True)
    assert find_sharer(BLUE, [stranger], now=LATER) is None
