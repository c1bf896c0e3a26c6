"""Rooms as somebody applies and deletes them, and when each is seen to be ready or gone."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from tests.benchmarks.rooms.api import ROOMS, Api, Manifest

_AT_ONCE = 16
# Events are not parsed: it is the operator and the floor that are measured, on the same two cores.
_NAME = re.compile(rb'"name":"(room-[a-z0-9-]+)"')
_READY = b'"status":"True","type":"Ready"'
_DELETED = b'{"type":"DELETED"'
_STUCK_SECONDS = 60.0


def names(count: int, prefix: str = "room") -> list[str]:
    """Return names of rooms."""
    return [f"{prefix}-{number:05}" for number in range(count)]


def manifest(namespace: str, name: str, server: str, **token: object) -> Manifest:
    """Return a room with one token."""
    spec = {"serverRef": {"name": server}, "tokens": [{"identity": "alice", **token}]}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": ROOMS.api_version, "kind": ROOMS.kind, "metadata": metadata, "spec": spec}


class Observer:
    """When rooms were seen to be ready, and when to be gone: monotonic moments by name."""

    def __init__(self) -> None:
        self.ready: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._failure: Exception | None = None

    async def run(self, api: Api, namespace: str, version: str) -> None:
        """Look at every event of a namespace from a resource version on; whoever waits hears of a failure."""
        try:
            await self._look(api, namespace, version)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._failure = error
        self._changed.set()

    async def _look(self, api: Api, namespace: str, version: str) -> None:
        async for line in api.watch(ROOMS.path(namespace), version):
            found = _NAME.search(line)
            if found is None:
                raise RuntimeError(f"an event without a room: {line[:300]!r}")
            name = found[1].decode()
            if line.startswith(_DELETED):
                self.gone.setdefault(name, time.monotonic())
            elif _READY in line:
                self.ready.setdefault(name, time.monotonic())
            else:
                continue
            self._changed.set()

    async def until_all(self, moments: dict[str, float], wanted: Sequence[str], what: str) -> float:
        """Wait until all are there and return the last moment; raises TimeoutError when nothing happens for long."""
        while missing := len(set(wanted) - moments.keys()):
            if self._failure:
                raise self._failure
            self._changed.clear()
            try:
                async with asyncio.timeout(_STUCK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                raise TimeoutError(f"{missing} of {len(wanted)} rooms are not {what}, and nothing happens") from None
            await asyncio.sleep(0.01)  # looking at ten thousand names for each of them would be work of its own
        return max(moments[name] for name in wanted)


@asynccontextmanager
async def observing(api: Api, namespace: str) -> AsyncIterator[Observer]:
    """Observe a namespace for as long as it takes."""
    observer = Observer()
    version = await api.version(ROOMS.path(namespace))
    task = asyncio.create_task(observer.run(api, namespace, version))
    try:
        yield observer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def apply(api: Api, namespace: str, wanted: Sequence[str], server: str, **token: object) -> None:
    """Create rooms as fast as the API server takes them."""
    await _each(wanted, lambda name: api.post(ROOMS.path(namespace), manifest(namespace, name, server, **token)))


async def delete(api: Api, namespace: str, unwanted: Sequence[str]) -> None:
    """Delete rooms as fast as the API server takes it."""
    await _each(unwanted, lambda name: api.delete(ROOMS.path(namespace, name)))


async def _each(wanted: Iterable[str], act: Callable[[str], Awaitable[object]]) -> None:
    remaining = iter(wanted)

    async def work() -> None:
        for name in remaining:
            await act(name)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(work())
