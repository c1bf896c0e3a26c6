"""Rooms that a server has and its Redis has forgotten: the server says not_found to whoever asks to change them."""

from livekit_operator.errors import RoomUnanswered, RoomUnplaced
from livekit_operator.servers.memory import ServerAccess


async def delete_room(access: ServerAccess, name: str, sid: str | None) -> bool:
    """Delete the room with this id, None for one that was never seen; return whether the server has let go of it.

    One request where Redis knows it, or nobody has ever seen it, or it is known to be closed.
    """
    try:
        known = await access.client.delete_room(name)
    except RoomUnplaced:
        pass
    else:
        if known or not access.shared or not sid or access.rooms.is_closed(name, sid):
            return True
        if not await _lives(access, name):
            return True
    return await access.client.delete_forgotten(name, sid or "")


async def _lives(access: ServerAccess, name: str) -> bool:
    """Return whether any node has a room: requests for its dispatches go to it and pass Redis by."""
    try:
        await access.client.list_dispatches(name)
    except RoomUnanswered:
        return False
    return True
