"""TURN as clients meet it: the servers they are told of, and what these servers do for them.

The client SDK trusts public authorities only and tells little of its relays. This asks the server itself:

    (server,) = await ice_servers(url, token)
    allocation = await allocate(server, "10.89.0.11", 5349, transport="tls", ca=ca_pem, peers=["10.89.0.11"])
    assert allocation.permitted == {"10.89.0.11": True}

Messages are those of RFC 8489 (STUN) and RFC 8656 (TURN), over UDP, TCP or TLS.
"""

import asyncio
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal

import aiohttp
from livekit.protocol.rtc import SignalResponse

Transport = Literal["udp", "tcp", "tls"]

_SECONDS = 5.0
_PROTOCOL = 16  # of the signalling; any that servers of today know
_COOKIE = 0x2112A442
_HEADER = struct.Struct("!HHI12s")
_ALLOCATE, _REFRESH, _CREATE_PERMISSION = 0x0003, 0x0004, 0x0008
_SUCCESS, _ERROR = 0x0100, 0x0110
_USERNAME, _INTEGRITY, _ERROR_CODE, _LIFETIME, _PEER = 0x0006, 0x0008, 0x0009, 0x000D, 0x0012
_REALM, _NONCE, _RELAYED, _REQUESTED_TRANSPORT = 0x0014, 0x0015, 0x0016, 0x0019
_UNAUTHORIZED = 401
_UDP = 17


class TurnError(Exception):
    """The server did not do what it was asked for; `code` is its own, 0 when there is none."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class IceServer:
    """What a participant is told: URLs, and credentials where they are needed."""

    urls: tuple[str, ...]
    username: str = ""
    credential: str = field(default="", repr=False)


@dataclass(frozen=True)
class Allocation:
    """What a TURN server gave, and whether it lets packets through to each of the peers asked for."""

    relayed_address: str
    relayed_port: int
    permitted: Mapping[str, bool]


async def ice_servers(url: str, token: str, *, trust: ssl.SSLContext | None = None) -> tuple[IceServer, ...]:
    """Join as a client does, and return the servers named in the answer; raises TurnError when there is none.

    With `wss://` only certificates that `trust` knows are taken, public authorities' when it is None.
    """
    address = f"{url.replace('ws', 'http', 1)}/rtc"
    async with aiohttp.ClientSession() as session:
        # Not in the URL, where the SDK has it: URLs are logged.
        headers = {"Authorization": f"Bearer {token}"}
        parameters = {"protocol": str(_PROTOCOL), "auto_subscribe": "0"}
        async with session.ws_connect(address, headers=headers, params=parameters, ssl=trust or True) as connection:
            message = await connection.receive_bytes(timeout=_SECONDS)
    answer = SignalResponse.FromString(message)
    if not answer.HasField("join"):
        raise TurnError(f"the server answered with {answer.WhichOneof('message')}, not with join")
    return tuple(IceServer(tuple(one.urls), one.username, one.credential) for one in answer.join.ice_servers)


async def allocate(
    server: IceServer,
    host: str,
    port: int,
    *,
    transport: Transport = "udp",
    ca: str | None = None,
    server_name: str | None = None,
    peers: Sequence[str] = (),
) -> Allocation:
    """Ask for a relay at an address, and for leave to reach some peers; what was given is given back.

    With "tls" the certificate must be signed by `ca` (PEM) and be for `server_name`. Raises TurnError, OSError or
    ssl.SSLError.
    """

    def ask() -> Allocation:
        with _connected(host, port, transport, ca, server_name or host) as connection:
            return _Client(connection, server, stream=transport != "udp").allocate(peers)

    return await asyncio.to_thread(ask)


def _connected(host: str, port: int, transport: Transport, ca: str | None, server_name: str) -> socket.socket:
    if transport == "udp":
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.settimeout(_SECONDS)
        plain.connect((host, port))
        return plain
    plain = socket.create_connection((host, port), timeout=_SECONDS)
    if transport == "tcp":
        return plain
    try:
        return ssl.create_default_context(cadata=ca).wrap_socket(plain, server_hostname=server_name)
    except BaseException:
        plain.close()
        raise


class _Client:
    """One connection with the long-term credentials of TURN."""

    def __init__(self, connection: socket.socket, server: IceServer, *, stream: bool) -> None:
        self._connection = connection
        self._server = server
        self._stream = stream
        self._credentials: tuple[bytes, bytes] | None = None  # realm, nonce

    def allocate(self, peers: Sequence[str]) -> Allocation:
        wanted = attribute(_REQUESTED_TRANSPORT, bytes([_UDP, 0, 0, 0]))
        try:
            answer = self._ask(_ALLOCATE, wanted)
        except TurnError as error:
            if error.code != _UNAUTHORIZED or self._credentials is None:
                raise
            answer = self._ask(_ALLOCATE, wanted)
        try:
            permitted = {peer: self._permits(peer) for peer in peers}
        finally:
            self._ask(_REFRESH, attribute(_LIFETIME, bytes(4)))
        address, port = from_xored(answer[_RELAYED])
        return Allocation(address, port, permitted)

    def _permits(self, peer: str) -> bool:
        try:
            self._ask(_CREATE_PERMISSION, attribute(_PEER, to_xored(peer, 9)))
        except TurnError as error:
            if error.code != 403:
                raise
            return False
        return True

    def _ask(self, method: int, attributes: bytes) -> dict[int, bytes]:
        transaction = secrets.token_bytes(12)
        self._connection.sendall(self._request(method, transaction, attributes))
        kind, answered, answer = self._answer()
        while answered != transaction:
            kind, answered, answer = self._answer()
        if _NONCE in answer and _REALM in answer:
            self._credentials = answer[_REALM], answer[_NONCE]
        if kind == method | _SUCCESS:
            return answer
        code, reason = _error(answer.get(_ERROR_CODE, bytes(4)))
        raise TurnError(f"the TURN server answered {code} {reason}", code)

    def _request(self, method: int, transaction: bytes, attributes: bytes) -> bytes:
        if self._credentials is None:
            return _HEADER.pack(method, len(attributes), _COOKIE, transaction) + attributes
        realm, nonce = self._credentials
        username = self._server.username.encode()
        attributes += attribute(_USERNAME, username) + attribute(_REALM, realm) + attribute(_NONCE, nonce)
        # RFC 8489, 9.2.2 and 14.5: the length in the header counts the integrity that follows.
        key = hashlib.md5(b":".join((username, realm, self._server.credential.encode()))).digest()  # noqa: S324
        head = _HEADER.pack(method, len(attributes) + 24, _COOKIE, transaction) + attributes
        return head + attribute(_INTEGRITY, hmac.digest(key, head, "sha1"))

    def _answer(self) -> tuple[int, bytes, dict[int, bytes]]:
        if self._stream:
            head = self._exactly(_HEADER.size)
            body = self._exactly(_HEADER.unpack(head)[1])
        else:
            packet = self._connection.recv(1 << 16)
            head, body = packet[: _HEADER.size], packet[_HEADER.size :]
        kind, _, _, transaction = _HEADER.unpack(head)
        return kind, transaction, attributes_of(body)

    def _exactly(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            piece = self._connection.recv(length - len(found))
            if not piece:
                raise TurnError("the TURN server ended the connection")
            found += piece
        return found


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute as it is sent, filled up to four bytes."""
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def attributes_of(body: bytes) -> dict[int, bytes]:
    """Return the attributes of a message's body; the first counts where one is there twice."""
    found: dict[int, bytes] = {}
    while body:
        kind, length = struct.unpack_from("!HH", body)
        found.setdefault(kind, body[4 : 4 + length])
        body = body[4 + length + -length % 4 :]
    return found


def _error(value: bytes) -> tuple[int, str]:
    return value[2] * 100 + value[3], value[4:].decode(errors="replace")


def to_xored(address: str, port: int) -> bytes:
    """Return an IPv4 address and a port as they are sent."""
    return struct.pack("!BBHI", 0, 1, port ^ _COOKIE >> 16, int(IPv4Address(address)) ^ _COOKIE)


def from_xored(value: bytes) -> tuple[str, int]:
    """Return the IPv4 address and the port in an attribute's value."""
    _, _, port, address = struct.unpack("!BBHI", value[:8])
    return str(IPv4Address(address ^ _COOKIE)), port ^ _COOKIE >> 16
