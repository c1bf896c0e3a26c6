"""The rooms of a server: listings never undo what was learned while they were on their way."""

from dataclasses import replace

import pytest

from livekit_operator.servers.room_listing import RoomListing
from livekit_operator.views import RoomSettings, RoomView


def room(name: str, participants: int = 0, sid: str = "RM_1") -> RoomView:
    return RoomView(sid, RoomSettings(name, 10, 300, 20, ""), participants)


def listed(*rooms: RoomView) -> RoomListing:
    listing = RoomListing()
    listing.start_listing()
    listing.finish_listing(rooms)
    listing.dirty.clear()
    return listing


def test_the_first_listing_concerns_everybody() -> None:
    listing = RoomListing()
    assert [listing.listed] == [False]
    listing.start_listing()
    assert listing.finish_listing([room("a")]) is None
    assert (listing.listed, len(listing)) == (True, 1)


def test_at_first_only_rooms_with_somebody_in_them_are_worth_a_look() -> None:
    listing = RoomListing()
    listing.start_listing()
    listing.finish_listing([room("empty"), room("busy", 2)])
    assert listing.dirty == {"busy"}


def test_a_later_listing_names_what_changed() -> None:
    listing = listed(room("same"), room("busier"), room("gone"), room("again"))
    listing.start_listing()
    now = [room("same"), room("busier", 2), room("again", sid="RM_2"), room("new")]
    assert listing.finish_listing(now) == {"busier", "gone", "again", "new"}
    assert listing.dirty == {"busier", "again", "new"}
    assert listing.get("gone") is None


def test_what_was_made_or_ended_meanwhile_is_newer_than_the_listing() -> None:
    listing = listed(room("ended"))
    listing.start_listing()
    listing.put(room("made"))
    listing.remove("ended")
    assert listing.finish_listing([room("ended")]) == set()
    assert listing.get("made") == room("made")
    assert listing.get("ended") is None


def test_what_was_made_before_the_listing_began_is_gone_when_it_is_not_listed() -> None:
    listing = listed()
    listing.put(room("made"))
    listing.start_listing()
    assert listing.finish_listing([]) == {"made"}
    assert listing.get("made") is None


def test_forgetting_makes_the_next_listing_the_first() -> None:
    listing = listed(room("a"))
    listing.forget()
    assert not listing.listed
    assert listing.get("a") is None
    listing.start_listing()
    assert listing.finish_listing([replace(room("a"))]) is None


def test_a_room_that_the_server_has_and_does_not_list_is_known_for_a_while() -> None:
    listing = listed()
    listing.put_unlisted(room("a"))
    looks = 0
    while listing.get("a"):
        listing.start_listing()
        changed = listing.finish_listing([])
        looks += 1
        assert changed == (set() if listing.get("a") else {"a"})
    assert looks == 13
    assert not listing.is_unlisted("a")


@pytest.mark.parametrize("event", ["listed", "removed", "forgotten"])
def test_a_room_is_unlisted_no_longer_once_it_is_listed_or_gone(event: str) -> None:
    listing = listed()
    listing.put_unlisted(room("a"))
    if event == "removed":
        listing.remove("a")
    elif event == "forgotten":
        listing.forget()
    listing.start_listing()
    listing.finish_listing([room("a", 1)] if event == "listed" else [])
    assert not listing.is_unlisted("a")
    assert listing.get("a") == (room("a", 1) if event == "listed" else None)
    listing.start_listing()
    listing.finish_listing([])
    assert listing.get("a") is None
