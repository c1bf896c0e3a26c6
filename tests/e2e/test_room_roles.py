"""Each role can do what its row in docs/rooms.md says and nothing else, tried by LiveKit's own client and its API."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from typing import Any

import pytest
from livekit import api

from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import SERVER
from tests.harness.visitors import Refused, Visitor

ROOM, OTHER_ROOM = "stage", "elsewhere"
WITNESS, VICTIM, NEW_NAME = "witness", "victim", "another name"


@dataclass(frozen=True)
class May:
    """What somebody may do."""

    speak: bool = True
    share_screen: bool = True
    listen: bool = True
    send: bool = True
    rename: bool = False
    """Change one's own name, attributes and metadata."""
    administer: bool = False
    """Remove, mute and list others, change their permissions and the room's metadata."""
    rule: bool = False
    """List the server's rooms and make new ones."""


ROLES = {
    "Participant": May(),
    "Broadcaster": May(),
    "Guest": May(share_screen=False),
    "Viewer": May(speak=False, share_screen=False, send=False),
    "Agent": May(rename=True),
    "Moderator": May(administer=True),
}
# Each grant the other way than the role has it; `clerk` shows that what all the others are refused can be done at all.
GRANTS: dict[str, tuple[str, Manifest, May]] = {
    "fields": (
        "Viewer",
        {
            "canPublish": True,
            "canPublishSources": ["screen_share"],
            "canSubscribe": False,
            "canPublishData": True,
            "canUpdateOwnMetadata": True,
        },
        May(speak=False, listen=False, rename=True),
    ),
    "clerk": (
        "Participant",
        {"canPublish": False, "canPublishData": False, "roomList": True, "roomCreate": True, "hidden": True},
        May(speak=False, share_screen=False, send=False, rule=True),
    ),
}
EXPECTED = {role.lower(): may for role, may in ROLES.items()} | {name: may for name, (_, _, may) in GRANTS.items()}
HERTZ = {identity: 400 + 160 * number for number, identity in enumerate((WITNESS, VICTIM, *EXPECTED))}


def stage() -> Manifest:
    """Return a room with a token for each role, for each set of grants, and for those who watch."""
    tokens: list[Manifest] = [{"identity": role.lower(), "role": role} for role in ROLES]
    tokens += [{"identity": name, "role": role, "grants": grants} for name, (role, grants, _) in GRANTS.items()]
    tokens += [{"identity": WITNESS}, {"identity": VICTIM, "role": "Viewer"}]
    return _room(ROOM, tokens)


def _room(name: str, tokens: list[Manifest]) -> Manifest:
    spec = {"serverRef": {"name": SERVER}, "maxParticipants": 20, "tokens": tokens}
    metadata = {"name": name}
    return {"apiVersion": "livekit-operator.dev/v1alpha1", "kind": "MeetingRoom", "metadata": metadata, "spec": spec}


@pytest.mark.timeout(180)
async def test_each_role_can_do_what_it_may_and_no_more(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports()), stage(), _room(OTHER_ROOM, []))
    await story.ready("meetingroom", ROOM, OTHER_ROOM)
    identities = (*EXPECTED, WITNESS, VICTIM)
    found = await asyncio.gather(*(story.kubectl.secret(f"{ROOM}-{identity}") for identity in identities))
    secrets = dict(zip(identities, found, strict=True))
    async with AsyncExitStack() as stack:
        # All to all would be too much for a small machine: who is no witness listens to the witness alone.
        come = [
            stack.enter_async_context(Visitor(secret, HERTZ, None if identity == WITNESS else {WITNESS}))
            for identity, secret in secrets.items()
        ]
        visitors = dict(zip(secrets, await asyncio.gather(*come), strict=True))
        witness, victim = visitors[WITNESS], visitors[VICTIM]
        people = {identity: visitors[identity] for identity in EXPECTED}
        assert {identity: _told(visitor) for identity, visitor in people.items()} == {
            identity: (may.speak or may.share_screen, may.listen, may.send, may.rename)
            for identity, may in EXPECTED.items()
        }

        await witness.speak()
        done = await asyncio.gather(*(_try_all(visitor) for visitor in people.values()))
        tried = dict(zip(people, done, strict=True))
        await until("the witness to hear and see those who may", lambda: _has(witness, people), seconds=30)
        await until("the witness to be told by those who may", lambda: _is_told(witness, people), seconds=20)
        # Refusals are silent: what was to come has come by now, and nothing else has.
        outcome = {
            identity: May(
                speak=tried[identity]["speak"] and identity in witness.heard,
                share_screen=tried[identity]["share_screen"] and identity in witness.seen,
                listen=WITNESS in visitor.heard,
                send=identity in witness.told,
                rename=witness.others.get(identity) == NEW_NAME,
                administer=await _may_administer(secrets[identity]),
                rule=await _may_rule(secrets[identity], story.kubectl.namespace),
            )
            for identity, visitor in people.items()
        }
        for identity, may in outcome.items():
            print(f"{identity:12}", *(field.name for field in fields(may) if getattr(may, field.name)))
        assert outcome == EXPECTED
        assert witness.heard | witness.seen == _those(lambda may: may.speak or may.share_screen)
        assert witness.told == _those(lambda may: may.send)
        assert witness.others.keys() == {*EXPECTED, VICTIM} - {"clerk"}, "who is hidden is seen by nobody"
        assert await _tracks(secrets["moderator"]) == {
            identity: (may.speak, may.share_screen) for identity, may in EXPECTED.items() if identity != "clerk"
        } | {WITNESS: (True, False), VICTIM: (False, False)}

        # The agent is no participant: it counts for nothing, and keeps no room open.
        async def counted() -> bool:
            status = (await story.kubectl.get("meetingroom", ROOM))["status"]
            return bool({WITNESS, VICTIM} <= set(status["participantIdentities"]) and status["participants"])

        await until("the room's status to tell who is there", counted, seconds=20)
        shown = (await story.kubectl.get("meetingroom", ROOM))["status"]["participantIdentities"]
        assert "agent" not in shown

        assert victim.put_out == ""
        async with api.LiveKitAPI(secrets["moderator"]["url"], token=secrets["moderator"]["token"]) as client:
            await client.room.remove_participant(api.RoomParticipantIdentity(room=ROOM, identity=VICTIM))
        await until("the victim to be put out", lambda: _is_out(victim), seconds=10)
        assert victim.put_out == "PARTICIPANT_REMOVED"


def _told(visitor: Visitor) -> tuple[bool, bool, bool, bool]:
    """Return what the server tells somebody of their permissions."""
    told = visitor.permissions
    return told.can_publish, told.can_subscribe, told.can_publish_data, told.can_update_metadata


async def _try_all(visitor: Visitor) -> dict[str, bool]:
    """Try to speak, share a screen and change the name; return what was not refused."""
    actions: Mapping[str, Callable[[], Awaitable[None]]] = {
        "speak": visitor.speak,
        "share_screen": visitor.share_screen,
        "rename": lambda: visitor.rename(NEW_NAME),
    }
    done = await asyncio.gather(*(_succeeds(action) for action in actions.values()))
    return dict(zip(actions, done, strict=True))


async def _succeeds(action: Callable[[], Awaitable[Any]]) -> bool:
    """Return whether it was done; a client gives up after ten seconds what the server refuses without a word."""
    try:
        await action()
    except Refused:
        return False
    return True


async def _has(witness: Visitor, people: Mapping[str, Visitor]) -> bool:
    """Whether all has come that is to come."""
    listeners = {identity for identity, visitor in people.items() if WITNESS in visitor.heard}
    return (
        witness.heard >= _those(lambda may: may.speak)
        and witness.seen >= _those(lambda may: may.share_screen)
        and {identity for identity, name in witness.others.items() if name == NEW_NAME} >= _those(lambda m: m.rename)
        and listeners >= _those(lambda may: may.listen)
    )


async def _is_told(witness: Visitor, people: Mapping[str, Visitor]) -> bool:
    """Have everybody send data, again and again: it is lost where the connection for it is not there yet."""
    await asyncio.gather(*(visitor.send("hello") for visitor in people.values()))
    return witness.told >= _those(lambda may: may.send)


def _those(condition: Callable[[May], bool]) -> set[str]:
    return {identity for identity, may in EXPECTED.items() if condition(may)}


async def _may_administer(secret: Mapping[str, str]) -> bool:
    """Return whether a token administers its room: all of it or nothing, and never another room."""
    async with api.LiveKitAPI(secret["url"], token=secret["token"]) as client:
        for room in (ROOM, OTHER_ROOM):
            nobody = api.RoomParticipantIdentity(room=room, identity="nobody")
            change = api.UpdateParticipantRequest(room=room, identity=WITNESS, name="renamed")
            metadata = api.UpdateRoomMetadataRequest(room=room, metadata="changed")
            answers = [
                await _status(lambda: client.room.list_participants(api.ListParticipantsRequest(room=room))),  # noqa: B023
                await _status(lambda: client.room.update_participant(change)),  # noqa: B023
                await _status(lambda: client.room.update_room_metadata(metadata)),  # noqa: B023
                await _status(lambda: client.room.remove_participant(nobody)),  # noqa: B023
            ]
            if answers == [401] * 4 and room == ROOM:
                return False
            assert answers == ([200, 200, 200, 404] if room == ROOM else [401] * 4)
    return True


async def _may_rule(secret: Mapping[str, str], name: str) -> bool:
    """Return whether a token rules the server: lists its rooms, makes and deletes them; all of it or nothing."""
    async with api.LiveKitAPI(secret["url"], token=secret["token"]) as client:
        answers = [
            await _status(lambda: client.room.list_rooms(api.ListRoomsRequest())),
            await _status(lambda: client.room.create_room(api.CreateRoomRequest(name=name))),
            await _status(lambda: client.room.delete_room(api.DeleteRoomRequest(room=name))),
        ]
    assert answers in ([401] * 3, [200] * 3), answers
    return answers == [200] * 3


async def _status(ask: Callable[[], Awaitable[Any]]) -> int:
    try:
        await ask()
    except api.ServerError as error:
        return int(error.status)
    return 200


async def _tracks(secret: Mapping[str, str]) -> dict[str, tuple[bool, bool]]:
    """Return who publishes a microphone and a screen, as the server says to a moderator."""
    async with api.LiveKitAPI(secret["url"], token=secret["token"]) as client:
        answer = await client.room.list_participants(api.ListParticipantsRequest(room=ROOM))
    sources = {p.identity: {track.source for track in p.tracks} for p in answer.participants if p.identity != "clerk"}
    return {
        identity: (api.TrackSource.MICROPHONE in found, api.TrackSource.SCREEN_SHARE in found)
        for identity, found in sources.items()
    }


async def _is_out(visitor: Visitor) -> bool:
    return bool(visitor.put_out)
