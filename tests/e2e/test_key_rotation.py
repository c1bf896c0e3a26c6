"""API keys change under a call: it goes on, old tokens work for a while, and then only new ones do."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from tests.e2e.conftest import Story
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import SERVER, room
from tests.harness.servers import (
    LONGEST_GAP_MS,
    Key,
    call,
    change,
    is_accepted,
    key_in_use,
    knocking,
    lines,
    make_room,
    own_url,
    party,
    server,
    settled,
    updated,
)
from tests.harness.watching import Seen, Watched
from tests.media import Party, Talk, TalkError

# How long sound stops is measured.
pytestmark = pytest.mark.quiet

GRACE_SECONDS = 10
# A resumed signalling connection leaves the media alone; what is left is a busy machine.


@pytest.mark.timeout(240)
async def test_a_generated_key_is_rotated_under_a_call(story: Story) -> None:
    manifest = server(2, keyRotation={"graceSeconds": GRACE_SECONDS})
    await story.kubectl.apply(manifest, room("lobby", "alice", "bob"))

    async def rotate() -> None:
        await change(story.kubectl, keyRotation={"id": "spring", "graceSeconds": GRACE_SECONDS})

    status = await _rotation(story, rotate)
    assert status["keys"]["rotation"] == "spring"


@pytest.mark.timeout(240)
async def test_a_given_key_is_rotated_under_a_call(story: Story) -> None:
    first, second = (Key(f"API{secrets.token_hex(6)}", secrets.token_urlsafe(36)) for _ in range(2))
    await story.kubectl.apply(_secret(first))
    manifest = server(2, keysSecretRef={"name": "mine"}, keyRotation={"graceSeconds": GRACE_SECONDS})
    await story.kubectl.apply(manifest, room("lobby", "alice", "bob"))

    async def rotate() -> None:
        await story.kubectl.apply(_secret(second))

    await _rotation(story, rotate)
    assert await key_in_use(story.kubectl) == second


async def _rotation(story: Story, rotate: Callable[[], Awaitable[None]]) -> Manifest:
    """Rotate the key under a call in the room `lobby`; return the status at the end."""
    await story.ready("meetingroom", "lobby")
    (found,) = await story.ready("livekitserver", SERVER)
    url, old = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    before = await _tokens(story)
    async with AsyncExitStack() as stack:
        watched = await stack.enter_async_context(Watched(story.kubectl, "livekitserver", SERVER))
        await watched.until("both servers to serve", settled)
        (home,) = await watched.until("the room to be counted", _with_rooms)
        at_home = await own_url(story.kubectl, home)
        talk = await stack.enter_async_context(
            Talk(*(replace(p, secret=replace(p.secret, url=at_home)) for p in before))
        )
        refused = await stack.enter_async_context(knocking(url))
        await talk.both_hear()
        began = time.monotonic()
        await rotate()
        await watched.until("the key to move", _in_phase("Moving"), since=began)
        moved = time.monotonic()
        new = await key_in_use(story.kubectl)
        assert new.id != old.id

        await until("the token Secrets to be of the new key", lambda: _renewed(story, before), seconds=20)
        # Two who come at the same moment into a room that is not there may each be given one, on different servers.
        await make_room(url, new, "both-keys")
        alice, bob = party(url, "both-keys", "alice", old), party(url, "both-keys", "bob", new)
        async with Talk(alice, bob) as both:
            await both.both_hear()
        print(f"old and new token met {time.monotonic() - moved:.1f} s after the key had moved")

        dropping = await watched.until("the old key to be dropped", _in_phase("Dropping"), since=began)
        assert dropping - moved >= GRACE_SECONDS - 2
        await watched.until("the rotation to end", lambda s: _in_phase("Stable")(s) and updated(s), since=dropping)
        ended = time.monotonic()
        phases = watched.seen(lambda s: s.at >= began and s.status["keys"]["phase"])
        assert phases[-4:] == ["Accepting", "Moving", "Dropping", "Stable"], phases
        assert not await is_accepted(url, old)
        assert await is_accepted(url, new)
        with pytest.raises(TalkError, match="cannot join"):
            async with call(url, "old-key", old):
                pass

        # The call's server drains all the while; this is its token's last use.
        await talk.both_hear()
        heard = await talk.look()
        print(*(side.to_text() for side in heard), sep="\n")
        print(f"{len(refused)} clients could not connect:", *refused, sep="\n  ")
        print(f"rotation: {moved - began:.1f} s to move, {ended - began:.1f} s in all")
        assert refused == []
        assert [side.disconnected for side in heard] == [(), ()]
        assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS
        assert watched.last.status["keys"]["accepted"] == 1
        await talk.end()
        await watched.until("the server of the call to be gone", lambda s: home not in lines(s))
        await until("the room to be open anew", lambda: _is_open(story, "lobby"))

    async with Talk(*await _tokens(story)) as again:
        await again.both_hear()
    return watched.last.status


async def _is_open(story: Story, name: str) -> bool:
    """Return whether the server has the room that its resource tells of."""
    status = (await story.kubectl.get("meetingroom", name)).get("status") or {}
    return (name, status.get("sid")) in await (await story.rooms()).listed()


async def _tokens(story: Story) -> tuple[Party, Party]:
    alice, bob = await asyncio.gather(story.kubectl.secret("lobby-alice"), story.kubectl.secret("lobby-bob"))
    return Party.of(alice), Party.of(bob)


async def _renewed(story: Story, before: tuple[Party, Party]) -> bool:
    tokens = await _tokens(story)
    return all(now.secret.token != then.secret.token for now, then in zip(tokens, before, strict=True))


def _with_rooms(state: Seen) -> list[str]:
    return [name for name, line in lines(state).items() if line.get("rooms")]


def _in_phase(phase: str) -> Callable[[Seen], float]:
    return lambda state: state.at if (state.status.get("keys") or {}).get("phase") == phase else 0.0


def _secret(key: Key) -> Manifest:
    values = {"apiKey": key.id, "apiSecret": key.secret}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": values}
