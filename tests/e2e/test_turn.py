"""TURN relays media over UDP and TLS, with a certificate of a Secret that servers follow when it is renewed."""

import ssl

import aiohttp
import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import (
    condition,
    firewall,
    host_network,
    listened,
    meeting,
    node_address,
    parties,
    server,
    server_pods,
)
from tests.harness.certificates import Pair, make_authority, tls_secret
from tests.harness.clients import client_network
from tests.harness.kubectl import until
from tests.harness.loadbalancer import LoadBalancer
from tests.harness.netfilter import counted_udp
from tests.harness.resources import SERVER
from tests.harness.turn import Allocation, TurnError, allocate, ice_servers
from tests.media import Talk

# One load balancer gives addresses.
pytestmark = pytest.mark.xdist_group("load-balancer")

SIGNAL, TURN_UDP, TURN_TLS = 19880, 19885, 19886
MEDIA, RELAYS = range(19890, 19910), range(19920, 19940)
DOMAIN = "turn.example.test"


@pytest.mark.timeout(240)
async def test_media_is_relayed_and_a_renewed_certificate_is_served(story: Story) -> None:
    authority = make_authority("of the first certificate")
    turn = {
        "domain": DOMAIN,
        "udpPort": TURN_UDP,
        "relayRange": {"start": RELAYS.start, "end": RELAYS.stop - 1},
        "tls": {"port": TURN_TLS, "certificate": {"secretName": "turn-tls"}, "service": {}},
    }
    async with LoadBalancer(story.kubectl) as balancer:
        await story.kubectl.apply(tls_secret("turn-tls", authority, names=[DOMAIN]))
        await story.kubectl.apply(server(**host_network(SIGNAL, turn=turn)), meeting())
        (manifest,) = await story.ready("livekitserver", SERVER)
        pods = await server_pods(story)
        node = node_address(pods)
        lines = firewall(manifest)
        assert lines["turn-udp"] == [("UDP", range(TURN_UDP, TURN_UDP + 1))]
        assert lines["turn-tls"] == [("TCP", range(443, 444))]
        ports = await listened(pods[0])
        assert ports == {"tcp": {SIGNAL, SIGNAL + 1, TURN_TLS}, "udp": {TURN_UDP}}

        async with client_network(story.platform.target) as network:
            people = await parties(story, network=network.path, relay_only=True)
            only = range(TURN_UDP, TURN_UDP + 1)
            async with counted_udp([node], only, namespace=network.path) as count, Talk(*people) as talk:
                await talk.both_hear(20)
                for heard in await talk.look():
                    assert heard.relays, heard.to_text()
                    assert all(relay.port in RELAYS for relay in heard.relays), heard.to_text()
                    assert {path.relay_protocol for path in heard.paths} == {"udp"}, heard.to_text()
                assert (await count()).outside == 0, "clients reach TURN's own port, not its relays"

        address = await balancer.address(f"{SERVER}-livekit-turn")
        await balancer.leads_to(f"{SERVER}-livekit-turn")
        given = await _allocate_by_tls(story, address, authority)
        assert given.relayed_port in RELAYS
        assert given.permitted == {node: True, "10.96.0.1": False}, (
            "TURN leads to media and nowhere else in the cluster"
        )

        renewed = make_authority("of the renewed certificate")
        with pytest.raises(ssl.SSLError):
            await _allocate_by_tls(story, address, renewed)
        await story.kubectl.apply(tls_secret("turn-tls", renewed, names=[DOMAIN]))

        async def served() -> bool:
            try:
                return bool(await _allocate_by_tls(story, address, renewed))
            except (TimeoutError, OSError, aiohttp.ClientError, TypeError, TurnError):
                return False

        await until("TURN to serve the renewed certificate", served, seconds=90)
        await condition(story, SERVER, "Progressing", "UpToDate")
        (pod,) = await server_pods(story)
        assert pod["metadata"]["uid"] != pods[0]["metadata"]["uid"]
        await story.ready("livekitserver", SERVER)


async def _allocate_by_tls(story: Story, address: str, authority: Pair) -> Allocation:
    """Ask for a relay as a client behind a firewall does: by TLS at port 443 of the domain."""
    secret = await story.kubectl.secret("call-alice")
    servers = await ice_servers(secret["url"], secret["token"])
    url = f"turns:{DOMAIN}:443?transport=tcp"
    (one,) = [each for each in servers if url in each.urls]
    node = secret["url"].removeprefix("ws://").partition(":")[0]
    ca = authority.certificate_pem.decode()
    peers = [node, "10.96.0.1"]
    return await allocate(one, address, 443, transport="tls", ca=ca, server_name=DOMAIN, peers=peers)
