"""What stories of many MeetingRooms share: made and deleted by the hundred, and looked at in one request."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import jwt

from tests.e2e.conftest import Story
from tests.harness.api import Api, Unanswered, configuration
from tests.harness.kubectl import Manifest, is_ready, until
from tests.harness.resources import room
from tests.harness.servers import Key

PATH = "/apis/livekit-operator.dev/v1alpha1/namespaces/{}/meetingrooms"
SECRETS = "app.kubernetes.io/component=room"
_AT_ONCE = 16


@asynccontextmanager
async def administrator(story: Story) -> AsyncIterator[Api]:
    """Give the API server itself: kubectl takes minutes for a thousand objects."""
    api = Api(await configuration(story.platform.target))
    try:
        yield api
    finally:
        await api.close()


def named(prefix: str, count: int) -> list[str]:
    """Return so many names, in their order."""
    return [f"{prefix}-{number:04}" for number in range(count)]


async def make(story: Story, api: Api, names: Sequence[str]) -> None:
    """Make a room with a token for alice of each name, and go on asking while the API server is away."""
    await make_each(story, api, [room(name, "alice") for name in names])


async def make_each(story: Story, api: Api, manifests: Iterable[Manifest]) -> None:
    """Make these rooms, some at once, and go on asking while the API server is away."""
    waiting = iter(manifests)

    async def work() -> None:
        for manifest in waiting:
            manifest["metadata"]["namespace"] = story.kubectl.namespace
            what = f"room {manifest['metadata']['name']} to be taken"
            await until(what, lambda m=manifest: _taken(api, m), seconds=60)  # type: ignore[misc]

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def let_go(story: Story, api: Api, name: str) -> None:
    """Ask for a room to be deleted, again while the API server is away; it is gone some moments later."""

    async def asked() -> bool:
        try:
            answer = await api.request("DELETE", f"{PATH.format(story.kubectl.namespace)}/{name}")
        except Unanswered:
            return False
        return answer.status < 300 or answer.status == 404

    await until(f"the API server to delete room {name}", asked, seconds=60)


async def _taken(api: Api, manifest: Manifest) -> bool:
    try:
        answer = await api.try_create(manifest)
    except Unanswered:
        return False  # it is away, or answered only by half
    # Its admission does not know all namespaces yet.
    if answer.status == 403 and "not yet ready to handle request" in answer.message:
        return False
    # Taken before its answer was lost.
    if answer.status >= 500 or answer.status == 409:
        return answer.status == 409
    answer.accepted()
    return True


async def rooms(story: Story, api: Api) -> dict[str, Manifest]:
    """Return the MeetingRooms of the story by name."""
    answer = (await api.request("GET", PATH.format(story.kubectl.namespace))).accepted()
    return {manifest["metadata"]["name"]: manifest for manifest in answer["items"]}


async def secrets(story: Story, api: Api) -> dict[str, Manifest]:
    """Return the token Secrets of the story by name."""
    path = f"/api/v1/namespaces/{story.kubectl.namespace}/secrets?labelSelector={SECRETS}"
    return {s["metadata"]["name"]: s for s in (await api.request("GET", path)).accepted()["items"]}


async def all_ready(
    story: Story,
    api: Api,
    names: Sequence[str],
    *,
    seconds: float = 90,
    also: Callable[[Mapping[str, Manifest]], Awaitable[bool]] | None = None,
) -> dict[str, Manifest]:
    """Wait until all these rooms are ready, and what else is asked of them; return them."""

    async def look() -> dict[str, Manifest]:
        found = {name: manifest for name, manifest in (await rooms(story, api)).items() if name in wanted}
        ready = len(found) == len(wanted) and all(map(is_ready, found.values()))
        return found if ready and (also is None or await also(found)) else {}

    wanted = frozenset(names)
    found: dict[str, Manifest] = await until(f"{len(names)} rooms to be ready", look, seconds=seconds, every=0.5)
    return found


async def delete(story: Story, api: Api, names: Iterable[str] | None = None, *, seconds: float = 90) -> float:
    """Delete rooms, all of them unless some are named, and return after how many seconds they were gone."""
    began, path = time.monotonic(), PATH.format(story.kubectl.namespace)
    if names is None:
        # A request that takes longer than a minute is ended half way.
        while (answer := await api.request("DELETE", path)).status == 504:
            assert time.monotonic() - began < seconds, "the API server does not come to an end"
        answer.accepted()
        going = frozenset(await rooms(story, api))
    else:
        going, waiting = frozenset(names), iter(sorted(names))

        async def work() -> None:
            for name in waiting:
                (await api.request("DELETE", f"{path}/{name}")).accepted()

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    async def gone() -> bool:
        return not going & (await rooms(story, api)).keys()

    await until(f"{len(going)} rooms to be gone", gone, seconds=seconds, every=0.5)
    return time.monotonic() - began


def lets_in(secret: Manifest, key: Key) -> tuple[str, str]:
    """Return whom a token Secret's token lets into which room now; raises InvalidTokenError, also for another key."""
    token = base64.b64decode(secret["data"]["token"])
    claims = jwt.decode(token, key.secret, algorithms=["HS256"], issuer=key.id)
    return claims["sub"], claims["video"]["room"]


def opens(secret: Manifest, room: str, key: Key) -> bool:
    """Return whether a token Secret's token is signed with a key, still valid, and alice's for a room."""
    return lets_in(secret, key) == ("alice", room)
