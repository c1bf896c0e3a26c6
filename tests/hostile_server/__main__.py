"""Runs it: `python -m tests.hostile_server --port 0 --elsewhere http://…`; it prints its port.

A program of its own, so that what it costs is not the operator's. `PUT /mode/<mode>` changes what it does, `GET /asked`
tells how many of these requests it had since. With `ports`, as the operator has servers check a configuration, it
ends at once and finds nothing wrong.
"""

import argparse
import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

_BLOCK = b"\x12\xff\xff\x03" + b"x" * 65535


class Hostile:
    """The server; `elsewhere` is where it leads."""

    def __init__(self, elsewhere: str) -> None:
        self._elsewhere = elsewhere
        self._mode = "well"
        self._asked = 0
        # A gigabyte of zeroes in a megabyte: the same piece again and again, and so with a wrong sum at its end.
        packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        head = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
        piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
        self._bomb = head + piece * 1023 + packer.flush()

    async def is_well(self, _: web.Request) -> web.Response:
        """Answer probes."""
        return web.Response()

    async def change(self, request: web.Request) -> web.Response:
        """Do something else from now on."""
        self._mode, self._asked = request.match_info["mode"], 0
        return web.Response()

    async def tell(self, _: web.Request) -> web.Response:
        """Tell how many requests there were in this mode."""
        return web.json_response(self._asked)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a server's API."""
        await request.read()
        mode = self._mode
        lists = request.path.endswith("/ListRooms")
        self._asked += not (lists and mode.startswith("rooms-"))
        if mode == "well" or (lists and mode.startswith("rooms-")):
            return web.Response()  # no rooms, or a room of which nothing is said
        return await self._misbehave(request, mode.removeprefix("rooms-"))

    async def _misbehave(self, request: web.Request, mode: str) -> web.StreamResponse:
        if mode == "hang":
            await asyncio.sleep(3600)
        if mode == "bomb":
            return web.Response(body=self._bomb, headers={"Content-Encoding": "gzip"})
        if mode == "redirect":
            raise web.HTTPTemporaryRedirect(f"{self._elsewhere}{request.path}")
        if mode == "nonsense":
            return web.Response(body=b"\xff\x00\x80" * 1000)
        if mode == "errors":
            return web.Response(status=503, text='{"code": "unavailable", "msg": "' + "words\\n" * 100_000 + '"}')
        return await self._stream(request, mode)

    async def _stream(self, request: web.Request, mode: str) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        with suppress(ConnectionError):  # the operator has had enough
            async for block in _blocks(mode):
                await response.write(block)
        return response


async def _blocks(mode: str) -> AsyncIterator[bytes]:
    while True:
        if mode == "slow":
            await asyncio.sleep(1)
            yield b"\x0a\x02\x12\x00"
        yield b"\x0a\x00" * 32768 if mode == "entries" else _BLOCK


async def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--elsewhere", default="http://127.0.0.1:9")
    parser.add_argument("command", nargs="?")
    given = parser.parse_args()
    if given.command == "ports":
        print("TCP Ports")
        return
    hostile = Hostile(given.elsewhere)
    application = web.Application(client_max_size=1 << 22)
    application.add_routes(
        [
            web.get("/", hostile.is_well),
            web.put("/mode/{mode}", hostile.change),
            web.get("/asked", hostile.tell),
            web.post("/{path:.*}", hostile.answer),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    # One address: without it there are two sockets, of IPv4 and of IPv6, with a free port of its own each.
    await web.TCPSite(runner, "0.0.0.0", given.port).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
