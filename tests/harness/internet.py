"""An internet that knows the nodes by public addresses only: in front of each node is a 1:1 NAT.

    internet (a network namespace)        NAT        nodes
    clients   > 203.0.113.11          >  10.89.0.11  node-1, its node ports
              > 203.0.113.12          >  10.89.0.12  node-2
    STUN      < 203.0.113.11          <  10.89.0.11 and its pods
              < 203.0.113.12          <  10.89.0.12 and its pods

    async with internet(kubectl) as outside:
        media = {"discoverExternalIp": True, "stunServers": [outside.stun]}
        talk = Talk(*(replace(party, namespace=outside.path) for party in parties))

The NAT is in the kernel of the namespace, which is that of `clients`: from there no packet leaves for an address of the
cluster's own, and none comes in that nobody there has asked for, STUN's aside. The nodes' `ExternalIP` is kept by an
admission policy, for a kubelet without a cloud takes addresses away that it did not write
(pkg/kubelet/nodestatus/setters.go NodeAddress).
"""

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.cluster import addresses, nodes
from tests.cluster.machine import Node
from tests.harness.clients import client_network
from tests.harness.kubectl import CommandError, Kubectl, Manifest, run, until

# RFC 5737: documentation's own, which nobody routes.
PUBLIC = IPv4Network("203.0.113.0/24")
_STUN_PORT = 3478
_POLICY = "public-addresses.livekit-operator.test"


@dataclass(frozen=True)
class Internet:
    """The file that `nsenter --net=` takes, the public address of each node by its name, and a STUN server."""

    path: Path
    public: Mapping[str, str]
    stun: str
    """As `host:port`."""


@asynccontextmanager
async def internet(kubectl: Kubectl) -> AsyncIterator[Internet]:
    """Have every node behind a 1:1 NAT, with its public address in its status, and take all of it away afterwards."""
    known = nodes.known()
    public = {node.name: str(PUBLIC[10 + node.index]) for node in known}
    async with client_network(kubectl.target) as network:
        for node in known:
            await run(*_enter(network.path), "ip", "route", "add", str(node.pod_network), "via", str(node.address))
        # Never used as it is: packets for it have been translated when they leave.
        await run(*_enter(network.path), "ip", "route", "add", str(PUBLIC), "via", str(known[0].address))
        await run(*_enter(network.path), "nft", "-f", "-", stdin=ruleset(known, public))
        async with _stun(network.path, network.address) as stun, _external_ips(kubectl, public):
            yield Internet(network.path, public, stun)


def ruleset(known: list[Node], public: Mapping[str, str]) -> str:
    """Return the nftables rules of the NAT in front of these nodes."""
    inwards = ", ".join(f"{public[node.name]} : {node.address}" for node in known)
    outwards = ", ".join(
        f"{source} : {public[node.name]}" for node in known for source in (node.address, node.pod_network)
    )
    inside = ", ".join(map(str, (addresses.MACHINES, addresses.PODS, addresses.SERVICES)))
    return f"""\
table ip internet {{
    map inwards {{ type ipv4_addr : ipv4_addr; elements = {{ {inwards} }}; }}
    map outwards {{ type ipv4_addr : ipv4_addr; flags interval; elements = {{ {outwards} }}; }}
    chain unknown_here {{ type filter hook output priority raw; ip daddr {{ {inside} }} drop; }}
    chain to_nodes {{ type nat hook output priority -100; dnat to ip daddr map @inwards; }}
    chain unasked {{
        type filter hook input priority filter;
        udp dport {_STUN_PORT} accept
        iifname "eth0" ct state new drop
    }}
    chain from_nodes {{ type nat hook input priority 100; snat to ip saddr map @outwards; }}
}}
"""


@asynccontextmanager
async def _stun(namespace: Path, address: IPv4Address) -> AsyncIterator[str]:
    words = (*_enter(namespace), sys.executable, "-m", "tests.harness.stun", str(_STUN_PORT))
    process = await create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE)
    assert process.stdin
    assert process.stdout
    try:
        if not await process.stdout.readline():
            raise CommandError("the STUN server did not start")
        yield f"{address}:{_STUN_PORT}"
    finally:
        process.stdin.close()
        await process.stdout.read()
        await process.wait()


@asynccontextmanager
async def _external_ips(kubectl: Kubectl, public: Mapping[str, str]) -> AsyncIterator[None]:
    await kubectl.apply(*_policy(public))
    try:
        await until("the nodes to have public addresses", lambda: _told(kubectl, public, there=True), seconds=30)
        yield
    finally:
        for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
            await kubectl("delete", kind, _POLICY, "--ignore-not-found")
        await until("the nodes to have none again", lambda: _told(kubectl, public, there=False), seconds=30)


async def _told(kubectl: Kubectl, public: Mapping[str, str], *, there: bool) -> bool:
    """Write each node's status, by which the policy does its work, or no longer; return whether that shows."""
    change = [] if there else [{"type": "ExternalIP", "$patch": "delete"}]
    patch = json.dumps({"status": {"addresses": change}})
    for name in public:
        await kubectl("patch", "node", name, "--subresource", "status", "--type", "strategic", "--patch", patch)
    found = {
        node["metadata"]["name"]: one["address"]
        for node in await kubectl.find("nodes")
        for one in node["status"]["addresses"]
        if one["type"] == "ExternalIP"
    }
    return found == (public if there else {})


def _policy(public: Mapping[str, str]) -> tuple[Manifest, Manifest]:
    api, metadata = "admissionregistration.k8s.io/v1", {"name": _POLICY}
    listed = ", ".join(f"'{name}': '{address}'" for name, address in public.items())
    address = f"{{{listed}}}[object.metadata.name]"
    add = (
        f"[JSONPatch{{op: 'add', path: '/status/addresses/-', value: {{'type': 'ExternalIP', 'address': {address}}}}}]"
    )
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes/status"]}
    lacks = (
        f"object.metadata.name in {{{listed}}} && !object.status.?addresses.orValue([])"
        ".exists(one, one.type == 'ExternalIP')"
    )
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "lacks-one", "expression": lacks}],
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": add}}],
    }
    return (
        {"apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": _POLICY},
        },
    )


def _enter(namespace: Path) -> tuple[str, ...]:
    return ("nsenter", f"--net={namespace}", "--")
