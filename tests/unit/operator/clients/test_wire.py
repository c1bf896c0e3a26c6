"""A listing taken apart as it arrives is what protobuf makes of the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import api

from livekit_operator.clients.wire import Entries

_ROOMS = st.lists(st.builds(api.Room, name=st.text(max_size=300), num_participants=st.integers(0, 2**32 - 1)))


def taken_apart(chunks: list[bytes], most: int = 10_000) -> list[bytes]:
    entries = Entries(most)
    found = [raw for chunk in chunks for raw in entries.feed(chunk)]
    entries.end()
    return found


@given(_ROOMS, st.integers(1, 64))
def test_however_it_is_cut(rooms: list[api.Room], length: int) -> None:
    whole = api.ListRoomsResponse(rooms=rooms).SerializeToString()
    chunks = [whole[at : at + length] for at in range(0, len(whole), length)]
    assert [api.Room.FromString(raw) for raw in taken_apart(chunks)] == rooms


def test_fields_that_are_new_are_passed_over() -> None:
    others = b"\x10\x96\x01" + b"\x19" + b"8bytes.." + b"\x22\x03abc" + b"\x2d" + b"4by."
    assert taken_apart([others + b"\x0a\x02hi" + others]) == [b"hi"]


@pytest.mark.parametrize("data", [b"\x0a\x05hi", b"\x0a", b"\xff" * 20, b"\x03", b"\x00", b"\x0a\xff\xff\x7f", b"\x0b"])
def test_what_is_no_listing_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        taken_apart([data])


@given(st.binary(max_size=50))
def test_nothing_else_happens(data: bytes) -> None:
    try:
        found = taken_apart([data], most=20)
    except ValueError:
        return
    assert all(len(raw) <= 20 for raw in found)
