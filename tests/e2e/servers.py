"""What stories of LiveKitServer share: servers as a user writes them, and two people who talk on them."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from tests.caller.transport import Path as MediaPath
from tests.e2e.conftest import Story
from tests.harness.kubectl import Manifest, run
from tests.harness.processes import processes
from tests.harness.resources import SERVER, resource
from tests.media import Party, Talk

ROOM = "call"
PEOPLE = ("alice", "bob")
NODES = ("node-1", "node-2")
_HEAR_SECONDS = 20


def server(name: str = SERVER, **spec: object) -> Manifest:
    """Return a server that gives up its rooms at once when it is told to leave."""
    return resource("LiveKitServer", name, {"drainTimeoutSeconds": 1, **spec})


def host_network(first: int, *, media: int = 20, **spec: object) -> Manifest:
    """Return the spec of a server on the host network: signalling, ICE/TCP, metrics, then ports for media."""
    ports = {"start": first + 10, "end": first + 9 + media}
    return {
        "signal": {"port": first},
        "media": {"exposure": "HostNetwork", "tcpPort": first + 1, "udp": {"portRange": ports}},
        **spec,
    }


def node_ports(**spec: object) -> Manifest:
    """Return the spec of a server with node ports that the cluster chooses."""
    return {"media": {"exposure": "NodePort"}, **spec}


def on(node: str) -> Manifest:
    """Return the part of a spec that keeps servers on one node."""
    return {"podTemplate": {"nodeSelector": {"kubernetes.io/hostname": node}}}


def meeting(server: str = SERVER, name: str = ROOM) -> Manifest:
    """Return a room with a token for each of the two people."""
    spec = {"serverRef": {"name": server}, "tokens": [{"identity": identity} for identity in PEOPLE]}
    return resource("MeetingRoom", name, spec)


async def parties(
    story: Story, room: str = ROOM, *, network: Path | None = None, relay_only: bool = False
) -> tuple[Party, Party]:
    """Wait for a room and return its two people, in a network namespace if given."""
    await story.ready("meetingroom", room)
    secrets = await asyncio.gather(*(story.kubectl.secret(f"{room}-{identity}") for identity in PEOPLE))
    first, second = (Party.of(secret, namespace=network, relay_only=relay_only) for secret in secrets)
    return first, second


async def talk_ways(people: tuple[Party, Party]) -> list[MediaPath]:
    """Let two people hear each other, and return the ways their media goes, at least one for each of them."""
    async with Talk(*people) as talk:
        await talk.both_hear(_HEAR_SECONDS)
        heard = await talk.look()
    assert all(side.paths for side in heard), "no transport was reported"
    return [path for side in heard for path in side.paths]


async def server_pods(story: Story, name: str = SERVER) -> list[Manifest]:
    """Return the pods of a server's servers that are not leaving, by name."""
    selector = f"app.kubernetes.io/component=server,app.kubernetes.io/instance={name}"
    found = await story.kubectl.find("pods", selector)
    return sorted(
        (pod for pod in found if "deletionTimestamp" not in pod["metadata"]),
        key=lambda pod: str(pod["metadata"]["name"]),
    )


async def condition(story: Story, name: str, kind: str, reason: str, *, seconds: float = 60) -> str:
    """Wait until a server's condition of a kind has this reason for its current spec, and return its message."""
    return await story.condition("livekitserver", name, kind, reason, seconds=seconds)


async def listened(pod: Manifest) -> dict[str, set[int]]:
    """Return the ports that a pod's processes have open, by "tcp" and "udp", loopback's left out."""
    pids = processes(pod)
    listing = await run("nsenter", f"--net=/proc/{pids[0]}/ns/net", "--", "ss", "-Hlntup")
    found: dict[str, set[int]] = {"tcp": set(), "udp": set()}
    for line in listing.splitlines():
        protocol, _, _, _, local, *_ = line.split()
        address, _, port = local.rpartition(":")
        if {int(pid) for pid in re.findall(r"pid=(\d+)", line)} & set(pids) and not address.startswith("127."):
            found[protocol].add(int(port))
    return found


def firewall(manifest: Manifest) -> dict[str, list[tuple[str, range]]]:
    """Return `status.ports` as name -> protocol and ports of its lines."""
    lines: dict[str, list[tuple[str, range]]] = {}
    for line in manifest["status"]["ports"]:
        ports = range(line["port"], line.get("endPort", line["port"]) + 1)
        lines.setdefault(line["name"], []).append((line["protocol"], ports))
    return lines


def node_address(pods: Sequence[Manifest]) -> str:
    """Return the address of the node of the only pod there is."""
    (pod,) = pods
    return str(pod["status"]["hostIP"])
