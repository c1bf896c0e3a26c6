"""The LiveKit server's own word on its rooms, for checking what the operator says."""

from livekit import api


class Rooms:
    """Asks one server."""

    def __init__(self, url: str, api_key: str, api_secret: str) -> None:
        self._arguments = (url, api_key, api_secret)

    async def names(self) -> list[str]:
        """Return the names of all rooms, doubles included."""
        async with api.LiveKitAPI(*self._arguments) as client:
            answer = await client.room.list_rooms(api.ListRoomsRequest())
        return sorted(room.name for room in answer.rooms)
