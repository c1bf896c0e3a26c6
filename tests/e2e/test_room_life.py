"""A room on a real server: whose it is, what it is made with and made anew with, whom it lets in, and how it ends."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from livekit import api

from tests.caller.call import CallError
from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.rooms import SECRETS
from tests.e2e.servers import node_ports, server
from tests.e2e.switchboard import Switchboard, access, enter, switchboard
from tests.harness.calls import Guest, Guests
from tests.harness.kubectl import Manifest, ready, until
from tests.harness.resources import POOL, room
from tests.harness.servers import Key
from tests.harness.watching import Seen, Watched

PUT_OUT = "ROOM_DELETED"
RECREATE = "livekit-operator.dev/recreate"
# An agent that says what it was told.
REPORTS = """await ctx.connect()
    told = {"job": ctx.job.metadata, "tongue": ctx.job.attributes["language"], "room": ctx.room.metadata}
    await ctx.room.local_participant.set_attributes({"lk.agent.state": "listening", **told})"""


@pytest.mark.timeout(180)
async def test_a_room_is_its_makers_until_another_takes_it_over(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports()))
    url, key = await access(story)
    async with switchboard(story) as board, _enter(_app_token(url, key, "lobby", "stranger")) as strangers:
        made = (await _listed(board, "lobby")).sid
        await story.kubectl.apply(_room("lobby", "alice"))
        assert "spec.adopt" in await story.reason("meetingroom", "lobby", "RoomExists")
        assert await _secrets(story) == []
        # What was refused the room does not take it along when it goes.
        await pools.delete_rooms(story, ["lobby"])
        assert await _people(board, "lobby") == {"stranger"}
        await story.kubectl.apply(_room("lobby", "alice"))
        await story.reason("meetingroom", "lobby", "RoomExists")
        await _change(story, "lobby", adopt=True)
        (manifest,) = await story.ready("meetingroom", "lobby")
        assert manifest["status"]["sid"] == made
        async with enter(story, "lobby") as alice:
            await until("two in the room", lambda: _are_in(board, "lobby", "alice", "stranger"), seconds=10)
            assert (await _listed(board, "lobby")).sid == made
            await pools.delete_rooms(story, ["lobby"])
            await until("both to be put out", lambda: _are_out(alice, *strangers.all), seconds=10)

        await story.kubectl.apply(_room("first", "alice", roomName="stage", maxParticipants=2))
        await story.ready("meetingroom", "first")
        await story.kubectl.apply(_room("second", "alice", roomName="stage", maxParticipants=3))
        assert "first" in await story.reason("meetingroom", "second", "NameConflict")
        assert "second-alice" not in await _secrets(story)
        await pools.delete_rooms(story, ["first"])
        (manifest,) = await story.ready("meetingroom", "second")
        listed = await _listed(board, "stage")
        assert (listed.sid, listed.max_participants) == (manifest["status"]["sid"], 3)
        async with enter(story, "second"):
            await until("alice in the room", lambda: _are_in(board, "stage", "alice"), seconds=10)


@pytest.mark.timeout(180)
async def test_what_a_room_is_made_with_and_when_it_is_made_anew(story: Story) -> None:
    lounge = pools.room("lounge", dispatch="OnCreate")
    lounge["spec"] |= {"metadata": "green", "maxParticipants": 1}
    lounge["spec"]["tokens"].append({"identity": "bob"})
    lounge["spec"]["agents"][0] |= {"metadata": "be brief", "attributes": {"language": "de"}}
    configuration = {
        "metadata": "of a token",
        "maxParticipants": 2,
        "departureTimeoutSeconds": 1,
        "agents": [{"agentName": POOL, "metadata": "called by a token"}],
    }
    once = _room("once", persistent=False, departureTimeoutSeconds=1)
    once["spec"]["tokens"] = [{"identity": "alice", "roomConfiguration": configuration}]
    code = light_agents.code_map(agent=light_agents.code(session=REPORTS))
    await light_agents.serve(story, light_agents.pool(story), lounge, once, code=code)
    async with Watched(story.kubectl, "meetingroom", "lounge") as watched, switchboard(story) as board:
        listed = await _listed(board, "lounge")
        assert (listed.metadata, listed.max_participants) == ("green", 1)
        said = await _said(board, "lounge")
        assert (said["job"], said["tongue"], said["room"]) == ("be brief", "de", "green")

        first = await watched.until("the room to be ready", _applied)
        async with enter(story, "lounge") as alice:
            # The agent is none of the participants, and another guest would be one too many.
            bob = Guest(await story.kubectl.secret("lounge-bob"), lambda: None)
            with pytest.raises(CallError):
                await bob.join()
            await _change(story, "lounge", metadata="blue", maxParticipants=2)
            await watched.until("the change to wait", _waits)
            await until("the metadata to change", lambda: _has_metadata(board, "lounge", "blue"), seconds=10)
            listed = await _listed(board, "lounge")
            assert (listed.sid, listed.max_participants) == (first, 1)
            assert alice.disconnected == ""
        second = await watched.until(
            "the room to be made anew", lambda s: _applied(s) not in ("", first) and _applied(s)
        )
        listed = await _listed(board, "lounge")
        assert (listed.sid, listed.metadata, listed.max_participants) == (second, "blue", 2)
        assert (await _said(board, "lounge"))["room"] == "blue"

        async with enter(story, "lounge") as alice:
            asked = time.monotonic()
            await _change(story, "lounge", maxParticipants=3)
            await watched.until("the other change to wait", _waits, since=asked)
            await story.kubectl("annotate", "meetingroom", "lounge", f"{RECREATE}=now")
            await until("alice to be put out", lambda: _are_out(alice), seconds=10)
        third = await watched.until(
            "the room to be made anew again", lambda s: _applied(s) not in ("", first, second) and _applied(s)
        )
        listed = await _listed(board, "lounge")
        assert (listed.sid, listed.max_participants) == (third, 3)

        # Whoever has a token of a room that is over can make it once more, as the token says.
        token = await story.kubectl.secret("once-alice")
        async with _enter(token):
            pass
        await _gone(story, "once")
        async with _enter(token):
            listed = await _listed(board, "once")
            assert (listed.metadata, listed.max_participants) == ("of a token", 2)
            said = await _said(board, "once")
            assert (said["job"], said["room"]) == ("called by a token", "of a token")


@pytest.mark.timeout(180)
async def test_rooms_end_when_it_was_said(story: Story) -> None:
    await story.kubectl.apply(
        server(**node_ports()),
        _room("call", "alice", persistent=False, departureTimeoutSeconds=1),
        _room("lounge", "alice", ttlSecondsAfterEmpty=3600),
        _room("show", "alice", "bob"),
    )
    await story.ready("meetingroom", "call", "lounge", "show")
    async with switchboard(story) as board:
        async with enter(story, "call"), enter(story, "lounge"):
            await _change(story, "lounge", ttlSecondsAfterEmpty=1)
            secrets = [await story.kubectl.secret(f"show-{identity}") for identity in ("alice", "bob")]
            async with Watched(story.kubectl, "secret", "show-alice") as secret, _enter(*secrets) as audience:
                ends = datetime.now(UTC).replace(microsecond=123000) + timedelta(seconds=8)
                # As a browser writes it.
                moment = ends.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                await _change(story, "show", expiresAt=moment)
                await audience.until("the audience to be put out", lambda guest: guest.disconnected == PUT_OUT, 30)
                assert datetime.now(UTC) >= ends, "it ended too early"
                await _gone(story, "show")
                # The first one, and the one that ends with the room.
                assert len(secret.seen(lambda s: s.manifest["data"]["token"])) <= 2
            # Nothing ends while somebody is in it.
            assert [await _people(board, name) for name in ("call", "lounge")] == [{"alice"}] * 2
        await _gone(story, "call")
        await _gone(story, "lounge")
        assert (await board.client.room.list_rooms(api.ListRoomsRequest())).rooms == []
    told = json.loads(await story.kubectl("get", "events", "--field-selector", "reason=RoomEnded", "--output", "json"))
    assert {event["involvedObject"]["name"]: event["message"] for event in told["items"]} == {
        "call": "The server closed the room.",
        "lounge": "Nobody was in the room for 1 s.",
        "show": f"The room was to end at {moment}.",
    }


@pytest.mark.timeout(180)
async def test_who_has_a_secret_is_let_in_and_who_loses_it_is_put_out_if_that_was_asked_for(story: Story) -> None:
    party = _room("party", "carol", generateTokens={"count": 3})
    party["spec"]["tokens"] += [
        {"identity": "alice", "secret": {"style": "Env"}},
        {"identity": "bob", "revoke": True},
    ]
    await story.kubectl.apply(server(**node_ports()), party)
    await story.ready("meetingroom", "party")
    everybody = ["alice", "bob", "carol", "guest-1", "guest-2", "guest-3"]
    assert await _secrets(story) == [f"party-{identity}" for identity in everybody]
    secrets = {identity: await story.kubectl.secret(f"party-{identity}") for identity in everybody}
    variables = secrets["alice"]
    assert variables.keys() == {
        "LIVEKIT_URL",
        "LIVEKIT_INTERNAL_URL",
        "LIVEKIT_TOKEN",
        "LIVEKIT_ROOM",
        "LIVEKIT_IDENTITY",
        "LIVEKIT_TOKEN_EXPIRES_AT",
    }
    secrets["alice"] = {name: variables[f"LIVEKIT_{name.upper()}"] for name in ("url", "token", "room", "identity")}
    async with switchboard(story) as board, _enter(*secrets.values()) as guests:
        await until("all in the room", lambda: _are_in(board, "party", *everybody), seconds=10)
        _, bob, *_ = guests.all
        party["spec"]["tokens"].remove({"identity": "bob", "revoke": True})
        party["spec"]["generateTokens"]["count"] = 2
        await story.kubectl.apply(party)
        await until("bob to be put out", lambda: _are_out(bob, reason="PARTICIPANT_REMOVED"), seconds=20)
        left = [identity for identity in everybody if identity not in ("bob", "guest-3")]
        await until("two Secrets to go", lambda: _are_secrets(story, [f"party-{name}" for name in left]), seconds=20)
        # Who is not to be put out stays, with a Secret or without.
        await until("bob to have left", lambda: _are_in(board, "party", "guest-3", *left), seconds=10)
        assert [guest.disconnected for guest in guests.all if guest is not bob] == [""] * 5

        # Hers is the first of many Secrets, and she waits for no other.
        await story.kubectl.apply(_room("rush", "alice", generateTokens={"count": 200}))
        async with enter(story, "rush") as alice:
            await story.ready("meetingroom", "rush")
            assert await _people(board, "rush") == {"alice"}
            assert alice.disconnected == ""


def _room(name: str, *identities: str, **spec: Any) -> Manifest:
    manifest = room(name, *identities)
    manifest["spec"] |= spec
    return manifest


async def _change(story: Story, name: str, **spec: Any) -> None:
    patch = json.dumps({"spec": spec})
    await story.kubectl("patch", "meetingroom", name, "--type", "merge", "--patch", patch)


def _app_token(url: str, key: Key, name: str, identity: str) -> dict[str, str]:
    """Return what an app makes by itself: with it the first to come makes the room."""
    grants = api.VideoGrants(room_join=True, room=name)
    token = api.AccessToken(key.id, key.secret).with_identity(identity).with_grants(grants).to_jwt()
    return {"url": url, "token": token, "room": name, "identity": identity}


def _enter(*secrets: Mapping[str, str]) -> Guests[Guest]:
    return Guests(Guest, secrets, within=0.0)


async def _listed(board: Switchboard, name: str) -> api.Room:
    (listed,) = (await board.client.room.list_rooms(api.ListRoomsRequest(names=[name]))).rooms
    return listed


async def _has_metadata(board: Switchboard, name: str, metadata: str) -> bool:
    return (await _listed(board, name)).metadata == metadata


async def _people(board: Switchboard, name: str) -> set[str]:
    answer = await board.client.room.list_participants(api.ListParticipantsRequest(room=name))
    return {person.identity for person in answer.participants}


async def _are_in(board: Switchboard, name: str, *identities: str) -> bool:
    return await _people(board, name) == set(identities)


async def _are_out(*guests: Guest, reason: str = PUT_OUT) -> bool:
    return all(guest.disconnected == reason for guest in guests)


async def _said(board: Switchboard, name: str) -> dict[str, str]:
    """Wait for the room's agent, and return what it says."""

    async def look() -> dict[str, str]:
        answer = await board.client.room.list_participants(api.ListParticipantsRequest(room=name))
        return next((dict(one.attributes) for one in answer.participants if "job" in one.attributes), {})

    said: dict[str, str] = await until(f"the agent of {name} to speak", look)
    return said


def _applied(state: Seen) -> str:
    """Return the id of a room that is ready and as its spec says, empty while it is not."""
    is_so = ready(state.manifest).get("status") == "True" and not state.condition("SettingsApplied")
    return str(state.status["sid"]) if is_so else ""


def _waits(state: Seen) -> bool:
    """Return whether the room says that it cannot be as its spec says now."""
    told = state.condition("SettingsApplied")
    current = told.get("observedGeneration") == state.manifest["metadata"]["generation"]
    return bool(current and (told["status"], told["reason"]) == ("False", "PendingRecreate"))


async def _secrets(story: Story) -> list[str]:
    """Return the names of the rooms' Secrets."""
    return sorted(str(secret["metadata"]["name"]) for secret in await story.kubectl.find("secrets", SECRETS))


async def _are_secrets(story: Story, names: list[str]) -> bool:
    return await _secrets(story) == names


async def _gone(story: Story, name: str) -> None:
    """Wait until a MeetingRoom and its Secrets are gone."""

    async def look() -> bool:
        rooms = {manifest["metadata"]["name"] for manifest in await story.kubectl.find("meetingroom")}
        return name not in rooms and not any(secret.startswith(f"{name}-") for secret in await _secrets(story))

    await until(f"room {name} and its Secrets to be gone", look, seconds=30)
