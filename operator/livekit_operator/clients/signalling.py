"""Joining a room by signalling alone, which has livekit-server store the room in its Redis.

The server joins whoever asks at /rtc before it answers, then stores participant and room, then sends a token to come
back with (pkg/service/roommanager.go StartSession, rtcSessionWorker): so with that token the room is stored. Whoever
never connects further is gone with the websocket (pkg/rtc/participant.go HandleSignalSourceClose).
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
from livekit import api
from livekit.protocol.rtc import SignalResponse

from livekit_operator.clients import strangers

_LIMITS = aiohttp.ClientTimeout(total=5, sock_connect=3)
_STORED_SECONDS = 5.0
_ENDED_SECONDS = 1.0
_TOKEN_LIFE = timedelta(seconds=60)
# The first message has everybody in the room: some thousands of them, as of a listing of participants.
_MAX_MESSAGE_BYTES = 8 * 1024 * 1024
# Before the token come the room's first messages: two or three.
_MOST_MESSAGES = 50
# A version of the protocol that every server of today speaks (livekit-server pkg/rtc/types/protocol_version.go).
_QUERY = "protocol=9&auto_subscribe=0"


@dataclass(frozen=True)
class Stay:
    """That of somebody who joined the room with this id."""

    sid: str
    talk: aiohttp.ClientWebSocketResponse

    async def ends(self) -> bool:
        """Return whether the server ends it within a second, as it does when it closes the room."""
        try:
            async with asyncio.timeout(_ENDED_SECONDS):
                for _ in range(_MOST_MESSAGES):
                    if (await self.talk.receive()).type is not aiohttp.WSMsgType.BINARY:
                        return True
        except TimeoutError:
            pass
        return False


@asynccontextmanager
async def joined(root: str, key: tuple[str, str], room: str, identity: str | None = None) -> AsyncIterator[Stay]:
    """Be in a room that its server has stored; `root` is the server's URL, `key` its API key and secret.

    Whoever has that identity is thrown out; without one it is nobody's. The server makes a room that it does not have.
    Raises TimeoutError, ValueError and errors of aiohttp's.
    """
    headers = {"Authorization": f"Bearer {_token(key, room, identity or f'livekit-operator-{uuid.uuid4().hex[:12]}')}"}
    async with asyncio.timeout(_STORED_SECONDS) as limit:
        async with strangers.talking(_LIMITS, f"{root}/rtc?{_QUERY}", _MAX_MESSAGE_BYTES, headers) as talk:
            sid = await _stored(talk)
            limit.reschedule(None)
            yield Stay(sid, talk)


async def _stored(talk: aiohttp.ClientWebSocketResponse) -> str:
    """Return the id of the room that was joined, once it is stored."""
    sid = ""
    for _ in range(_MOST_MESSAGES):
        message = await talk.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise ValueError("it ends the signalling of whoever joins")
        told = SignalResponse.FromString(message.data)
        sid = told.join.room.sid or sid
        if told.HasField("refresh_token"):
            return sid
    raise ValueError(f"it tells whoever joins more than {_MOST_MESSAGES} things")


def _token(key: tuple[str, str], room: str, identity: str) -> str:
    grants = api.VideoGrants(
        room_join=True,
        room=room,
        # Without it a server that makes rooms only when asked to looks for this one in its Redis.
        room_create=True,
        can_publish=False,
        can_publish_data=False,
        can_subscribe=False,
    )
    # A full room lets an agent in, and neither its people nor their agent takes it for a person.
    token = api.AccessToken(*key).with_ttl(_TOKEN_LIFE).with_identity(identity).with_kind("agent")
    return token.with_grants(grants).to_jwt()
