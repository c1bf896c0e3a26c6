"""The operator's endpoints over HTTP: metrics, readiness, and webhooks that are believed only when they are signed."""

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from livekit import api

from livekit_operator.process.runtime import Runtime
from livekit_operator.settings import Settings
from livekit_operator.views import RoomSettings
from livekit_operator.web.server import MOST_CONNECTIONS_OF_ONE, HttpServer
from livekit_operator.web.webhooks import MOST_BODIES_OF_ONE
from tests.fakes import manifests
from tests.fakes.manifests import API_KEY, API_SECRET, NAMESPACE
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually, eventually_async
from tests.fakes.world import World

QUIET = Settings(agent_image="agent:1", server_poll_seconds=3600, pool_poll_seconds=3600)


@dataclass
class Door:
    """A running operator with one server and one room, seen from outside."""

    world: World
    runtime: Runtime
    session: aiohttp.ClientSession
    url: str

    async def send(
        self,
        event: dict[str, Any],
        *,
        key: str = API_KEY,
        secret: str = API_SECRET,
        signed: bytes | None = None,
        path: str = "team/voice",
        headers: dict[str, str] | None = None,
    ) -> int:
        """Send a webhook as livekit-server does; return the HTTP status."""
        body = json.dumps(event).encode()
        digest = base64.b64encode(hashlib.sha256(body if signed is None else signed).digest()).decode()
        token = api.AccessToken(key, secret).with_sha256(digest).to_jwt()
        return await self.send_raw(body, {"Authorization": token, **(headers or {})}, path)

    async def send_raw(self, body: bytes, headers: dict[str, str], path: str = "team/voice") -> int:
        """Send bytes."""
        all_headers = {"Content-Type": "application/webhook+json", **headers}
        url, data = f"{self.url}/webhooks/{path}", io.BytesIO(body)
        async with self.session.post(url, data=data, headers=all_headers) as response:
            return response.status

    def counted(self, result: str) -> float:
        """Return how many webhooks came to this result."""
        value = self.runtime.context.metrics.registry.get_sample_value
        return value("livekit_operator_webhooks_total", {"result": result}) or 0.0

    @property
    def sid(self) -> str:
        """Return the room's id on the server."""
        return self.world.livekit.rooms["support-42"].sid


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    world = World()
    kubernetes = world.kubernetes
    async with running(kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        kubernetes.put(manifests.keys_secret())
        kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
        await eventually(lambda: kubernetes.peek("Pod", NAMESPACE, "voice-livekit-0"))
        world.run_server()
        kubernetes.put(manifests.room())
        await eventually(lambda: "support-42" in world.livekit.rooms)
        http = HttpServer(runtime, runtime.context.metrics, 0, "127.0.0.1")
        await http.start()
        async with aiohttp.ClientSession() as session:
            yield Door(world, runtime, session, f"http://127.0.0.1:{http.port}")
        await http.stop()


def joined(room: str = "support-42") -> dict[str, Any]:
    return {"event": "participant_joined", "room": {"name": room}, "participant": {"identity": "alice"}}


async def test_a_signed_webhook_has_the_room_looked_at(door: Door) -> None:
    door.world.livekit.join("support-42", "alice")
    assert await door.send(joined()) == 200
    assert door.counted("accepted") == 1

    def participants() -> int:
        return int(door.world.get("MeetingRoom", "support-42")["status"].get("participants", 0))

    await eventually(lambda: participants() == 1, "the caller in the status")


async def test_a_server_that_waits_for_its_rooms_is_looked_at_when_somebody_leaves(door: Door) -> None:
    left = {**joined(), "event": "participant_left"}
    woken: list[tuple[str, tuple[str, str]]] = []
    door.runtime.context.wake = lambda kind, key: woken.append((kind, key))
    assert await door.send(left) == 200
    assert ("LiveKitServer", (NAMESPACE, "voice")) not in woken, "nothing waits"
    door.world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "warn"}}})
    rolling = ("True", "RollingOut")
    await eventually(lambda: door.world.condition("LiveKitServer", "voice", "Progressing") == rolling, "a rollout")
    assert await door.send(joined()) == 200
    assert ("LiveKitServer", (NAMESPACE, "voice")) not in woken, "who comes changes nothing"
    assert await door.send(left) == 200
    assert ("LiveKitServer", (NAMESPACE, "voice")) in woken


async def test_a_bearer_prefix_and_an_unknown_field_are_fine(door: Door) -> None:
    body = json.dumps({**joined(), "fromTheFuture": {"a": 1}}).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    token = api.AccessToken(API_KEY, API_SECRET).with_sha256(digest).to_jwt()
    assert await door.send_raw(body, {"Authorization": f"Bearer {token}"}) == 200


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"secret": "another-secret-of-thirty-two-characters"}, id="another secret"),
        pytest.param({"key": "APIother"}, id="another key"),
        pytest.param({"signed": b"another body"}, id="another body"),
        pytest.param({"path": "team/unknown"}, id="unknown server"),
        pytest.param({"path": "guests/voice"}, id="unknown namespace"),
        pytest.param({"headers": {"Authorization": ""}}, id="no signature"),
        pytest.param({"headers": {"Authorization": "Bearer x.y.z"}}, id="no token"),
    ],
)
async def test_a_webhook_that_is_not_the_servers_is_refused(door: Door, how: dict[str, Any]) -> None:
    asked = len(door.world.livekit.requests)
    finished = {"event": "room_finished", "room": {"name": "support-42", "sid": door.sid}}
    assert await door.send(finished, **how) == 401
    assert (door.counted("refused"), door.counted("accepted")) == (1, 0)
    access = door.runtime.context.servers[NAMESPACE, "voice"]
    assert access.rooms.get("support-42") is not None
    assert len(door.world.livekit.requests) == asked


async def test_a_guests_token_is_no_signature(door: Door) -> None:
    """It is signed with the same key, but says nothing of a body."""
    token = api.AccessToken(API_KEY, API_SECRET).with_identity("alice").to_jwt()
    assert await door.send_raw(json.dumps(joined()).encode(), {"Authorization": token}) == 401


@pytest.mark.parametrize("body", [b"", b"not json", b"7", b"\xff\xfe", b"null"])
async def test_a_signed_body_that_is_no_event_is_refused(door: Door, body: bytes) -> None:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    token = api.AccessToken(API_KEY, API_SECRET).with_sha256(digest).to_jwt()
    assert await door.send_raw(body, {"Authorization": token}) == 401


async def test_bytes_that_are_no_text_are_refused_and_not_an_error(door: Door) -> None:
    headers = {"Authorization": "x", "Content-Type": "application/json; charset=nonsense"}
    assert await door.send_raw(b"\xff\xfe\xff", headers) == 401


def signature(body: bytes = b"") -> str:
    """Return what livekit-server would send as the authorization of a body."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return api.AccessToken(API_KEY, API_SECRET).with_sha256(digest).to_jwt()


async def test_a_body_too_large_is_refused(door: Door) -> None:
    body = b"x" * (2 * 1024 * 1024 + 1)
    assert await door.send_raw(body, {"Authorization": signature(body)}) == 413
    assert door.counted("refused") == 1


async def test_a_body_too_large_that_does_not_say_so_is_refused(door: Door) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    headers = {"Authorization": signature()}
    url = f"{door.url}/webhooks/team/voice"
    async with door.session.post(url, data=endless(), headers=headers) as response:
        assert response.status == 413


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
    door.runtime.context.servers["team", "other"] = door.runtime.context.servers["team", "voice"]
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


async def test_the_end_of_the_room_makes_it_anew(door: Door) -> None:
    sid = door.sid
    door.world.livekit.close_room("support-42")
    assert await door.send({"event": "room_finished", "room": {"name": "support-42", "sid": sid}}) == 200
    await eventually(lambda: "support-42" in door.world.livekit.rooms, "the room made anew")
    assert door.sid != sid


async def test_the_end_of_an_older_room_of_that_name_changes_nothing(door: Door) -> None:
    access = door.runtime.context.servers[NAMESPACE, "voice"]
    assert await door.send({"event": "room_finished", "room": {"name": "support-42", "sid": "RM_older"}}) == 200
    known = access.rooms.get("support-42")
    assert known is not None
    assert known.sid == door.sid
    assert door.world.livekit.asked("create_room") == 1


@pytest.mark.parametrize("event", [{"event": "egress_ended"}, {"event": "room_started", "room": {"name": "unknown"}}])
async def test_an_event_of_no_room_of_ours_is_accepted(door: Door, event: dict[str, Any]) -> None:
    assert await door.send(event) == 200


async def test_a_room_that_a_pool_serves_for_its_name_is_looked_at_before_it_is_listed(door: Door) -> None:
    world = door.world
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(roomPrefix="voice-"))
    await eventually(lambda: world.agent_pods(), "the pool's pod")
    world.run_pods()
    await eventually(lambda: world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready"), "the pool to be ready")
    for name in ("voice-1", "unknown"):
        world.livekit.start_room(RoomSettings(name, 0, 300, 20, ""))
        world.livekit.join(name, "alice")
        assert await door.send(joined(name)) == 200
    await eventually(lambda: world.livekit.dispatched("voice-1") == ["front-desk"], "the agent to be asked for")
    world.livekit.close_room("voice-1")
    access = door.runtime.context.servers[NAMESPACE, "voice"]
    finished = {"event": "room_finished", "room": {"name": "voice-1", "sid": joined()["room"].get("sid", "")}}
    assert await door.send(finished) == 200
    await eventually(lambda: access.rooms.get("voice-1") is None, "the room to be forgotten")
    assert world.livekit.dispatched("unknown") == []


async def test_webhooks_of_rooms_that_nobody_knows_fill_no_memory(door: Door) -> None:
    world = door.world
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(roomPrefix="voice-"))
    access = door.runtime.context.servers[NAMESPACE, "voice"]
    await eventually(lambda: door.runtime.context.users.with_prefix((NAMESPACE, "voice")), "the prefix to be known")
    known = len(access.rooms)
    assert await door.send(joined("voice-" + "x" * 5000)) == 200, "a name that no room has"
    for n in range(5):
        assert await door.send({**joined(f"voice-{n}"), "event": "participant_left"}) == 200
    assert len(access.rooms) == known
    assert not {name for name in access.rooms.dirty if name.startswith("voice-")}


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
