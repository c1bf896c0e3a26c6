"""Behind a load balancer a server waits for its address, tells clients that one, and media comes by it."""

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import firewall, listened, meeting, parties, server, server_pods, talk_ways
from tests.harness.clients import client_network
from tests.harness.loadbalancer import LoadBalancer
from tests.harness.netfilter import blocked_udp
from tests.harness.resources import SERVER

# One load balancer gives addresses.
pytestmark = pytest.mark.xdist_group("load-balancer")

UDP, TCP, SIGNAL = 7882, 7881, 7880


@pytest.mark.timeout(180)
async def test_media_comes_by_the_load_balancers_address(story: Story) -> None:
    target = story.platform.target
    async with LoadBalancer(story.kubectl, hold=True) as balancer, client_network(target) as network:
        await story.kubectl.apply(server(media={"exposure": "LoadBalancer"}), meeting())
        message = await story.reason("livekitserver", SERVER, "NoExternalAddress")
        assert f"{SERVER}-livekit-0" in message
        assert await server_pods(story) == []

        balancer.release()
        (manifest,) = await story.ready("livekitserver", SERVER)
        (pod,) = await server_pods(story)
        media, signal = await balancer.address(pod["metadata"]["name"]), await balancer.address(f"{SERVER}-livekit")
        assert manifest["status"]["servers"][0]["address"] == media
        assert manifest["status"]["externalUrl"] == f"ws://{signal}:{SIGNAL}"
        assert firewall(manifest) == {
            "signal": [("TCP", range(SIGNAL, SIGNAL + 1))],
            "ice-tcp": [("TCP", range(TCP, TCP + 1))],
            "media": [("UDP", range(UDP, UDP + 1))],
        }
        assert await listened(pod) == {"tcp": {SIGNAL, TCP}, "udp": {UDP}}

        await balancer.leads_to(pod["metadata"]["name"], pod["spec"]["nodeName"])
        await balancer.leads_to(f"{SERVER}-livekit")
        for address in (media, signal):
            await network.lead(address, via=pod["status"]["hostIP"])
        people = await parties(story, network=network.path)
        for way in await talk_ways(people):
            assert (way.protocol, way.remote_address, way.remote_port) == ("udp", media, UDP)
        async with blocked_udp([media], namespace=network.path):
            for way in await talk_ways(people):
                assert (way.protocol, way.remote_address, way.remote_port) == ("tcp", media, TCP)
