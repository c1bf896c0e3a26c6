"""What is forgotten of a server, and what is closed with it; together/test_forgetting.py looks for anything left."""

from datetime import timedelta
from typing import cast

import pytest

from livekit_operator.clients.livekit import LiveKit
from livekit_operator.servers.credentials import credentials_of
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.memory import Connection, Dialed, PodMemory, ServersMemory, close, forget, see, set_back
from tests.fakes import manifests
from tests.fakes.clock import Clock
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

VOICE, VIDEO = (NAMESPACE, "voice"), (NAMESPACE, "video")
KEYS = ServerKeys("key", "secret", "ws://a", "")
NOW = Clock().now
AHEAD, BEFORE = NOW + timedelta(hours=9), NOW - timedelta(seconds=3)


class Broken:
    """A client that cannot be closed."""

    async def close(self) -> None:
        raise OSError("it is gone")


def connected(client: object) -> Connection:
    return Connection(cast(LiveKit, client), KEYS, "ws://a")


@pytest.mark.parametrize("first", [FakeLiveKit, Broken], ids=["it closes", "it cannot be closed"])
async def test_what_was_opened_to_a_server_that_is_gone_is_closed(first: type[FakeLiveKit | Broken]) -> None:
    pod, other = FakeLiveKit(), FakeLiveKit()
    service = first()
    memory = ServersMemory(
        servers={VOICE: connected(service), VIDEO: connected(other)},
        server_pods={VOICE: {"uid": PodMemory(client=pod), "never asked": PodMemory()}},
        unheard={VOICE: {"lobby"}, VIDEO: {"lobby"}},
        lost_replica={VOICE, VIDEO},
    )
    await forget(memory, VOICE)
    assert (pod.closed, other.closed) == (1, 0)
    assert not isinstance(service, FakeLiveKit) or service.closed == 1
    assert (list(memory.servers), memory.server_pods) == ([VIDEO], {})
    assert (memory.unheard, memory.lost_replica) == ({VIDEO: {"lobby"}}, {VIDEO})
    await forget(memory, VOICE)  # again, without one that is known


async def test_a_term_that_ends_closes_every_connection_and_forgets_what_was_heard() -> None:
    clients = [FakeLiveKit() for _ in range(2)]
    memory = ServersMemory(
        servers={VOICE: connected(clients[0])},
        server_pods={VIDEO: {"uid": PodMemory(client=clients[1])}},
        unheard={(NAMESPACE, "heard of only"): {"lobby"}},
    )
    await close(memory)
    assert [client.closed for client in clients] == [1, 1]
    assert memory == ServersMemory(host_servers=memory.host_servers)


async def test_keys_are_known_without_a_pass_until_the_server_is_gone(world: World) -> None:
    await world.with_server()
    await forget(world.context, VOICE)
    assert credentials_of(world.context, VOICE) is not None, "a process that does not lead answers webhooks too"
    see(world.context, VOICE, None)
    assert (world.context.credentials, world.context.stored_keys) == ({}, {})


def test_ports_are_known_without_a_pass_until_the_server_is_gone() -> None:
    memory = ServersMemory()
    see(memory, VOICE, manifests.stored(manifests.server()))
    before = memory.host_servers.servers
    assert before._servers.keys() == {VOICE}
    see(memory, VOICE, None)
    assert before._servers == {}


def test_after_a_clock_was_set_back_no_moment_of_a_server_lies_ahead() -> None:
    def remembered(ahead: bool) -> tuple[PodMemory, Connection, ServersMemory]:
        moment = AHEAD if ahead else BEFORE
        pod = PodMemory(deserted_since=moment, withdrawn=moment, log_read=moment)
        connection = connected(FakeLiveKit())
        connection.missed = connection.answered = moment
        pods, dialed = {VOICE: {"uid": pod}}, {VOICE: Dialed("ws://a", moment)}
        return pod, connection, ServersMemory({VOICE: connection}, server_pods=pods, dialed=dialed)

    for ahead, expected in ((True, NOW), (False, BEFORE)):
        pod, connection, memory = remembered(ahead)
        set_back(memory, NOW)
        assert {pod.deserted_since, pod.withdrawn, pod.log_read} == {expected}
        assert {connection.missed, connection.answered, memory.dialed[VOICE].refused_since} == {expected}
