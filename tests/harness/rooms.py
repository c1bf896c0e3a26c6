"""The LiveKit server's own word on its rooms, for checking what the operator says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from livekit import api

from tests.harness.kubectl import CommandError

_MADE_AT_ONCE = 8


class Rooms:
    """Asks one server; raises CommandError while it does not answer."""

    def __init__(self, url: str, api_key: str, api_secret: str) -> None:
        self._arguments = (url, api_key, api_secret)

    async def names(self) -> list[str]:
        """Return the names of all rooms, doubles included."""
        return sorted(name for name, _ in await self.listed())

    async def made(self, *names: str) -> list[tuple[str, str]]:
        """Return name and id of these rooms, each of which is made if the server has none of that name."""
        turns = asyncio.Semaphore(_MADE_AT_ONCE)
        async with self._server() as server:

            async def make(name: str) -> tuple[str, str]:
                async with turns:
                    return name, (await server.room.create_room(api.CreateRoomRequest(name=name))).sid

            return list(await asyncio.gather(*map(make, names)))

    async def listed(self) -> list[tuple[str, str]]:
        """Return name and id of each room, doubles included."""
        async with self._server() as server:
            answer = await server.room.list_rooms(api.ListRoomsRequest())
        return [(room.name, room.sid) for room in answer.rooms]

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[api.LiveKitAPI]:
        async with api.LiveKitAPI(*self._arguments) as client:
            try:
                yield client
            except (aiohttp.ClientError, TimeoutError, api.ServerError) as error:
                raise CommandError(f"the server does not answer: {error}") from error
