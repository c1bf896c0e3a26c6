"""JSON of the API server, read so that no object keeps others from being read.

Whoever may write objects chooses what is in them. One that is too long, of too many values or nested too deeply for the
parser comes as a stub: what it is called and whose it is, and under `UNREAD` why no more is known of it.
"""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import orjson

Manifest = dict[str, Any]

# etcd holds 1.5 MiB of an object (--max-request-bytes), and the API server may write each byte as six ("\u003c").
MOST_BYTES = 10 * 2**20
# Braces, brackets and commas of one object: each value has one or two, and takes up to 150 bytes of memory.
MOST_VALUES = 40_000
# The same of a page that is parsed as a whole; others are gone through object by object.
MOST_PAGE_VALUES = 300_000
# Where a stub says why it is one. No object of the API server has such a key.
UNREAD = "livekit-operator.dev/unread"

# Possessive: a text that is cut off is given up without trying each part of it again.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{}]', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]+")
_SPACE = re.compile(rb"[\s,:]*")
# What a stub has of its metadata, each of them only where it is short.
_KEPT = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "finalizers",
    "labels",
    "annotations",
    "ownerReferences",
)
_MOST_KEPT_BYTES = 16 * 1024
# What is kept of a line that is too long: it has the metadata.
_MOST_BEGINNING_BYTES = 512 * 1024


class Unreadable(ValueError):
    """Not even the name of an object can be read; the message says why."""


async def read_lines(content: aiohttp.StreamReader, most: int = MOST_BYTES) -> AsyncIterator[tuple[bytes, bool]]:
    """Yield each line and whether it is whole: of a longer one comes the beginning, the rest is passed over.

    Raises ValueError when the stream ends in the middle of a line.
    """
    line = bytearray()
    whole = True
    async for chunk in content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for part in ends:
            whole = _extend(line, part, most) and whole
            done, complete = bytes(line), whole
            line, whole = bytearray(), True
            if done:
                yield done, complete
        whole = _extend(line, rest, most) and whole
    if line:
        raise ValueError("it ended in the middle of a line")


def _extend(line: bytearray, part: bytes, most: int) -> bool:
    """Add to a line; return False when it is longer than `most` bytes then, and keep only its beginning."""
    if len(line) + len(part) <= most:
        line += part
        return True
    line += part
    del line[min(most, _MOST_BEGINNING_BYTES) :]
    return False


def read_event(line: bytes, *, whole: bool = True) -> tuple[str, Manifest]:
    """Return type and object of an event of a watch; raises Unreadable."""
    why = _too_much(line) if whole else f"it is longer than {MOST_BYTES} bytes"
    if not why:
        try:
            event = orjson.loads(line)
            return str(event["type"]), _checked(event["object"], str(event["type"]))
        except (ValueError, KeyError, TypeError) as error:
            why = str(error)
    event_type, found = "", None
    try:
        for name, start, end in _members(line, 0):
            if name == "type":
                event_type = str(orjson.loads(line[start:end]))
            elif name == "object":
                found = start
                break
    except (_Cut, ValueError) as error:
        raise Unreadable(why) from error
    if not event_type or found is None:
        raise Unreadable(why)
    return event_type, _stub(line, found, why)


def read_object(raw: bytes, *, whole: bool = True) -> Manifest:
    """Return an object, or the stub of one; raises Unreadable."""
    why = _too_much(raw) if whole else f"it is longer than {MOST_BYTES} bytes"
    if not why:
        try:
            if isinstance(found := orjson.loads(raw), dict):
                return found
            why = "it is no object"
        except ValueError as error:
            why = str(error)
    return _stub(raw, 0, why)


def read_item(raw: bytes) -> Manifest:
    """Return an item of a listing, or the stub of one; raises Unreadable."""
    try:
        return _checked(read_object(raw))
    except (KeyError, TypeError) as error:
        raise Unreadable("it has no name") from error


def read_page(raw: bytes) -> tuple[list[Manifest], Manifest] | None:
    """Return the items and the metadata of a page of a listing; None when it must be gone through item by item."""
    values = _values(raw, MOST_PAGE_VALUES)
    if values > MOST_PAGE_VALUES:
        return None
    try:
        page = orjson.loads(raw)
        items, metadata = [_checked(item) for item in page.get("items") or ()], page["metadata"]
        if values > MOST_VALUES and any(_too_much(orjson.dumps(item)) for item in items):
            return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return items, metadata


def page_parts(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield ("item", its bytes) for each item of a page and ("metadata", its bytes) once; raises Unreadable."""
    try:
        for name, start, end in _members(raw, 0, opened="items"):
            if name in ("", "metadata"):
                yield name or "item", raw[start:end]
    except (_Cut, ValueError) as error:
        raise Unreadable("it is no page of a listing") from error


class _Cut(Exception):
    """The bytes end before the value does."""


def _values(raw: bytes, most: int) -> int:
    """Return the number of braces, brackets and commas, those in texts counted only when they make no difference."""
    found = sum(map(raw.count, (b"{", b"[", b",")))
    return found if found <= most else sum(map(_STRING.sub(b"", raw).count, (b"{", b"[", b",")))


def _too_much(raw: bytes) -> str:
    """Return why an object is not to be parsed, empty when it may be."""
    if len(raw) > MOST_BYTES:
        return f"it is longer than {MOST_BYTES} bytes"
    return f"it has more than {MOST_VALUES} values" if _values(raw, MOST_VALUES) > MOST_VALUES else ""


def _checked(found: Any, event_type: str = "") -> Manifest:
    """Return an object that has what every object has; raises KeyError or TypeError."""
    if event_type != "ERROR":
        name = found["metadata"]["resourceVersion" if event_type == "BOOKMARK" else "name"]
        if not isinstance(name, str):
            raise TypeError("its name is no text")
    manifest: Manifest = found
    return manifest


def _stub(raw: bytes, at: int, why: str) -> Manifest:
    """Return what is known of an object without parsing it; raises Unreadable when that is not even its name."""
    why = "it is nested too deeply" if "depth limit" in why or "ecursion" in why else why.partition(": line")[0]
    stub: Manifest = {UNREAD: why}
    try:
        # Kubernetes writes metadata before everything that may be long.
        for name, start, end in _members(raw, at):
            if name in ("apiVersion", "kind"):
                stub[name] = orjson.loads(raw[start:end])
            elif name == "metadata":
                stub["metadata"] = _short_metadata(raw, start)
                break
        _checked(stub)
    except (_Cut, ValueError, KeyError, TypeError) as error:
        raise Unreadable(why) from error
    return stub


def _short_metadata(raw: bytes, at: int) -> Manifest:
    metadata: Manifest = {}
    try:
        for name, start, end in _members(raw, at):
            if name in _KEPT and end - start <= _MOST_KEPT_BYTES:
                metadata[name] = orjson.loads(raw[start:end])
    except (_Cut, ValueError):
        pass  # the name comes early; without it there is no stub
    return metadata


def _members(raw: bytes, at: int, opened: str | None = None) -> Iterator[tuple[str, int, int]]:
    """Yield name, start and end of each value of an object; of a list named `opened` each item, without a name."""
    at = _after(_SPACE, raw, at)
    if raw[at : at + 1] != b"{":
        raise _Cut
    at = _after(_SPACE, raw, at + 1)
    while raw[at : at + 1] != b"}":
        start, at = at, _after(_STRING, raw, at)
        name = str(orjson.loads(raw[start:at]))
        at = _after(_SPACE, raw, at)
        if name == opened and raw[at : at + 1] == b"[":
            at = _after(_SPACE, raw, at + 1)
            while raw[at : at + 1] != b"]":
                start, at = at, _end(raw, at)
                yield "", start, at
                at = _after(_SPACE, raw, at)
            at += 1
        else:
            start = at
            try:
                at = _end(raw, at)
            except _Cut:
                yield name, start, len(raw)  # what begins in time may hold what is looked for
                raise
            yield name, start, at
        at = _after(_SPACE, raw, at)


def _end(raw: bytes, at: int) -> int:
    """Return where the value ends that begins here."""
    if raw[at : at + 1] not in (b"{", b"["):
        return _after(_STRING if raw[at : at + 1] == b'"' else _SCALAR, raw, at)
    depth = 0
    for found in _BRACKETS.finditer(raw, at):
        byte = raw[found.start()]
        if byte in b"{[":
            depth += 1
        elif byte in b"}]":
            depth -= 1
            if not depth:
                return found.end()
    raise _Cut


def _after(pattern: re.Pattern[bytes], raw: bytes, at: int) -> int:
    found = pattern.match(raw, at)
    if found is None or at >= len(raw):
        raise _Cut
    return found.end()
