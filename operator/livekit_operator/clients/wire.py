"""A protobuf message of repeated messages, taken apart as it arrives (https://protobuf.dev/programming-guides/encoding).

A listing of a million empty messages has two megabytes, and a gigabyte once it is parsed: so it is never parsed whole.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_ENTRY = 1  # the field that holds the entries, of every listing that LiveKit has
_MOST_VARINT_BYTES = 10
# A listing has one or two beside its entries, such as where its next page begins.
_MOST_OTHERS = 100


class Entries:
    """The entries of a listing, each at most `most` bytes; other fields are passed over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._others = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the entries that are whole by now; raises ValueError for what is no protobuf, or too long."""
        data, at = self._rest + chunk, 0
        while (field := _field(data, at, self._most)) is not None:
            number, start, end = field
            if end > len(data):
                break
            if number == _ENTRY and start >= 0:
                yield data[start:end]
            else:
                self._others += 1
                if self._others > _MOST_OTHERS:
                    raise ValueError("it has fields without number")
            at = end
        self._rest = data[at:]

    def end(self) -> None:
        """Say that nothing more comes; raises ValueError when an entry is not whole."""
        if self._rest:
            raise ValueError("it breaks off")


def _field(data: bytes, at: int, most: int) -> tuple[int, int, int] | None:
    """Return number, start and end of the field there, start -1 when it holds no message; None when more must come."""
    if (tag := _varint(data, at)) is None:
        return None
    number, kind = tag[0] >> 3, tag[0] & 7
    if not number:
        raise ValueError("no field has the number 0")
    if kind == _VARINT:
        value = _varint(data, tag[1])
        return (number, -1, value[1]) if value else None
    if kind in _FIXED:
        return number, -1, tag[1] + _FIXED[kind]
    if kind != _LENGTH:
        raise ValueError(f"no field is of kind {kind}")
    if (length := _varint(data, tag[1])) is None:
        return None
    if length[0] > most:
        raise ValueError(f"an entry of {length[0]} bytes")
    return number, length[1], length[1] + length[0]


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    """Return the number there and where it ends, None when more must come; raises ValueError when it never ends."""
    value = shift = 0
    for place in range(at, min(at + _MOST_VARINT_BYTES, len(data))):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    if len(data) - at >= _MOST_VARINT_BYTES:
        raise ValueError("a number without an end")
    return None
