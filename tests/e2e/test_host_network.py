"""On the host network media comes by the ports that are declared, and by no other; without UDP by ICE/TCP."""

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import (
    firewall,
    host_network,
    listened,
    meeting,
    node_address,
    parties,
    server,
    server_pods,
    talk_ways,
)
from tests.harness.clients import client_network
from tests.harness.kubectl import until
from tests.harness.netfilter import blocked_udp, counted_udp
from tests.harness.resources import SERVER
from tests.media import Talk

SIGNAL, ICE_TCP, MEDIA = 17880, 17881, range(17890, 17910)


@pytest.mark.timeout(180)
async def test_media_stays_inside_the_declared_ports(story: Story) -> None:
    await story.kubectl.apply(server(**host_network(SIGNAL)), meeting())
    (manifest,) = await story.ready("livekitserver", SERVER)
    assert firewall(manifest) == {
        "signal": [("TCP", range(SIGNAL, SIGNAL + 1))],
        "ice-tcp": [("TCP", range(ICE_TCP, ICE_TCP + 1))],
        "media": [("UDP", MEDIA)],
    }
    pods = await server_pods(story)
    node = node_address(pods)
    assert manifest["status"]["externalUrl"] == f"ws://{node}:{SIGNAL}"
    async with client_network(story.platform.target) as network:
        people = await parties(story, network=network.path)
        async with counted_udp([node], MEDIA, namespace=network.path) as count, Talk(*people) as talk:
            await talk.both_hear(20)

            async def many_packets() -> bool:
                return (await count()).inside > 200

            await until("both to have talked for a while", many_packets, seconds=20)
            assert (await count()).outside == 0
            for heard in await talk.look():
                assert [path.protocol for path in heard.paths] == ["udp"]
                assert all(path.remote_address == node and path.lies_in(MEDIA) for path in heard.paths), heard.to_text()
            ports = await listened(pods[0])
        assert ports["tcp"] == {SIGNAL, ICE_TCP}, "the firewall list is what is listened on"
        assert ports["udp"]
        assert ports["udp"] <= set(MEDIA)

        async with blocked_udp([node], namespace=network.path):
            for way in await talk_ways(people):
                assert (way.protocol, way.remote_address, way.remote_port) == ("tcp", node, ICE_TCP)
