"""A network for clients outside the cluster: they reach its nodes, and neither its pods nor its Services.

    async with client_network(target) as network:
        async with Talk(*(replace(party, namespace=network.path) for party in parties)) as talk:
            ...

What is blocked or counted there concerns nobody else. It belongs to a running process: the kernel removes it when that
ends, however it ends.
"""

import random
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from tests.cluster import addresses
from tests.cluster.network import BRIDGE, SWITCH
from tests.harness.kubectl import CommandError, run
from tests.harness.target import Target, TargetError

# No node and no load balancer has one of these (tests/cluster/addresses.py, tests/harness/loadbalancer.py).
_HOSTS = range(120, 200)


@dataclass(frozen=True)
class ClientNetwork:
    """The file that `nsenter --net=` takes, and the address clients have there."""

    path: Path
    address: IPv4Address

    async def lead(self, address: str, via: str) -> None:
        """Lead packets for an address, such as a load balancer's, to a node's."""
        await _ip(self.path, "route", "replace", f"{address}/32", "via", via)


@asynccontextmanager
async def client_network(target: Target) -> AsyncIterator[ClientNetwork]:
    """Make a network of one host beside the nodes, and take it away afterwards."""
    if not target.local:
        raise TargetError("Another cluster's clients come from wherever this runs.")
    owner = await create_subprocess_exec(
        "unshare", "--net", "sh", "-c", "echo ready; exec cat", stdin=PIPE, stdout=PIPE
    )
    assert owner.stdin
    assert owner.stdout
    try:
        await owner.stdout.readline()
        path = Path(f"/proc/{owner.pid}/ns/net")
        address = await _join(owner.pid)
        await _ip(path, "link", "set", "lo", "up")
        await _ip(path, "address", "add", f"{address}/{addresses.MACHINES.prefixlen}", "dev", "eth0")
        await _ip(path, "link", "set", "eth0", "up")
        yield ClientNetwork(path, address)
    finally:
        owner.stdin.close()
        await owner.stdout.read()
        await owner.wait()


async def _join(pid: int) -> IPv4Address:
    """Join a process's network to the switch by a link whose name reserves an address, and return that."""
    failure = None
    for host in random.sample(_HOSTS, len(_HOSTS)):
        link = f"c{host}"
        try:
            await _ip(SWITCH, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        except CommandError as error:
            failure = error
            continue
        await _ip(SWITCH, "link", "set", link, "master", BRIDGE, "up")
        return addresses.MACHINES[host]
    raise failure or CommandError("no address is left for clients")


async def _ip(namespace: Path, *words: str) -> str:
    return await run("nsenter", f"--net={namespace}", "--", "ip", *words)
