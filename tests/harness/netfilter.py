"""Packets that are dropped, or counted, between clients on this machine and addresses of the cluster.

    async with blocked_udp([node, *POD_NETWORKS]):                   UDP to and from the node and its pods is lost
    async with counted_udp([node], range(50100, 50201)) as count:    packets inside the range, and outside
        ...
        assert (await count()).outside == 0

The pods' networks matter: here nothing translates a pod's address, so a server in a pod also sends from that address,
and a client that answers it has found a way of its own past a Service.

Clients are those in this process's network namespace, or in the namespace that is named. Every rule is in a table of
its own that belongs to a running `nft`: the kernel removes it when that process ends, however it ends.
"""

import asyncio
import json
import secrets
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from tests.cluster import addresses
from tests.harness.kubectl import CommandError, run, until

POD_NETWORKS = (str(addresses.PODS),)

_INSIDE, _OUTSIDE = "inside", "outside"


@dataclass(frozen=True)
class Counted:
    """UDP packets to and from addresses or networks: with one of the ports, and with none of them."""

    inside: int
    outside: int


@asynccontextmanager
async def blocked_udp(to: Sequence[str], *, namespace: Path | None = None) -> AsyncIterator[None]:
    """Drop UDP to and from addresses or networks."""
    async with _table(blocking(to), namespace):
        yield


@asynccontextmanager
async def counted_udp(
    to: Sequence[str], *ports: range, namespace: Path | None = None
) -> AsyncIterator[Callable[[], Awaitable[Counted]]]:
    """Count UDP packets to and from addresses or networks; gives a function that reads the counters."""
    async with _table(counting(to, ports), namespace) as table:

        async def count() -> Counted:
            listing = await _nft("--json", "list", "counters", "table", "inet", table, namespace=namespace)
            found = (item["counter"] for item in json.loads(listing)["nftables"] if "counter" in item)
            packets = {counter["name"]: int(counter["packets"]) for counter in found}
            return Counted(packets[_INSIDE], packets[_OUTSIDE])

        yield count


def blocking(to: Sequence[str]) -> str:
    """Return a table's content, in one line, that drops UDP to and from addresses."""
    return _chains("meta l4proto udp", "drop", to)


def counting(to: Sequence[str], ports: tuple[range, ...]) -> str:
    """Return a table's content, in one line, that counts UDP packets with one of the ports and with none of them."""
    counters = f"counter {_INSIDE} {{ }}; counter {_OUTSIDE} {{ }};"
    wanted = _set(ports)
    inside = (f"counter name {_INSIDE}", to, f"udp sport {wanted}")
    outside = (f"counter name {_OUTSIDE}", to, f"udp sport != {wanted}")
    return f"{counters} {_chains(f'udp dport {wanted}', *inside)} {_chains(f'udp dport != {wanted}', *outside)}"


def _chains(towards: str, verdict: str, networks: Sequence[str], back: str | None = None) -> str:
    """Rules for packets that leave for the address and that come from it."""
    family = "ip" if ip_network(networks[0]).version == 4 else "ip6"
    address = f"{{ {', '.join(networks)} }}"
    # As raw as can be: behind these, addresses and ports of Services are translated.
    chain = "chain {name} {{ type filter hook {hook} priority raw; policy accept; {rule}; }};"
    suffix = secrets.token_hex(2)
    out = f"{family} daddr {address} {towards} {verdict}"
    into = f"{family} saddr {address} {back or towards} {verdict}"
    return " ".join(
        (
            chain.format(name=f"out_{suffix}", hook="output", rule=out),
            chain.format(name=f"in_{suffix}", hook="prerouting", rule=into),
        )
    )


def _set(ports: tuple[range, ...]) -> str:
    """Ports as nftables writes them; ranges end before their `stop`, as always in Python."""
    if not ports or any(not one or one.step != 1 for one in ports):
        raise ValueError(f"these are no ranges of ports: {ports}")
    return "{ " + ", ".join(f"{one.start}-{one.stop - 1}" for one in ports) + " }"


@asynccontextmanager
async def _table(content: str, namespace: Path | None) -> AsyncIterator[str]:
    name = f"livekit-operator-test-{secrets.token_hex(4)}"
    # Interactive, so that it stays: a table with an owner goes with it.
    owner = await asyncio.create_subprocess_exec(
        *(*_enter(namespace), "nft", "-i"), stdin=PIPE, stdout=DEVNULL, stderr=PIPE
    )
    assert owner.stdin
    assert owner.stderr
    try:
        owner.stdin.write(f"add table inet {name} {{ flags owner; {content} }}\n".encode())
        await owner.stdin.drain()
        try:
            await until(f"nftables table {name}", lambda: _exists(name, namespace), seconds=10, every=0.02)
        except TimeoutError:
            owner.kill()
            raise CommandError((await owner.stderr.read()).decode()) from None
        yield name
    finally:
        owner.stdin.close()
        await owner.wait()
        # Read to its end, or the pipe is left open.
        await owner.stderr.read()


async def _exists(table: str, namespace: Path | None) -> bool:
    return f"table inet {table}" in (await _nft("list", "tables", "inet", namespace=namespace)).splitlines()


async def _nft(*words: str, namespace: Path | None) -> str:
    return await run(*_enter(namespace), "nft", *words)


def _enter(namespace: Path | None) -> tuple[str, ...]:
    return ("nsenter", f"--net={namespace}", "--") if namespace else ()
