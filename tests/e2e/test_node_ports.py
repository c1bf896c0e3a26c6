"""With node ports a server needs no privilege: it runs where `restricted` is enforced, and two run on one node."""

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import (
    NODES,
    firewall,
    listened,
    meeting,
    node_ports,
    on,
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


@pytest.mark.timeout(180)
async def test_a_restricted_namespace_runs_a_server_with_calls(story: Story) -> None:
    await story.kubectl("label", "namespace", story.kubectl.namespace, "pod-security.kubernetes.io/enforce=restricted")
    await story.kubectl.apply(server(**node_ports()), meeting())
    (manifest,) = await story.ready("livekitserver", SERVER)
    (pod,) = await server_pods(story)
    node = pod["status"]["hostIP"]
    assert pod["spec"].get("hostNetwork", False) is False
    services = {service["metadata"]["name"]: service for service in await story.kubectl.find("services")}
    signal = services[f"{SERVER}-livekit"]["spec"]["ports"][0]
    media = {port["name"]: port for port in services[pod["metadata"]["name"]]["spec"]["ports"]}
    udp, tcp = media["media"]["nodePort"], media["ice-tcp"]["nodePort"]
    assert (udp, tcp) == (media["media"]["targetPort"], media["ice-tcp"]["targetPort"])
    assert manifest["status"]["externalUrl"] == f"ws://{node}:{signal['nodePort']}"

    lines = firewall(manifest)
    assert lines["signal"] == [("TCP", range(signal["nodePort"], signal["nodePort"] + 1))]
    wanted = sorted(
        (port["protocol"], port["nodePort"])
        for name, service in services.items()
        if name != f"{SERVER}-livekit"
        for port in service["spec"]["ports"]
    )
    told = sorted((protocol, n) for name in ("media", "ice-tcp") for protocol, ports in lines[name] for n in ports)
    assert told == wanted, "the firewall list is what the Services of all slots have"
    ports = await listened(pod)
    assert ports == {"tcp": {manifest["spec"]["signal"]["port"], tcp}, "udp": {udp}}

    async with client_network(story.platform.target) as network:
        people = await parties(story, network=network.path)
        only = range(udp, udp + 1)
        async with counted_udp([node], only, namespace=network.path) as count, Talk(*people) as talk:
            await talk.both_hear(20)

            async def many_packets() -> bool:
                return (await count()).inside > 200

            await until("both to have talked for a while", many_packets, seconds=20)
            assert (await count()).outside == 0
        async with blocked_udp([node], namespace=network.path):
            for way in await talk_ways(people):
                assert (way.protocol, way.remote_address, way.remote_port) == ("tcp", node, tcp)


@pytest.mark.timeout(180)
async def test_two_servers_share_a_node(story: Story) -> None:
    names = ("first", "second")
    for name in names:
        spec = node_ports() | on(NODES[0])
        await story.kubectl.apply(server(name, **spec), meeting(name, f"room-{name}"))
    await story.ready("livekitserver", *names)
    pods = [pod for name in names for pod in await server_pods(story, name)]
    assert [pod["spec"]["nodeName"] for pod in pods] == [NODES[0]] * 2
    async with client_network(story.platform.target) as network:
        people = [await parties(story, f"room-{name}", network=network.path) for name in names]
        ways = [await talk_ways(each) for each in people]
    ports = [{way.remote_port for way in each} for each in ways]
    assert [len(each) for each in ports] == [1, 1]
    assert ports[0] != ports[1]
