"""Who wrote more than is promised, and what: all changes of objects as watches tell of them, beside what was counted.

The API server counts requests by kind, and by no user; its watches name objects and field managers, and nothing that
changed nothing. Together they tell whose a request too many was.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from livekit_operator.clients.api_resources import RESOURCES, ApiResource
from tests.benchmarks.rooms.api import Api, ApiError

# Values are shown of these alone: others may be secret.
_SHOWN = ("status",)
_MOST_TEXT = 60
_MOST_CHANGES = 6
_MOST_LINES = 40
# What changes with every write.
_ALWAYS = ("metadata.resourceVersion", "metadata.managedFields")


@dataclass(frozen=True)
class Change:
    """One change of an object: seconds since the trail began, the event's type, and the object after it, as JSON."""

    after: float
    type: str
    raw: bytes

    @property
    def object(self) -> dict[str, Any]:
        """Return the object after the change."""
        event = orjson.loads(self.raw)
        found: dict[str, Any] = event.get("object", event)
        return found


class Trail:
    """The changes of every object since a moment, by its kind, namespace and name."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: dict[tuple[str, str, str], Change] = {}
        self._changes: defaultdict[tuple[str, str, str], list[Change]] = defaultdict(list)
        self._gaps: Counter[str] = Counter()

    def know(self, plural: str, manifest: dict[str, Any]) -> None:
        """Take over an object as it is at the beginning."""
        self._first[_key(plural, manifest)] = Change(0.0, "", orjson.dumps(manifest))

    def see(self, plural: str, line: bytes) -> bool:
        """Take over an event of a watch; return whether it was one of an object."""
        event = orjson.loads(line)
        if event["type"] == "ERROR":
            self._gaps[plural] += 1
            return False
        # Not the object: ten thousand with their histories would take a gigabyte.
        self._changes[_key(plural, event["object"])].append(Change(time.monotonic() - self._began, event["type"], line))
        return True

    def beyond(self, promised: Mapping[str, int], manager: str = "") -> list[str]:
        """Return a line for each change beyond so many of an object, of the kinds that are named.

        With a `manager` those which another one made are left out.
        """
        found = []
        for key, changes in self._changes.items():
            if (number := promised.get(key[0])) is None:
                continue
            former = [self._first.get(key), *changes]
            for before, after in list(zip(former, changes, strict=False))[number:]:
                who = _writers(before, after)
                if not manager or not who or manager in [one.split()[0] for one in who]:
                    found.append((after.after, _line(key, before, after, who)))
        lines = [line for _, line in sorted(found)]
        more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
        gaps = [f"the watch of {plural} lost its place {number} times" for plural, number in self._gaps.items()]
        return lines[:_MOST_LINES] + more + gaps


def _key(plural: str, manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return plural, metadata.get("namespace", ""), metadata["name"]


def _line(key: tuple[str, str, str], before: Change | None, after: Change, who: Sequence[str]) -> str:
    verb = {"ADDED": "made", "DELETED": "deleted"}.get(after.type, "changed")
    line = f"+{after.after:.2f} s {verb} {'/'.join(filter(None, key))} by {', '.join(who) or 'unknown'}"
    if verb == "made" and key[0] == "events":
        told = after.object
        about = told.get("involvedObject") or {}
        return f"{line}: {told.get('reason')} of {about.get('kind')} {about.get('name')}: {told.get('message')}"
    return f"{line}: {'; '.join(described(before.object, after.object))}" if before and verb == "changed" else line


def _writers(before: Change | None, after: Change) -> list[str]:
    if after.type == "DELETED":
        return []  # nothing tells
    return writers(before.object if before and before.type != "DELETED" else {}, after.object)


@asynccontextmanager
async def following(api: Api, resources: Iterable[ApiResource] = tuple(RESOURCES.values())) -> AsyncIterator[Trail]:
    """Follow all objects of kinds, of all namespaces, for as long as it takes; kinds that are not served have none."""
    trail = Trail()
    places = {}
    for resource in resources:
        try:
            items, version = await api.listing(resource.path())
        except (ApiError, ValueError):
            continue  # of a project that is not installed: the answer is a text
        for item in items:
            trail.know(resource.plural, item)
        places[resource] = version
    tasks = [asyncio.create_task(_follow(api, trail, resource, version)) for resource, version in places.items()]
    try:
        yield trail
        for task in tasks:
            if task.done():
                task.result()  # it has seen nothing since
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(api: Api, trail: Trail, resource: ApiResource, version: str) -> None:
    while True:
        async with aclosing(api.watch(resource.path(), version)) as lines:
            async for line in lines:
                if not trail.see(resource.plural, line):
                    break
        version = await api.version(resource.path())


def writers(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return who wrote an object since it was as before: field manager, operation and subresource."""
    known = (before.get("metadata") or {}).get("managedFields") or []
    new = [entry for entry in after["metadata"].get("managedFields") or [] if entry not in known]
    return [" ".join(filter(None, (e["manager"], e["operation"], e.get("subresource", "")))) for e in new]


def described(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return which fields differ, those of a status with both values; items of lists by their type, name or place."""
    found = []
    for path, old, new in _differences("", before, after):
        if path.startswith(_ALWAYS):
            continue
        shown = f" {_text(old)} -> {_text(new)}" if path.startswith(_SHOWN) else ""
        found.append(f"{path}{shown}")
    more = [f"and {len(found) - _MOST_CHANGES} more fields"] if len(found) > _MOST_CHANGES else []
    return (found[:_MOST_CHANGES] + more) or ["no field differs"]


def _differences(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _differences(f"{path}.{key}".lstrip("."), before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        old, new = _named(before), _named(after)
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(f"{path}[{key}]", old.get(key), new.get(key))
    else:
        yield path, before, after


def _named(items: Sequence[Any]) -> dict[str, Any]:
    keys = [isinstance(item, dict) and (item.get("type") or item.get("name")) for item in items]
    return {str(key or number): item for number, (key, item) in enumerate(zip(keys, items, strict=True))}


def _text(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"


def counted_beyond(
    counted: Mapping[str, int], promised: Mapping[str, int], by_operator: Mapping[str, int]
) -> list[str]:
    """Return a line for each kind of request of which the API server counted more than is promised.

    Keys are like "PATCH meetingrooms 200"; the operator's own count tells how many of all of that kind were its.
    """
    more = {kind: number - promised.get(kind, 0) for kind, number in sorted(counted.items())}
    return [
        f"{beyond} of {kind}: {counted[kind]} in all, {by_operator.get(kind, 0)} of the operator"
        for kind, beyond in more.items()
        if beyond > 0
    ]


def table(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what was written beyond what is promised, by what was done."""
    lines = []
    for phase, beyond in notes.items():
        lines += [f"{phase}, beyond what is promised:", *(f"  {line}" for line in beyond or ["nothing"])]
    return lines
