"""The LiveKit server's own word on its rooms, for checking what the operator says."""

from livekit import api


class Rooms:
    """Asks one server."""

    def __init__(self, url: str, api_key: str, api_secret: str) -> None:
        self._arguments = (url, api_key, api_secret)

    async def names(self) -> list[str]:
        """Return the names of all rooms, doubles included."""
        return sorted(name for name, _ in await self.listed())

    async def made(self, name: str) -> str:
        """Return the id of a room, which is made if the server has none of that name."""
        async with api.LiveKitAPI(*self._arguments) as client:
            return (await client.room.create_room(api.CreateRoomRequest(name=name))).sid

    async def listed(self) -> list[tuple[str, str]]:
        """Return name and id of each room, doubles included."""
        async with api.LiveKitAPI(*self._arguments) as client:
            answer = await client.room.list_rooms(api.ListRoomsRequest())
        return [(room.name, room.sid) for room in answer.rooms]
