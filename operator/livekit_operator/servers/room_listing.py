"""The rooms of one server, from its listings, our own writes and webhooks."""

from collections.abc import Iterable
from datetime import datetime

from livekit_operator.moments import all_no_later
from livekit_operator.views import RoomView

# A room that a server has though it is not listed is asked for again after so many listings: nothing reports its end.
_UNLISTED_LISTINGS = 12


class RoomListing:
    """The rooms of one server: a listing every few seconds, kept fresh by our own writes and by webhooks."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomView] = {}
        self._touched: set[str] = set()
        self.listed = False
        self._lonely_since: dict[str, datetime] = {}
        self._unlisted: dict[str, int] = {}
        self.dirty: set[str] = set()
        """Names of rooms where somebody joined or left: their participants must be listed again."""
        self.unverified: set[str] = set()
        """Names of rooms that may be listed though their server is lost."""
        self._closed: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> RoomView | None:
        """Return a room, None when the server has none of that name."""
        return self._rooms.get(name)

    def listing_seconds(self, least: float) -> float:
        """Return how long to wait for the next listing: a second for each thousand rooms, which take 2 % of it."""
        return max(least, len(self) / 1000)

    def start_listing(self) -> None:
        """Begin a listing: what is put from now on is newer than what it returns."""
        self._touched.clear()

    def finish_listing(self, rooms: Iterable[RoomView]) -> set[str] | None:
        """Store a listing; return the names of rooms that changed, None after the first one: all may have."""
        listed = {room.name: room for room in rooms}
        self._unlisted = {name: left - 1 for name, left in self._unlisted.items() if left and name not in listed}
        for name in self._touched:
            listed.pop(name, None)
        for name in (*self._touched, *self._unlisted):
            if name in self._rooms:
                listed[name] = self._rooms[name]
        known = self._rooms
        changed = {name for name, room in listed.items() if room is not known.get(name) and room != known.get(name)}
        changed |= known.keys() - listed.keys()
        self._rooms = listed
        # After a start everything is new, and an empty room needs no second pass.
        news = changed if self.listed else {name for name, room in listed.items() if room.participants}
        self.dirty = (self.dirty | news) & listed.keys()
        self.unverified &= listed.keys()
        self._lonely_since = {name: since for name, since in self._lonely_since.items() if name in listed}
        first, self.listed = not self.listed, True
        return None if first else changed

    def mark_unverified(self) -> None:
        """Mark every room as unverified: a server is lost, and Redis still lists its rooms."""
        self.unverified = set(self._rooms)

    def put(self, room: RoomView) -> None:
        """Remember what the server just said of a room."""
        self._rooms[room.name] = room
        self._closed.pop(room.name, None)
        self.unverified.discard(room.name)
        self._touched.add(room.name)

    def put_unlisted(self, room: RoomView) -> None:
        """Remember a room that the server has, but that its Redis has forgotten: listings do not tell of it."""
        self.put(room)
        self._unlisted[room.name] = _UNLISTED_LISTINGS

    def is_unlisted(self, name: str) -> bool:
        """Return whether Redis has forgotten a room, and so who is in it."""
        return name in self._unlisted

    def remove(self, name: str) -> None:
        """Remember that a room is gone."""
        self._rooms.pop(name, None)
        self._unlisted.pop(name, None)
        self._closed.pop(name, None)
        self._touched.add(name)

    def close(self, name: str, sid: str) -> None:
        """Remember that the server said that it has closed this very room."""
        self.remove(name)
        self._closed[name] = sid

    def is_closed(self, name: str, sid: str) -> bool:
        """Return whether the server said that it has closed this very room: others may be forgotten by its Redis."""
        return self._closed.get(name) == sid

    def set_back(self, now: datetime) -> None:
        """Have no moment lie ahead: the clock was, and was set back to now."""
        self._lonely_since = all_no_later(self._lonely_since, now)

    def lonely_seconds(self, name: str, *, people: int, now: datetime) -> float:
        """Return since when, in seconds, no person was seen in a room in any listing, this one included."""
        if people:
            self._lonely_since.pop(name, None)
            return 0.0
        return (now - self._lonely_since.setdefault(name, now)).total_seconds()

    def forget(self) -> None:
        """Forget everything but what is unverified, which is about the next listing: the server does not answer."""
        self._rooms.clear()
        self._touched.clear()
        self._unlisted.clear()
        self._closed.clear()
        self.dirty.clear()
        self.listed = False
