"""A STUN server: livekit-server asks one for its address before it even prints its ports.

with stun_server("203.0.113.9") as server:     one on loopback that tells everybody this address
python -m tests.harness.stun 3478              one that tells everybody their own, until its input ends

Source: RFC 8489, sections 5, 6.3.1 and 14.2
"""

import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

_BINDING_REQUEST, _BINDING_SUCCESS = 0x0001, 0x0101
_MAGIC_COOKIE = 0x2112A442
_XOR_MAPPED_ADDRESS, _IPV4 = 0x0020, 0x01
_HEADER = struct.Struct("!HHI12s")


@contextmanager
def stun_server(address: str) -> Iterator[str]:
    """Run a STUN server that tells everybody this address; give its own, as `host:port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(listening, IPv4Address(address)), daemon=True)
        thread.start()
        host, port = listening.getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            # Closing alone would leave the thread waiting.
            listening.sendto(b"", (host, port))
            thread.join()


def _serve(listening: socket.socket, told: IPv4Address | None) -> None:
    """Answer until an empty packet comes; None tells everybody the address they come from."""
    while True:
        request, sender = listening.recvfrom(2048)
        if not request:
            return
        if len(request) < _HEADER.size:
            continue
        kind, _, cookie, transaction = _HEADER.unpack_from(request)
        if (kind, cookie) == (_BINDING_REQUEST, _MAGIC_COOKIE):
            address = int(told or IPv4Address(sender[0])) ^ _MAGIC_COOKIE
            mapped = struct.pack("!xBHI", _IPV4, sender[1] ^ (_MAGIC_COOKIE >> 16), address)
            attribute = struct.pack("!HH", _XOR_MAPPED_ADDRESS, len(mapped)) + mapped
            listening.sendto(_HEADER.pack(_BINDING_SUCCESS, len(attribute), cookie, transaction) + attribute, sender)


def main() -> None:
    """Serve on every address until standard input ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("0.0.0.0", int(sys.argv[1])))
        threading.Thread(target=_serve, args=(listening, None), daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
