"""How servers change: a rollout of three, the gap of one on the host network, a caller whose server is lost."""

import asyncio
import socket
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.table import Figure
from tests.harness.kubectl import Kubectl, Manifest, until
from tests.harness.processes import sigkill
from tests.media.talk import Party, Talk

API_VERSION = "livekit-operator.dev/v1alpha1"
# How often a server is asked whether it answers.
_PROBE_SECONDS = 0.02


@dataclass
class ServerFigures:
    """What was measured, in seconds."""

    rollout: list[float] = field(default_factory=list)
    """From a changed configuration to the last of three replicas as wanted, the old ones gone."""
    gap: list[float] = field(default_factory=list)
    """Without an answer during a rollout of one replica on the host network that keeps its node."""
    rejoin: list[float] = field(default_factory=list)
    """From the death of a caller's server to sound again."""

    def figures(self) -> list[Figure]:
        """Return what is printed."""
        return [
            Figure("rollout_seconds", "changed configuration -> the last of 3 servers rolled", self.rollout, "s"),
            Figure("gap_seconds", "one server on the host network: without an answer", self.gap, "s"),
            Figure("rejoin_seconds", "a caller's server is killed -> sound again", self.rejoin, "s"),
        ]


def server(name: str, **spec: Any) -> Manifest:
    """Return a LiveKitServer."""
    return {"apiVersion": API_VERSION, "kind": "LiveKitServer", "metadata": {"name": name}, "spec": spec}


def room(name: str, server_name: str) -> Manifest:
    """Return a room for two."""
    spec = {"serverRef": {"name": server_name}, "tokens": [{"identity": "alice"}, {"identity": "bob"}]}
    return {"apiVersion": API_VERSION, "kind": "MeetingRoom", "metadata": {"name": name}, "spec": spec}


async def measure_servers(kubectl: Kubectl, times: int) -> ServerFigures:
    """Measure in a namespace that exists; each figure `times` times."""
    figures = ServerFigures()
    shared = {"redis": {"managed": {}}, "media": {"exposure": "NodePort"}}
    await kubectl.apply(server("many", replicas=3, drainTimeoutSeconds=30, **shared))
    await until("three servers", lambda: _as_wanted(kubectl, "many"), seconds=120)
    for number in range(times):
        began = time.monotonic()
        await _change(kubectl, "many", number)
        await until("the rollout", lambda: _as_wanted(kubectl, "many"), seconds=120)
        figures.rollout.append(time.monotonic() - began)
    for number in range(times):
        figures.rejoin.append(await _rejoin(kubectl, number))
        await until("three servers", lambda: _as_wanted(kubectl, "many"), seconds=120)
    await kubectl("delete", "livekitserver", "many", "--wait", "--timeout", "120s")

    node = (await kubectl.find("nodes"))[0]["metadata"]["name"]
    pinned = {"podTemplate": {"nodeSelector": {"kubernetes.io/hostname": node}}}
    await kubectl.apply(server("one", drainTimeoutSeconds=30, **pinned))
    await until("one server", lambda: _as_wanted(kubectl, "one"), seconds=120)
    for number in range(times):
        figures.gap.append(await _gap(kubectl, number))
    await kubectl("delete", "livekitserver", "one", "--wait", "--timeout", "120s")
    return figures


async def _rejoin(kubectl: Kubectl, number: int) -> float:
    name = f"rejoin-{number}"
    await kubectl.apply(room(name, "many"))
    await kubectl("wait", "meetingroom", name, "--for=condition=Ready", "--timeout=60s")
    parties = [Party.of(await kubectl.secret(f"{name}-{identity}")) for identity in ("alice", "bob")]
    async with Talk(*parties) as talk:
        await talk.both_hear(20)
        pod = await until("the server of the call", lambda: _busy_pod(kubectl), seconds=30)
        killed = time.monotonic()
        await sigkill(kubectl, pod)
        await talk.silence(30)
        await talk.both_hear(90)
        gap = await talk.longest_gap_ms(since=killed) / 1000
    await kubectl("delete", "meetingroom", name, "--wait", "--timeout", "60s")
    return gap


async def _busy_pod(kubectl: Kubectl) -> Manifest | None:
    status = (await kubectl.get("livekitserver", "many"))["status"]
    busy = [line["name"] for line in status["servers"] if line.get("participants")]
    return await kubectl.get("pod", busy[0]) if len(busy) == 1 else None


async def _gap(kubectl: Kubectl, number: int) -> float:
    status = (await kubectl.get("livekitserver", "one"))["status"]
    address = urlsplit(status["externalUrl"])
    assert address.hostname is not None
    assert address.port is not None
    done = asyncio.Event()
    watching = asyncio.create_task(_longest_silence(address.hostname, address.port, done))
    await _change(kubectl, "one", number)
    await until("the rollout", lambda: _as_wanted(kubectl, "one"), seconds=120)
    done.set()
    return await watching


async def _longest_silence(host: str, port: int, done: asyncio.Event) -> float:
    """Ask for the server's health until told to end; return the longest time without a 200."""
    longest, last = 0.0, time.monotonic()
    while not done.is_set():
        if await _healthy(host, port):
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        await asyncio.sleep(_PROBE_SECONDS)
    return longest


async def _healthy(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(host, port, family=socket.AF_INET)
            try:
                writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                return (await reader.readline()).split()[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def _change(kubectl: Kubectl, name: str, number: int) -> None:
    level = "warn" if number % 2 == 0 else "info"
    patch = f'{{"spec": {{"logging": {{"level": "{level}"}}}}}}'
    await kubectl("patch", "livekitserver", name, "--type", "merge", "--patch", patch)


async def _as_wanted(kubectl: Kubectl, name: str) -> bool:
    manifest = await kubectl.get("livekitserver", name)
    status = manifest.get("status") or {}
    if status.get("observedGeneration") != manifest["metadata"]["generation"]:
        return False
    progressing = next(c for c in status["conditions"] if c["type"] == "Progressing")
    return bool(progressing["status"] == "False" and status["readyReplicas"] == manifest["spec"]["replicas"])
