"""A reflector's cache is the cluster's state, whatever becomes of its watch."""

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from livekit_operator.clients.kubernetes import Page, WatchEvent, WatchSilent
from livekit_operator.engine.cache import ObjectCache
from livekit_operator.engine.reflector import Reflector
from livekit_operator.errors import KubernetesError
from tests.fakes import manifests
from tests.fakes.kubernetes import FakeKubernetes, gone
from tests.fakes.waiting import eventually


class Mirror:
    """A reflector of Secrets with its cache and what it reported."""

    def __init__(self, selector: str | None = None, retry_seconds: float = 0.001) -> None:
        self.kubernetes = FakeKubernetes()
        self.cache = ObjectCache()
        self.changes: list[str] = []
        self.reflector = Reflector(
            self.kubernetes,
            "Secret",
            self.cache,
            lambda manifest: self.changes.append(manifest["metadata"]["name"]),
            selector,
            retry_seconds=retry_seconds,
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


async def test_a_listing_of_many_pages_is_one(mirror: Mirror) -> None:
    mirror.kubernetes.page = 2
    for name in "abcde":
        mirror.secret(name)
    await mirror.start()
    assert mirror.names() == list("abcde")
    mirror.changes.clear()
    mirror.kubernetes.end_watches(gone())
    mirror.kubernetes.vanish("Secret", "team", "b")
    await eventually(lambda: mirror.names() == list("acde"))
    assert mirror.changes == ["b"]


async def test_a_silent_watch_is_begun_anew_at_once_from_where_it_was() -> None:
    mirror = Mirror(retry_seconds=3600)
    await mirror.start()
    mirror.kubernetes.end_watches(WatchSilent(0, "ReadTimeout", "watch of secrets: nothing for 90 s"))
    mirror.secret("a")
    await eventually(lambda: mirror.names() == ["a"])
    assert mirror.kubernetes.reads == ["list Secret"]
    assert mirror.task is not None
    mirror.task.cancel()
    await asyncio.gather(mirror.task, return_exceptions=True)


@pytest.mark.parametrize("error", [TypeError("a bug"), RecursionError("deep"), asyncio.CancelledError()])
async def test_nothing_that_happens_in_a_watch_ends_it(mirror: Mirror, error: Exception) -> None:
    await mirror.start()
    watch = mirror.kubernetes.watch
    calls = 0

    def once_broken(*arguments: Any) -> AsyncIterator[WatchEvent]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        return watch(*arguments)

    mirror.kubernetes.watch = once_broken  # type: ignore[method-assign, assignment]
    mirror.kubernetes.end_watches()
    mirror.secret("a")
    await eventually(lambda: mirror.names() == ["a"])


async def test_what_one_object_does_to_a_listener_keeps_no_other_back(
    mirror: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    def listen(manifest: dict[str, Any]) -> None:
        if "bad" in manifest["metadata"]["name"]:
            raise KeyError("serverRef")
        mirror.changes.append(manifest["metadata"]["name"])

    for heard_by in ("reflector", "cache"):
        mirror.cache = ObjectCache(listen if heard_by == "cache" else lambda _: None)
        mirror.reflector = Reflector(
            mirror.kubernetes, "Secret", mirror.cache, listen if heard_by == "reflector" else lambda _: None
        )
        mirror.changes.clear()
        mirror.secret("a")
        mirror.secret("bad")
        mirror.secret("c")
        await mirror.start()
        assert sorted(mirror.changes) == ["a", "c"]
        mirror.kubernetes.edit("Secret", "team", "bad", {"data": {}})
        mirror.kubernetes.vanish("Secret", "team", "bad")
        mirror.kubernetes.vanish("Secret", "team", "a")
        await eventually(lambda: sorted(mirror.changes) == ["a", "a", "c"])
        assert mirror.names() == ["c"]
        assert "Secret team/bad: its change is not understood" in caplog.text
        assert mirror.task is not None
        mirror.task.cancel()
        await asyncio.gather(mirror.task, return_exceptions=True)
        mirror.task = None


async def test_a_first_listing_is_tried_until_it_works(mirror: Mirror, caplog: pytest.LogCaptureFixture) -> None:
    mirror.secret("a")
    mirror.kubernetes.fail("list", "Secret", KubernetesError(500, "Broken", "m"), once=True)
    await mirror.reflector.fill(asyncio.Semaphore(1))
    assert mirror.names() == ["a"]
    assert "listing of Secret failed, it is tried again: 500 Broken: m" in caplog.text


async def put_back(mirror: Mirror, later: int, *, error: Exception | None = None, silent: bool = False) -> None:
    """Watch, change everything, and put the store back; its version is then so much later than any seen before.

    The watch ends with the error, and when it is silent the next request finds nobody.
    """
    mirror.secret("stays")
    mirror.secret("changes", of="old")
    mirror.secret("comes back")
    backup, version = copy.deepcopy(mirror.kubernetes.objects), mirror.kubernetes.version
    await mirror.start()
    mirror.kubernetes.edit("Secret", "team", "changes", {"metadata": {"labels": {"of": "new"}}})
    mirror.kubernetes.vanish("Secret", "team", "comes back")
    mirror.secret("made later")
    await eventually(lambda: mirror.names() == ["changes", "made later", "stays"])
    mirror.changes.clear()
    if silent:
        refused = KubernetesError(0, "ClientConnectorError", "refused")
        mirror.kubernetes.fail("list", "Secret", refused, once=True)
    mirror.kubernetes.restore(backup, mirror.kubernetes.version + later if later else version, error)


async def is_the_truth(mirror: Mirror) -> None:
    """Wait until the cache is what was put back, and the watch goes on from there."""
    await eventually(lambda: mirror.names() == ["changes", "comes back", "stays"])
    found = mirror.cache.get(("team", "changes"))
    assert found is not None
    assert found["metadata"]["labels"] == {"of": "old"}
    await mirror.watching()
    mirror.secret("new")
    await eventually(lambda: "new" in mirror.names())


async def test_a_store_that_was_put_back_is_the_truth(mirror: Mirror, caplog: pytest.LogCaptureFixture) -> None:
    await put_back(mirror, 0)
    await is_the_truth(mirror)
    assert sorted(mirror.changes) == ["changes", "comes back", "made later", "new", "stays"]
    assert caplog.text.count("the API server went back from version") == 1


async def test_a_store_that_was_put_back_under_later_numbers_is_the_truth(mirror: Mirror) -> None:
    # As `etcdutl snapshot restore --bump-revision --mark-compacted` does: each object has the version it had.
    await put_back(mirror, 1_000_000, error=gone())
    await is_the_truth(mirror)
    assert sorted(mirror.changes) == ["changes", "comes back", "made later", "new"]


async def test_a_store_that_was_put_back_and_written_to_meanwhile_is_the_truth(mirror: Mirror) -> None:
    await put_back(mirror, 5, silent=True)
    await is_the_truth(mirror)


async def test_an_own_write_during_a_listing_is_no_going_back(mirror: Mirror, caplog: pytest.LogCaptureFixture) -> None:
    mirror.kubernetes.page = 1
    mirror.secret("a")
    mirror.secret("b")
    pages = mirror.kubernetes.pages

    async def write_between(kind: str, selector: str | None = None) -> AsyncIterator[Page]:
        async for page in pages(kind, selector):
            yield page
            mirror.cache.put(await mirror.kubernetes.create(manifests.secret(f"c{page.first}")))

    mirror.kubernetes.pages = write_between  # type: ignore[method-assign]
    await mirror.start()
    assert mirror.names() == ["a", "b", "cFalse", "cTrue"]
    mirror.kubernetes.end_watches(gone())
    await eventually(lambda: len(mirror.kubernetes.reads) == 2)
    assert "went back" not in caplog.text
