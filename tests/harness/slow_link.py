"""A node's link that is slow and loses packets, both on their way from the node, as `tc netem` would have it.

    async with slow_link(Node.named("node-1"), Weather(delay=0.3, loss=0.1)):
        ...

Not netem itself, which many kernels are built without: the node's port leaves the switch's bridge, and a program in
between passes on what comes. It ends with whoever started it; `python -m tests.cluster up` puts the port back as well.

    node's eth0 ═ n1   ► program, late or never ►   s1 ═ s1-far   bridge
                       ◄ program, at once ◄
"""

import asyncio
import os
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.machine import Node
from tests.cluster.network import BRIDGE, SWITCH
from tests.harness.kubectl import CommandError, run

_ALL_PROTOCOLS = 0x0003
# Source: linux/if_packet.h, which Python does not have.
_SOL_PACKET, _VNET_HEADER, _IGNORE_OUTGOING = 263, 15, 23
# A segment that the sender left for the card to cut, with the header that says so.
_LONGEST = 65536 + 256
_READY = "ready"
_LOOK_AT_PARENT_SECONDS = 1.0


@dataclass(frozen=True)
class Weather:
    """How late packets come, in seconds, and which part of them does not come at all."""

    delay: float
    loss: float


@dataclass
class Relay:
    """Passes frames between two sockets; from `near` to `far` they are late, and some are lost."""

    near: socket.socket
    far: socket.socket
    weather: Weather
    luck: random.Random
    _waiting: deque[tuple[float, bytes]] = field(default_factory=deque)

    def step(self, longest: float) -> None:
        """Wait for a frame, or for one that is due, for so many seconds at most, and pass on what there is."""
        due = self._waiting[0][0] - time.monotonic() if self._waiting else longest
        ready, _, _ = select.select([self.near, self.far], [], [], min(longest, max(0.0, due)))
        for link in ready:
            self._take(link)
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _send(self.far, self._waiting.popleft()[1])

    def _take(self, link: socket.socket) -> None:
        try:
            frame = link.recv(_LONGEST)
        except OSError:
            return  # the link is down for a moment
        if not frame:
            return
        if link is self.far:
            _send(self.near, frame)
        elif self.luck.random() >= self.weather.loss:
            # All are late by the same time: none overtakes another.
            self._waiting.append((time.monotonic() + self.weather.delay, frame))


def _send(link: socket.socket, frame: bytes) -> None:
    with suppress(OSError):  # a queue is full, or the link is down: what a wire would lose
        link.send(frame)


@asynccontextmanager
async def slow_link(node: Node, weather: Weather, *, seed: int = 0) -> AsyncIterator[None]:
    """Have a node's packets come late or not at all until the block ends. A node that was stopped meanwhile is fine."""
    port, near, far = f"n{node.index}", f"s{node.index}", f"s{node.index}-far"
    await _ip("link", "add", near, "type", "veth", "peer", "name", far)
    try:
        await _ip("link", "set", near, "up")
        await _ip("link", "set", far, "master", BRIDGE, "up")
        # Its own interpreter in the namespace: a namespace belongs to a thread, and this one's has others to serve.
        program = await asyncio.create_subprocess_exec(
            *("nsenter", f"--net={SWITCH}", "--", sys.executable, "-m", "tests.harness.slow_link", port, near),
            *(str(weather.delay), str(weather.loss), str(seed), str(os.getpid())),
            stdout=asyncio.subprocess.PIPE,
        )
        assert program.stdout
        try:
            line = (await program.stdout.readline()).decode().strip()
            assert line == _READY, f"the program between {port} and the bridge does not start"
            await _ip("link", "set", port, "nomaster")
            yield
            assert program.returncode is None, f"the program between {port} and the bridge has ended by itself"
        finally:
            with suppress(CommandError):  # gone with its node
                await _ip("link", "set", port, "master", BRIDGE)
            with suppress(ProcessLookupError):
                program.kill()
            await program.wait()
    finally:
        await _ip("link", "delete", near)


async def connect_seconds(address: str, port: int) -> float:
    """Return how long a TCP connection takes to be made; raises OSError where none is."""
    began = time.monotonic()
    _, writer = await asyncio.open_connection(address, port)
    seconds = time.monotonic() - began
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return seconds


async def _ip(*words: str) -> str:
    return await run("nsenter", f"--net={SWITCH}", "--", "ip", *words)


def open_link(name: str) -> socket.socket:
    """Open a link of this namespace: whole frames, with what the card was to do, and none of our own."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    link.setsockopt(_SOL_PACKET, _VNET_HEADER, 1)
    link.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    link.bind((name, _ALL_PROTOCOLS))
    return link


def relay(relay: Relay, wanted: Callable[[], bool]) -> None:
    """Pass frames on for as long as it is wanted."""
    while wanted():
        relay.step(_LOOK_AT_PARENT_SECONDS)


def main(words: list[str]) -> None:
    """Pass frames between two links of this namespace, for as long as the process lives that asked for it."""
    near, far, delay, loss, seed, asked_by = words
    between = Relay(open_link(near), open_link(far), Weather(float(delay), float(loss)), random.Random(int(seed)))
    print(_READY, flush=True)
    relay(between, Path(f"/proc/{asked_by}").exists)


if __name__ == "__main__":
    main(sys.argv[1:])
