"""Of two servers that want the same ports of a node the later one says which has them, and waits for them."""

import json

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import NODES, host_network, meeting, on, parties, server, server_pods, talk_ways
from tests.harness.clients import client_network

PORTS, OTHERS = 16880, 16980


@pytest.mark.timeout(240)
async def test_the_later_server_names_the_earlier_one(story: Story) -> None:
    same = host_network(PORTS) | on(NODES[0])
    await story.kubectl.apply(server("first", **same), meeting("first", "room-first"))
    await story.ready("livekitserver", "first")
    await story.kubectl.apply(server("second", **same), meeting("second", "room-second"))
    message = await story.reason("livekitserver", "second", "PortConflict")
    assert "LiveKitServer first has" in message
    assert str(PORTS) in message
    assert await server_pods(story, "second") == []

    # Other ports: both run on the one node.
    patch = json.dumps({"spec": host_network(OTHERS)})
    await story.kubectl("patch", "livekitserver", "second", "--type", "merge", "--patch", patch)
    await story.ready("livekitserver", "second")
    pods = [pod for name in ("first", "second") for pod in await server_pods(story, name)]
    assert [pod["spec"]["nodeName"] for pod in pods] == [NODES[0]] * 2
    async with client_network(story.platform.target) as network:
        for name, first in (("first", PORTS), ("second", OTHERS)):
            people = await parties(story, f"room-{name}", network=network.path)
            for way in await talk_ways(people):
                assert way.protocol == "udp"
                assert way.lies_in(range(first + 10, first + 30))

    # The earlier one goes: the later one has its ports.
    await story.kubectl.apply(server("third", **same))
    assert "first" in await story.reason("livekitserver", "third", "PortConflict")
    await story.kubectl("delete", "meetingroom", "room-first")
    await story.kubectl("delete", "livekitserver", "first")
    await story.ready("livekitserver", "third", seconds=40)
