"""Children of a MeetingRoom: one Secret for each identity, and the token inside it."""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from livekit_operator.api.meetingroom import MeetingRoom, Role, Token
from livekit_operator.conditions import parse_timestamp, timestamp
from livekit_operator.constants import ANNOTATION_EXPIRES_AT, ANNOTATION_TOKEN_INPUTS
from livekit_operator.resources.metadata import (
    COMPONENT_ROOM,
    Manifest,
    digest,
    dns_name,
    opaque_secret,
    qualified_name,
)
from livekit_operator.views import RoomSettings

# A renewal after two thirds of a token's life leaves a third of it to an operator that is down.
RENEW_AFTER = 2 / 3
# A clock that is a little behind the operator's must not refuse a fresh token.
CLOCK_SKEW = timedelta(seconds=10)
# The server knows no "never" (0 means its default); ten years will do.
NEVER_SECONDS = 10 * 365 * 86400

_ROLE_GRANTS: dict[Role, dict[str, Any]] = {
    "Participant": {"canPublish": True, "canSubscribe": True, "canPublishData": True},
    "Broadcaster": {"canPublish": True, "canSubscribe": True, "canPublishData": True},
    "Viewer": {"canPublish": False, "canSubscribe": True, "canPublishData": False},
}


@dataclass(frozen=True)
class ServerKeys:
    """What a token is signed with, and what goes beside it into its Secret."""

    api_key: str
    api_secret: str
    internal_url: str
    external_url: str


def room_name(room: MeetingRoom) -> str:
    """Return the room's name on the server."""
    namespace = room.metadata.namespace
    name = room.spec.room_name or room.metadata.name
    return qualified_name(namespace, name, room.spec.server_ref.namespace or namespace)


def room_settings(room: MeetingRoom) -> RoomSettings:
    """Return what the room is made with. A room that no timeout is set for stays open as long as the resource does."""
    return RoomSettings(
        name=room_name(room),
        max_participants=room.spec.max_participants,
        empty_timeout=room.spec.empty_timeout_seconds or NEVER_SECONDS,
        departure_timeout=room.spec.departure_timeout_seconds or NEVER_SECONDS,
        metadata=room.spec.metadata or "",
    )


def secret_name(room: MeetingRoom, token: Token) -> str:
    """Return the name of the Secret of an identity, a different one for each identity."""
    return token.secret_name or f"{room.metadata.name}-{dns_name(token.identity, limit=190)}"


def claims(room: MeetingRoom, token: Token, api_key: str, *, now: datetime) -> dict[str, Any]:
    """Return the claims of an access token.

    Source: https://docs.livekit.io/home/get-started/authentication/ and livekit/protocol auth/grants.go
    """
    grant = {"roomJoin": True, "room": room_name(room), **_ROLE_GRANTS[token.role]}
    return {
        "iss": api_key,
        "sub": token.identity,
        "name": token.identity,
        "nbf": int((now - CLOCK_SKEW).timestamp()),
        "exp": int((now + timedelta(seconds=token.ttl_seconds)).timestamp()),
        "video": grant,
    }


def token_is_due(secret: Manifest | None, room: MeetingRoom, token: Token, keys: ServerKeys, now: datetime) -> bool:
    """Return whether a token must be minted: none there, changed by hand, other inputs, or near its end."""
    if secret is None:
        return True
    annotations = secret["metadata"].get("annotations") or {}
    try:
        text = base64.b64decode(secret["data"]["token"]).decode()
        expires = parse_timestamp(annotations[ANNOTATION_EXPIRES_AT])
    except (KeyError, TypeError, ValueError):
        return True
    if annotations.get(ANNOTATION_TOKEN_INPUTS) != _inputs_digest(room, token, keys, text):
        return True
    return now >= renewal_time(expires, token)


def renewal_time(expires: datetime, token: Token) -> datetime:
    """Return when a token with this expiry should be renewed."""
    return expires - timedelta(seconds=token.ttl_seconds * (1 - RENEW_AFTER))


def expiry(secret: Manifest) -> datetime:
    """Return when the token in a Secret expires."""
    return parse_timestamp(secret["metadata"]["annotations"][ANNOTATION_EXPIRES_AT])


def build_token_secret(room: MeetingRoom, token: Token, keys: ServerKeys, *, now: datetime) -> Manifest:
    """Return the Secret with a new token."""
    payload = claims(room, token, keys.api_key, now=now)
    text = jwt.encode(payload, keys.api_secret, algorithm="HS256")
    expires_at = timestamp(now + timedelta(seconds=token.ttl_seconds))
    return _secret(room, token, keys, text, expires_at)


def keep_token_secret(room: MeetingRoom, token: Token, keys: ServerKeys, secret: Manifest) -> Manifest:
    """Return the Secret as it should be, with the token it has."""
    text = base64.b64decode(secret["data"]["token"]).decode()
    return _secret(room, token, keys, text, secret["metadata"]["annotations"][ANNOTATION_EXPIRES_AT])


def _secret(room: MeetingRoom, token: Token, keys: ServerKeys, text: str, expires_at: str) -> Manifest:
    values = {
        "url": keys.external_url,
        "internalUrl": keys.internal_url,
        "token": text,
        "room": room_name(room),
        "identity": token.identity,
        "expiresAt": expires_at,
    }
    manifest = opaque_secret(room, COMPONENT_ROOM, secret_name(room, token), values)
    manifest["metadata"]["annotations"] = {
        ANNOTATION_EXPIRES_AT: expires_at,
        ANNOTATION_TOKEN_INPUTS: _inputs_digest(room, token, keys, text),
    }
    return manifest


def _inputs_digest(room: MeetingRoom, token: Token, keys: ServerKeys, text: str) -> str:
    # Short on purpose: enough to see a change, too little to test guesses of a key against.
    inputs = [room_name(room), token.identity, token.role, token.ttl_seconds, keys.api_key, digest(keys.api_secret, 8)]
    return f"{digest(inputs)}-{digest(text)}"
