"""What passes frames on between a node's link and the bridge."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.harness.slow_link import Relay, Weather

Ends = tuple[socket.socket, socket.socket, socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Give two wires, each by both of its ends."""
    with ExitStack() as stack:
        node, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        far, bridge = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (node, near, far, bridge):
            stack.enter_context(end)
        bridge.setblocking(False)
        node.setblocking(False)
        yield node, near, far, bridge


def received(end: socket.socket) -> list[bytes]:
    """Return all frames that have come."""
    found = []
    while True:
        try:
            found.append(end.recv(100))
        except BlockingIOError:
            return found


def pass_on(relay: Relay, end: socket.socket, count: int) -> tuple[list[bytes], float]:
    """Pass frames on until so many have come; return them, and how long that took."""
    began, found = time.monotonic(), received(end)
    while len(found) < count and time.monotonic() - began < 10:
        relay.step(1.0)
        found += received(end)
    return found, time.monotonic() - began


def test_frames_of_the_node_are_late_and_in_order(ends: Ends) -> None:
    node, near, far, bridge = ends
    relay = Relay(near, far, Weather(delay=0.2, loss=0.0), random.Random(1))
    for frame in (b"one", b"two", b"three"):
        node.send(frame)
    found, seconds = pass_on(relay, bridge, 3)
    assert found == [b"one", b"two", b"three"]
    assert seconds >= 0.2


def test_frames_for_the_node_come_at_once(ends: Ends) -> None:
    node, near, far, bridge = ends
    relay = Relay(near, far, Weather(delay=60.0, loss=1.0), random.Random(1))
    bridge.send(b"one")
    assert pass_on(relay, node, 1)[0] == [b"one"]


@pytest.mark.parametrize(("loss", "least", "most"), [(0.0, 400, 400), (0.1, 340, 380), (1.0, 0, 0)])
def test_a_part_of_the_nodes_frames_is_lost(ends: Ends, loss: float, least: int, most: int) -> None:
    node, near, far, bridge = ends
    relay, came = Relay(near, far, Weather(delay=0.0, loss=loss), random.Random(1)), 0
    for number in range(400):
        node.send(str(number).encode())
        relay.step(1.0)
        relay.step(0.0)
        came += len(received(bridge))
    assert least <= came <= most


def test_a_link_that_is_gone_ends_nothing(ends: Ends) -> None:
    node, near, far, bridge = ends
    relay = Relay(near, far, Weather(delay=0.0, loss=0.0), random.Random(1))
    bridge.close()
    node.send(b"into the void")
    relay.step(1.0)
    relay.step(0.0)
    assert received(node) == []
