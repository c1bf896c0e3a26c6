"""The operator's endpoints over HTTP: metrics, readiness, and webhooks that are believed only when they are signed."""

import asyncio

import pytest
from livekit import api

from livekit_operator.servers.credentials import credentials_of
from livekit_operator.web.server import MOST_CONNECTIONS_OF_ONE, HttpServer
from livekit_operator.web.webhooks import MOST_BODIES_OF_ONE
from tests.fakes import manifests
from tests.fakes.manifests import API_KEY, API_SECRET, NAMESPACE
from tests.fakes.waiting import eventually, eventually_async
from tests.unit.operator.web.door import Door, joined, signature


class Connection:
    """A connection whose bytes a test writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, door: Door) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", int(door.url.rsplit(":", 1)[1])))

    async def begin(self, authorization: str, path: str = "team/voice") -> None:
        """Announce a body of 100 bytes, and send one."""
        self.writer.write(
            f"POST /webhooks/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            f"Authorization: {authorization}\r\n\r\nx".encode()
        )
        await self.writer.drain()

    async def status(self) -> int:
        return int((await asyncio.wait_for(self.reader.readline(), 10)).split()[1])

    async def closed(self) -> bool:
        """Return whether the other side has closed it without a word."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


async def test_no_body_is_read_of_what_no_known_server_has_signed(door: Door) -> None:
    guest = api.AccessToken(API_KEY, API_SECRET).with_identity("alice").to_jwt()
    for authorization, path in (("", "team/voice"), (guest, "team/voice"), (signature(), "team/unknown")):
        connection = await Connection.to(door)
        await connection.begin(authorization, path)
        assert await connection.status() == 401, "the answer does not wait for the body"
        connection.close()
    assert door.counted("refused") == 3


async def test_a_body_that_does_not_come_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livekit_operator.web.webhooks.BODY_SECONDS", 0.05)
    connection = await Connection.to(door)
    await connection.begin(signature())
    assert await connection.status() == 408
    connection.close()


async def test_a_sender_that_is_gone_is_no_error(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    connection = await Connection.to(door)
    await connection.begin(signature())
    connection.writer.transport.abort()
    await eventually(lambda: door.counted("refused") == 1)
    assert not caplog.records


async def test_so_many_bodies_of_a_server_are_read_at_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livekit_operator.web.webhooks._TURN_SECONDS", 0.05)
    slow = [await Connection.to(door) for _ in range(MOST_BODIES_OF_ONE)]
    for connection in slow:
        await connection.begin(signature())

    async def is_busy() -> bool:
        return await door.send(joined()) == 429

    await eventually_async(is_busy, "all turns to be taken", seconds=10, pause=0.01)
    assert door.counted("busy") >= 1
    door.world.kubernetes.put(manifests.server("other", keysSecretRef={"name": "my-keys"}))
    await eventually(lambda: credentials_of(door.runtime.context, (NAMESPACE, "other")), "the keys of another server")
    assert await door.send(joined(), path="team/other") == 200, "another server has its own"
    slow.pop().close()

    async def is_free() -> bool:
        return await door.send(joined()) == 200

    await eventually_async(is_free, "a turn to be free", seconds=10, pause=0.01)
    for connection in slow:
        connection.close()


async def test_so_many_connections_are_held(door: Door) -> None:
    held = [await Connection.to(door) for _ in range(MOST_CONNECTIONS_OF_ONE)]
    for connection in held:  # each was taken in before the next one comes
        connection.writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await connection.status() == 200
    more = await Connection.to(door)
    assert await more.closed()
    for connection in [*held, more]:
        connection.close()

    async def is_served() -> bool:
        again = await Connection.to(door)
        again.writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        served = not await again.closed()
        again.close()
        return served

    await eventually_async(is_served, "a connection to be served", seconds=10, pause=0.01)


async def test_others_are_served_while_one_address_has_too_many(door: Door) -> None:
    held = [await Connection.to(door) for _ in range(MOST_CONNECTIONS_OF_ONE + 10)]
    port = int(door.url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    other = Connection(reader, writer)
    other.writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await other.status() == 200
    for connection in [*held, other]:
        connection.close()


@pytest.mark.parametrize("sent", [b"", b"GET /readyz HTTP/1.1\r\nHost: "], ids=["nothing", "half a header"])
async def test_a_connection_without_a_request_is_closed(
    door: Door, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livekit_operator.web.server._IDLE_SECONDS", 0.05)
    http = HttpServer(door.runtime, door.runtime.context.metrics, 0, "127.0.0.1")
    await http.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(sent)
    assert await asyncio.wait_for(reader.read(1), 10) == b""
    writer.close()
    await http.stop()


async def test_a_long_header_is_refused(door: Door) -> None:
    assert await door.send_raw(b"", {"Authorization": "x" * 5000}) == 400
    assert await door.send_raw(b"", {f"X-{number}": "x" for number in range(40)}) == 400


async def test_the_largest_metadata_passes(door: Door) -> None:
    room = {"name": "support-42", "sid": door.sid, "metadata": '"' * 512 * 1024}
    assert await door.send({"event": "room_started", "room": room}) == 200


async def test_ready_while_every_part_runs(door: Door) -> None:
    async with door.session.get(f"{door.url}/readyz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    await door.runtime.stop()
    async with door.session.get(f"{door.url}/readyz") as response:
        assert response.status == 503
    await door.runtime.start()


async def test_metrics_are_prometheus_text(door: Door) -> None:
    await door.send(joined())
    async with door.session.get(f"{door.url}/metrics") as response:
        text = await response.text()
        assert response.headers["Content-Type"].startswith("text/plain")
    for line in (
        'livekit_operator_webhooks_total{result="accepted"} 1.0',
        'livekit_operator_resources{kind="MeetingRoom"} 1.0',
        'livekit_operator_queue_depth{kind="LiveKitServer"} 0.0',
        'livekit_operator_reconcile_total{kind="LiveKitServer",result="ok"}',
        "process_resident_memory_bytes",
    ):
        assert line in text
    assert API_SECRET not in text


async def test_a_port_that_is_taken_is_an_error(door: Door) -> None:
    port = int(door.url.rsplit(":", 1)[1])
    second = HttpServer(door.runtime, door.runtime.context.metrics, port, "127.0.0.1")
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await second.stop()


async def test_other_paths_are_not_found(door: Door) -> None:
    for path in ("/", "/webhooks", "/webhooks/team/voice/more"):
        async with door.session.get(f"{door.url}{path}") as response:
            assert response.status == 404
