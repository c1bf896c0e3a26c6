"""The load balancer's stand-in leads packets where a cloud's would."""

import asyncio

import pytest

from tests.cluster.machine import Node
from tests.harness.kubectl import Manifest
from tests.harness.loadbalancer import choose_node, documents, why_refused

NODES = [Node(1), Node(2)]


@pytest.mark.parametrize(
    ("protocols", "free", "mixed", "words"),
    [
        (["UDP", "TCP"], 1, True, None),
        (["UDP", "TCP"], 1, False, "mixed protocol is not supported"),
        (["UDP", "UDP"], 1, False, None),
        (["TCP"], 0, True, "no available IPs"),
    ],
)
def test_who_gets_no_address_is_told_why(protocols: list[str], free: int, mixed: bool, words: str | None) -> None:
    ports = [{"port": 7000 + number, "protocol": protocol} for number, protocol in enumerate(protocols)]
    manifest = {"metadata": {"namespace": "team", "name": "voice"}, "spec": {"ports": ports}}
    refused = why_refused(manifest, free=free, mixed=mixed)
    assert (refused is None) == (words is None)
    assert refused is None or (words or "") in refused[1]


def service(policy: str) -> Manifest:
    return {"metadata": {"name": "voice"}, "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy}}


def endpoints(owner: str, **ready: bool) -> Manifest:
    found = [{"nodeName": name.replace("_", "-"), "conditions": {"ready": each}} for name, each in ready.items()]
    return {"metadata": {"labels": {"kubernetes.io/service-name": owner}}, "endpoints": found}


@pytest.mark.parametrize(
    ("policy", "slices", "node"),
    [
        ("Local", [], None),
        ("Local", [endpoints("voice", node_2=False)], None),
        ("Local", [endpoints("voice", node_2=True)], "node-2"),
        ("Local", [endpoints("voice", node_1=False), endpoints("voice", node_2=True)], "node-2"),
        ("Local", [endpoints("another", node_1=True)], None),
        ("Cluster", [], "node-1"),
    ],
)
def test_packets_go_to_a_node_with_a_ready_endpoint(policy: str, slices: list[Manifest], node: str | None) -> None:
    chosen = choose_node(service(policy), slices, NODES)
    assert (chosen.name if chosen else None) == node


async def test_documents_are_read_whatever_pieces_they_come_in() -> None:
    text = '{"name": "grün"}\n{\n  "two": {"of": "them"}\n}{"three": 3}\n'.encode()
    stream = asyncio.StreamReader()
    found = asyncio.create_task(_all(stream))
    for byte in text:
        stream.feed_data(bytes([byte]))
        await asyncio.sleep(0)
    stream.feed_eof()
    assert await found == [{"name": "grün"}, {"two": {"of": "them"}}, {"three": 3}]


async def _all(stream: asyncio.StreamReader) -> list[Manifest]:
    return [document async for document in documents(stream)]
