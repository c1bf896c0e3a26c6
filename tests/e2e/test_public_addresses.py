"""Nodes behind a 1:1 NAT: each server tells the public address of its own node, by which people hear each other."""

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import NODES, condition, meeting, parties, server_pods, talk_ways
from tests.harness.internet import internet
from tests.harness.resources import SERVER
from tests.harness.servers import change, key_in_use, make_room, node_ids, own_url, server

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

        pods = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in await server_pods(story)}
        ids, key = await node_ids(story.kubectl), await key_in_use(story.kubectl)
        for node, pod in pods.items():
            # It is on this server before the operator asks for it.
            await make_room(await own_url(story.kubectl, pod), key, f"on-{node}", ids[pod])
            await story.kubectl.apply(meeting(name=f"on-{node}"))
            people = await parties(story, f"on-{node}", network=outside.path)
            # Public too, or nobody there would reach it.
            assert people[0].secret.url == manifest["status"]["externalUrl"]
            for way in await talk_ways(people):
                assert (way.protocol, way.remote_address) == ("udp", outside.public[node])
