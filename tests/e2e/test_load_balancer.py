"""Behind a load balancer a server waits for its address, tells clients that one, and media comes by it.

Clouds differ in what they give: one address, no Service of two protocols, TLS on layer 4. What is missing is told.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from ipaddress import IPv4Address
from tempfile import NamedTemporaryFile

import pytest

from livekit_operator.servers.decisions.rollout import ADDRESS_PATIENCE
from tests.e2e.conftest import Story
from tests.e2e.servers import (
    ROOM,
    condition,
    firewall,
    listened,
    meeting,
    node_ports,
    parties,
    server,
    server_pods,
    talk_ways,
)
from tests.harness.certificates import make_authority, make_certificate
from tests.harness.clients import client_network
from tests.harness.kubectl import Manifest, until
from tests.harness.loadbalancer import LoadBalancer
from tests.harness.netfilter import blocked_udp
from tests.harness.resources import SERVER
from tests.harness.servers import change
from tests.harness.turn import ice_servers

# One load balancer gives addresses.
pytestmark = pytest.mark.xdist_group("load-balancer")

UDP, TCP, SIGNAL = 7882, 7881, 7880
# A cloud's words are read every fifteen seconds.
WORDS_SECONDS = 60


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


@pytest.mark.timeout(240)
async def test_with_one_address_the_empty_server_gives_it_to_its_successor(story: Story) -> None:
    async with LoadBalancer(story.kubectl, most=1) as balancer:
        await story.kubectl.apply(server(media={"exposure": "LoadBalancer"}))
        only = await balancer.address(f"{SERVER}-livekit")
        message = await _told(story, "no available IPs")
        assert f"{SERVER}-livekit-0" in message
        assert "spec.signal.service.type is ClusterIP" in message

        await change(story.kubectl, signal={"service": {"type": "ClusterIP"}})
        assert await balancer.address(f"{SERVER}-livekit-0") == only
        message = await story.reason("livekitserver", SERVER, "ExternalUrlMissing")
        assert "spec.signal.externalUrl" in message
        await change(story.kubectl, signal={"externalUrl": "wss://voice.example.test"})
        await story.ready("livekitserver", SERVER)

        (before,) = await server_pods(story)
        await change(story.kubectl, logging={"level": "warn"})
        waits = await _service(story, f"{SERVER}-livekit-1")
        assert f"{SERVER}-livekit-1" in await _told(story, "no available IPs", "Degraded")
        await condition(story, SERVER, "Progressing", "UpToDate", seconds=ADDRESS_PATIENCE.total_seconds() + 60)
        (after,) = await server_pods(story)
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert _made(after) - _made(waits) >= ADDRESS_PATIENCE
        (manifest,) = await story.ready("livekitserver", SERVER)
        assert [line["address"] for line in manifest["status"]["servers"]] == [only]
        assert await condition(story, SERVER, "Degraded", "AsExpected")


@pytest.mark.timeout(180)
async def test_what_a_cloud_without_mixed_protocols_says_is_quoted_and_udp_alone_works(story: Story) -> None:
    target = story.platform.target
    async with LoadBalancer(story.kubectl, mixed=False) as balancer, client_network(target) as network:
        await story.kubectl.apply(server(media={"exposure": "LoadBalancer"}), meeting())
        message = await _told(story, "mixed protocol is not supported for LoadBalancer")
        assert "spec.media.loadBalancer.iceTcp: false" in message

        await change(story.kubectl, media={"loadBalancer": {"iceTcp": False}})
        (manifest,) = await story.ready("livekitserver", SERVER)
        assert "ice-tcp" not in firewall(manifest)
        (pod,) = await server_pods(story)
        assert await listened(pod) == {"tcp": {SIGNAL}, "udp": {UDP}}
        media, signal = await balancer.address(pod["metadata"]["name"]), await balancer.address(f"{SERVER}-livekit")
        await balancer.leads_to(pod["metadata"]["name"], pod["spec"]["nodeName"])
        await balancer.leads_to(f"{SERVER}-livekit")
        for address in (media, signal):
            await network.lead(address, via=pod["status"]["hostIP"])
        for way in await talk_ways(await parties(story, network=network.path)):
            assert (way.protocol, way.remote_address, way.remote_port) == ("udp", media, UDP)


@pytest.mark.timeout(180)
async def test_a_balancer_that_ends_tls_leads_to_the_port_of_the_service(story: Story) -> None:
    url = "wss://voice.example.test"
    signal = {"externalUrl": url, "service": {"type": "LoadBalancer", "port": 443}}
    async with LoadBalancer(story.kubectl) as balancer:
        await story.kubectl.apply(server(**node_ports(signal=signal)), meeting())
        # The operator makes the room by that port as well.
        await story.ready("meetingroom", ROOM)
        (manifest,) = await story.ready("livekitserver", SERVER)
        assert firewall(manifest)["signal"] == [("TCP", range(443, 444))]
        assert manifest["status"]["internalUrl"].endswith(":443")
        secret = await story.kubectl.secret(f"{ROOM}-alice")
        assert secret["url"] == url
        address = await balancer.address(f"{SERVER}-livekit")
        await balancer.leads_to(f"{SERVER}-livekit")
        async with _ending_tls(address, 443) as (here, trust):
            assert await ice_servers(here, secret["token"], trust=trust)


async def _told(story: Story, words: str, kind: str = "Ready") -> str:
    """Wait until a server says in the cloud's words that an address is missing, and return the message."""
    return await story.condition(
        "livekitserver", SERVER, kind, "NoExternalAddress", words=(words,), seconds=WORDS_SECONDS
    )


async def _service(story: Story, name: str) -> Manifest:
    found: Manifest = await until(f"Service {name}", lambda: story.kubectl.get("service", name))
    return found


def _made(manifest: Manifest) -> datetime:
    return datetime.fromisoformat(manifest["metadata"]["creationTimestamp"])


@asynccontextmanager
async def _ending_tls(address: str, port: int) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """End TLS in front of an address, as a load balancer on layer 4 does; give a URL and what trusts it."""
    authority = make_authority("of the load balancer")
    pair = make_certificate(authority, "load balancer", addresses=[IPv4Address("127.0.0.1")])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with NamedTemporaryFile() as file:
        file.write(pair.certificate_pem + pair.key_pem)
        file.flush()
        context.load_cert_chain(file.name)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(address, port)
        await asyncio.gather(_copy(reader, outer), _copy(inner, writer))

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context) as listening:
        (socket,) = listening.sockets
        trust = ssl.create_default_context(cadata=authority.certificate_pem.decode())
        yield f"wss://127.0.0.1:{socket.getsockname()[1]}", trust


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
