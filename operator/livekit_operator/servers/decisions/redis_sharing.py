"""Which servers would share one Redis: a pure decision.

LiveKit's servers find each other by messages of Redis' publish and subscribe, and these know no database numbers
(https://redis.io/docs/latest/develop/pubsub/#database--scoping): two LiveKitServers on one Redis get each other's
jobs, rooms and participants, whatever their `db` says. Here the later one is refused.

Only addresses are compared. Another name for the same Redis is not recognized.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

DEFAULT_PORT = 6379
# How long a server of another namespace takes precedence. One that does not use its Redis by then may never: its mere
# address must not keep others from theirs.
_COMES_WITHIN = timedelta(minutes=2)

Endpoints = frozenset[str]


@dataclass(frozen=True)
class RedisClaim:
    """Why a LiveKitServer may take a Redis for its own."""

    key: tuple[str, str]
    created: datetime
    endpoints: Endpoints
    """The addresses of its Redis, as `endpoints` returns them."""
    running: bool = False
    """Whether a server of it is up."""
    owns: bool = False
    """Whether the Redis is its own child."""


def endpoints(namespace: str, addresses: Iterable[str], *, master: str = "") -> Endpoints:
    """Return the addresses of a Redis: every `host:port` in each form that other namespaces may write it in.

    `master` is the name that Sentinels know it by, because one group of Sentinels may watch several.
    """
    prefix = f"{master}@" if master else ""
    return frozenset(f"{prefix}{one}" for address in addresses for one in _forms(namespace, address))


def find_sharer(server: RedisClaim, others: Iterable[RedisClaim], *, now: datetime) -> RedisClaim | None:
    """Return a server that takes precedence over this one at the same Redis, None when there is none."""
    for other in sorted(others, key=_age):
        if other.key != server.key and server.endpoints & other.endpoints and _comes_before(other, server, now):
            return other
    return None


def _comes_before(other: RedisClaim, server: RedisClaim, now: datetime) -> bool:
    """Return whether the other one stays: the owner of the Redis; in one namespace the one that runs; else the older.

    What runs in another namespace is anybody's image: it must not take the place of an older server that is down.
    """
    if other.owns != server.owns:
        return other.owns
    if other.key[0] == server.key[0]:
        return (not other.running, _age(other)) < (not server.running, _age(server))
    comes = other.running or now - other.created <= _COMES_WITHIN
    return comes and _age(other) < _age(server)


def _age(claim: RedisClaim) -> tuple[datetime, tuple[str, str]]:
    return claim.created, claim.key


def _forms(namespace: str, address: str) -> list[str]:
    """Return an address as `host:port` for each name that the host may stand for in this namespace.

    Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#namespaces-of-services
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        host, port = address, str(DEFAULT_PORT)
    return [f"{name}:{int(port)}" for name in _names(namespace, host.strip("[]").rstrip(".").lower())]


def _names(namespace: str, host: str) -> list[str]:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return [str(mapped or found)]
    service, cluster, _ = f"{host}.".partition(".svc.")
    if cluster:
        return [service]  # whatever the cluster's own domain is
    if "." not in host:
        return [f"{host}.{namespace}"]
    # `redis.example.com`, a Service of another namespace, or a pod of a Service of this one.
    return [host, f"{host}.{namespace}"]
