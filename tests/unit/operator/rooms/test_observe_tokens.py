"""What is found of a room's tokens, and when they need not be gone through again."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.rooms.decisions.limits import Limits
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.rooms.observe_tokens import TokenSecrets, observe_tokens
from livekit_operator.servers.access import find_access, find_server
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World
from tests.unit.operator.rooms.entries import ROOM, opened

LIMITS = Limits.of(models.server())
EVERY_ONE = AgentNames()
EXPIRES = [{"identity": "alice", "ttlSeconds": 3600}, {"identity": "bob", "ttlSeconds": 3600}]


def found(world: World, limits: Limits = LIMITS, agents: AgentNames = EVERY_ONE) -> TokenSecrets:
    """Return what the next pass finds of the room's tokens."""
    room = MeetingRoom.model_validate(world.get("MeetingRoom", ROOM))
    access = find_access(world.context, room, find_server(world.context, room, room.spec.server_ref))
    assert access is not None
    return observe_tokens(world.context, room, access, limits, agents)


async def test_tokens_of_the_last_pass_are_not_read_again(world: World) -> None:
    await opened(world, tokens=EXPIRES)
    seen = found(world)
    assert seen.still is world.context.kept_tokens[NAMESPACE, ROOM].tokens
    assert (seen.entries, seen.named) == ((), {})
    assert [secret["metadata"]["name"] for secret in seen.owned] == ["support-42-alice", "support-42-bob"]


def forget(world: World) -> None:
    world.context.kept_tokens.clear()


def pass_time(world: World) -> None:
    world.clock.advance(3000)


def put_the_clock_back(world: World) -> None:
    world.clock.advance(-3000)


def change_spec(world: World) -> None:
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": {"tokens": [*EXPIRES, {"identity": "carol"}]}})


def spoil(world: World) -> None:
    world.kubernetes.edit("Secret", NAMESPACE, "support-42-alice", {"data": {"token": "eA=="}})


def give_other_keys(world: World) -> None:
    world.context.servers[NAMESPACE, "voice"].external_url = "wss://other.example.com"


@pytest.mark.parametrize(
    "happen", [forget, pass_time, put_the_clock_back, change_spec, spoil, give_other_keys], ids=lambda one: one.__name__
)
async def test_tokens_are_gone_through_when_something_is_another(world: World, happen: Callable[[World], None]) -> None:
    await opened(world, tokens=EXPIRES)
    happen(world)
    seen = found(world)
    assert seen.still is None
    assert [entry.identity for entry in seen.entries][:2] == ["alice", "bob"]
    assert sorted(seen.named) == ["support-42-alice", "support-42-bob"]


async def test_other_limits_and_other_agents_are_something_else_too(world: World) -> None:
    await opened(world, tokens=EXPIRES)
    assert found(world, limits=replace(LIMITS, metadata=1)).still is None
    assert found(world, agents=AgentNames("team/")).still is None


async def test_who_has_the_name_that_an_entry_wants_is_found_whoever_it_is(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    secret = manifests.secret("support-42-bob")
    secret["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "livekit-operator"}
    foreign = world.kubernetes.put(secret)
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": {"tokens": EXPIRES}})
    seen = found(world)
    assert seen.named["support-42-bob"] == foreign
    assert [secret["metadata"]["name"] for secret in seen.owned] == ["support-42-alice"]
    world.kubernetes.vanish("Secret", NAMESPACE, "support-42-bob")


async def test_a_room_of_many_is_not_gone_through_whenever_somebody_joins(world: World) -> None:
    await opened(world, generateTokens={"count": 50})
    before = world.context.kept_tokens[NAMESPACE, ROOM]
    for n in range(3):
        world.livekit.join(ROOM, f"guest-{n + 1}")
        await world.reconcile("LiveKitServer", "voice")
        await world.reconcile("MeetingRoom", ROOM)
    assert world.context.kept_tokens[NAMESPACE, ROOM] is before
    status = world.get("MeetingRoom", ROOM)["status"]
    assert (status["participants"], len(status["tokens"])) == (3, 50)
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    await world.settle()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.context.kept_tokens == {}


def change_server(world: World, changed: str) -> None:
    """Let a server have another key or another URL."""
    if changed == "external_url":
        world.context.servers[NAMESPACE, "voice"].external_url = "wss://other.example.com"
    elif changed == "internal_url":
        world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"signal": {"service": {"port": 7000}}}})
    else:
        uid, state = world.context.key_states[NAMESPACE, "voice"]
        parts = {"api_key": "id", "api_secret": "secret"}
        key = replace(state.in_use, **{parts[changed]: f"another-{changed}-of-thirty-two-characters"})
        accepted = (*state.accepted, key)
        world.context.key_states[NAMESPACE, "voice"] = uid, replace(state, in_use=key, accepted=accepted)


@pytest.mark.parametrize("changed", ["api_key", "api_secret", "external_url", "internal_url"])
async def test_other_keys_and_urls_reach_every_secret(world: World, changed: str) -> None:
    await opened(world, tokens=[{"identity": "alice"}], generateTokens={"count": 2})
    names = ["support-42-alice", "support-42-guest-1", "support-42-guest-2"]
    before = [decoded(world.get("Secret", name)) for name in names]
    change_server(world, changed)
    await world.reconcile("MeetingRoom", ROOM)
    after = [decoded(world.get("Secret", name)) for name in names]
    for old, new in zip(before, after, strict=True):
        assert old != new
        assert (old["token"] != new["token"]) is changed.startswith("api_")


async def test_one_of_many_that_is_changed_by_hand_is_put_back(world: World) -> None:
    await opened(world, generateTokens={"count": 20})
    before = world.get("Secret", "support-42-guest-7")
    world.kubernetes.edit("Secret", NAMESPACE, "support-42-guest-7", {"data": {"room": "eA=="}})
    world.kubernetes.vanish("Secret", NAMESPACE, "support-42-guest-8")
    world.forget()
    await world.settle()
    assert world.written() == ["apply Secret/support-42-guest-7", "apply Secret/support-42-guest-8"]
    assert decoded(world.get("Secret", "support-42-guest-7")) == decoded(before)
