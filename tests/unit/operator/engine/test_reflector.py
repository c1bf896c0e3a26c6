"""A reflector's cache is the cluster's state, whatever becomes of its watch."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from livekit_operator.engine.cache import ObjectCache
from livekit_operator.engine.reflector import Reflector
from livekit_operator.errors import KubernetesError
from tests.fakes import manifests
from tests.fakes.kubernetes import FakeKubernetes, gone
from tests.fakes.waiting import eventually


class Mirror:
    """A reflector of Secrets with its cache and what it reported."""

    def __init__(self, selector: str | None = None) -> None:
        self.kubernetes = FakeKubernetes()
        self.cache = ObjectCache()
        self.changes: list[str] = []
        self.reflector = Reflector(
            self.kubernetes,
            "Secret",
            self.cache,
            lambda manifest: self.changes.append(manifest["metadata"]["name"]),
            selector,
            retry_seconds=0.001,
        )
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.reflector.sync()
        self.task = asyncio.create_task(self.reflector.run())
        await self.watching()

    async def watching(self) -> None:
        await eventually(lambda: self.kubernetes.watched == ["Secret"], "a watch")

    def secret(self, name: str, **labels: str) -> None:
        manifest = manifests.secret(name)
        self.kubernetes.put({**manifest, "metadata": {**manifest["metadata"], "labels": labels}})

    def names(self) -> list[str]:
        return sorted(manifest["metadata"]["name"] for manifest in self.cache)


@pytest.fixture
async def mirror() -> AsyncIterator[Mirror]:
    made = Mirror()
    yield made
    if made.task:
        assert not made.task.done(), "a reflector never ends by itself"
        made.task.cancel()
        await asyncio.gather(made.task, return_exceptions=True)


async def test_a_listing_fills_the_cache(mirror: Mirror) -> None:
    mirror.secret("a")
    mirror.secret("b")
    await mirror.reflector.sync()
    assert mirror.names() == ["a", "b"]
    assert mirror.changes == ["a", "b"]
    await mirror.reflector.sync()
    assert mirror.changes == ["a", "b"], "nothing changed since"


async def test_a_watch_follows(mirror: Mirror) -> None:
    await mirror.start()
    mirror.secret("a")
    await eventually(lambda: mirror.names() == ["a"])
    mirror.kubernetes.edit("Secret", "team", "a", {"data": {"x": "eA=="}})
    await eventually(lambda: mirror.changes == ["a", "a"])
    mirror.kubernetes.vanish("Secret", "team", "a")
    await eventually(lambda: mirror.names() == [])
    assert mirror.changes == ["a", "a", "a"]
    assert mirror.kubernetes.reads == ["list Secret"]


async def test_an_own_write_that_comes_back_is_no_change(mirror: Mirror) -> None:
    await mirror.start()
    mirror.cache.put(await mirror.kubernetes.create(manifests.secret("a")))
    mirror.secret("b")
    await eventually(lambda: mirror.names() == ["a", "b"])
    assert mirror.changes == ["b"]


async def test_a_watch_that_ends_is_begun_again_without_a_listing(mirror: Mirror) -> None:
    await mirror.start()
    mirror.kubernetes.end_watches()
    mirror.secret("a")
    await eventually(lambda: mirror.names() == ["a"])
    assert mirror.kubernetes.reads == ["list Secret"]


async def test_an_expired_watch_lists_anew_and_notices_what_was_deleted_meanwhile(mirror: Mirror) -> None:
    mirror.secret("stays")
    mirror.secret("goes")
    await mirror.start()
    mirror.changes.clear()
    mirror.kubernetes.end_watches(gone())
    mirror.kubernetes.vanish("Secret", "team", "goes")  # before the watch is there again
    await eventually(lambda: mirror.names() == ["stays"])
    assert mirror.changes == ["goes"]
    assert mirror.kubernetes.reads == ["list Secret"] * 2


@pytest.mark.parametrize("status", [0, 401, 403, 404, 500, 503])
async def test_an_error_is_tried_again(mirror: Mirror, status: int) -> None:
    await mirror.start()
    for verb in ("watch", "list"):
        mirror.kubernetes.fail(verb, "Secret", KubernetesError(status, "Broken", "m"))
    mirror.kubernetes.end_watches(KubernetesError(status, "Broken", "m"))
    await eventually(lambda: mirror.kubernetes.watched == [])
    mirror.secret("a")
    mirror.kubernetes.heal()
    await eventually(lambda: mirror.names() == ["a"])


async def test_only_objects_with_the_label_are_mirrored() -> None:
    mirror = Mirror("app=ours")
    mirror.secret("ours", app="ours")
    mirror.secret("theirs", app="theirs")
    await mirror.reflector.sync()
    assert mirror.names() == ["ours"]


async def test_a_failed_first_listing_is_an_error(mirror: Mirror) -> None:
    mirror.kubernetes.fail("list", "Secret", KubernetesError(403, "Forbidden", "m"))
    with pytest.raises(KubernetesError, match="Forbidden"):
        await mirror.reflector.sync()


async def test_a_bookmark_moves_only_the_version(mirror: Mirror) -> None:
    await mirror.start()
    mirror.kubernetes.bookmark("Secret", "777")
    mirror.kubernetes.end_watches()
    await eventually(lambda: mirror.kubernetes.watched_from[-1] == "777")
    assert mirror.changes == []
