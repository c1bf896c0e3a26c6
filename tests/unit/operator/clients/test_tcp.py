"""What is known of an address without speaking to it."""

import asyncio
import socket

from livekit_operator.clients.tcp import refuses


async def test_a_port_that_takes_connections_does_not_refuse() -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await refuses("127.0.0.1", port)


async def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can have it meanwhile
        assert await refuses("127.0.0.1", held.getsockname()[1])


async def test_a_name_that_leads_nowhere_does_not_refuse() -> None:
    assert not await refuses("nowhere.invalid", 80)


async def test_whoever_says_nothing_does_not_refuse() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:  # the queue is full, and more are dropped without a word
                one.setblocking(False)
                one.connect_ex(address)
            assert not await refuses(*address)
        finally:
            for one in waiting:
                one.close()
