"""Nodes behind a 1:1 NAT: each server tells the public address of its own node, by which people hear each other.

Agents in the cluster may need another one.
"""

from dataclasses import replace

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.servers import NODES, PEOPLE, ROOM, condition, meeting, server_pods, talk_ways
from tests.harness.internet import internet
from tests.harness.kubectl import until
from tests.harness.resources import SERVER
from tests.harness.servers import change, key_in_use, own_url, party, server, spread_rooms

# The nodes' public addresses are in their status.
pytestmark = pytest.mark.xdist_group("public-addresses")

# Of each version one on each node.
APART = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "DoNotSchedule",
    "matchLabelKeys": ["livekit-operator.dev/revision"],
}


@pytest.mark.timeout(240)
async def test_each_server_tells_the_public_address_of_its_own_node(story: Story) -> None:
    async with internet(story.kubectl) as outside:
        one = outside.public[NODES[0]]
        media = {"exposure": "NodePort", "nodeIp": one}
        spread = {"topologySpreadConstraints": [APART]}
        await story.kubectl.apply(server(2, media=media, podTemplate=spread, drainTimeoutSeconds=1))
        message = await condition(story, SERVER, "Degraded", "NodeIpShared", seconds=90)
        assert all(word in message for word in (one, *NODES, "spec.media.discoverExternalIp")), message

        discover = {"nodeIp": None, "discoverExternalIp": True, "stunServers": [outside.stun]}
        await change(story.kubectl, media=discover)
        await condition(story, SERVER, "Progressing", "UpToDate", seconds=90)
        (manifest,) = await story.ready("livekitserver", SERVER)
        told = {line["node"]: line["address"] for line in manifest["status"]["servers"]}
        assert told == outside.public
        assert await condition(story, SERVER, "Degraded", "AsExpected")

        await story.kubectl.apply(meeting())
        await story.ready("meetingroom", ROOM)
        url = (await story.kubectl.secret(f"{ROOM}-{PEOPLE[0]}"))["url"]
        assert url.startswith(tuple(f"ws://{address}:" for address in outside.public.values()))
        pods, key = await server_pods(story), await key_in_use(story.kubectl)
        inside = await own_url(story.kubectl, pods[0]["metadata"]["name"])
        rooms = await spread_rooms(story.kubectl, inside, key, [pod["metadata"]["name"] for pod in pods])
        for pod, room in zip(pods, rooms, strict=True):
            first, second = (replace(party(url, room, who, key), namespace=outside.path) for who in PEOPLE)
            for way in await talk_ways((first, second)):
                assert (way.protocol, way.remote_address) == ("udp", outside.public[pod["spec"]["nodeName"]])


@pytest.mark.timeout(240)
async def test_agents_whose_packets_do_not_turn_at_the_edge_are_told_a_way_inside(story: Story) -> None:
    async with internet(story.kubectl) as outside:
        media = {"exposure": "NodePort", "discoverExternalIp": True, "stunServers": [outside.stun], "iceLite": True}
        await story.kubectl.apply(pools.room(ROOM, dispatch="OnCreate"))
        await light_agents.serve(story, light_agents.pool(story), server_spec={"media": media})
        place, advice = ("meetingroom", ROOM, "AgentsReady"), "spec.media.advertiseInternalIp"
        await story.condition(*place, "AgentNotConnected", status="False", words=(advice,))
        await change(story.kubectl, media={"advertiseInternalIp": True})

        async def joined() -> bool:
            return bool((await story.kubectl.get("meetingroom", ROOM))["status"]["agentsJoined"] == 1)

        await until("an agent to have a connection", joined)
