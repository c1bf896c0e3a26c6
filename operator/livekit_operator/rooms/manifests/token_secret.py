"""Token Secrets of a MeetingRoom: one for each identity, and the token inside it."""

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
from jwt.types import Options

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.api.tokens import RoomConfiguration
from livekit_operator.constants import (
    ANNOTATION_EXPIRES_AT,
    ANNOTATION_GIVEN,
    ANNOTATION_REVOKES,
    ANNOTATION_TOKEN_INPUTS,
)
from livekit_operator.manifests.metadata import COMPONENT_ROOM, Manifest, digest, labels, opaque_secret, read_json
from livekit_operator.moments import parse_timestamp, timestamp
from livekit_operator.rooms.decisions.entries import Entry, dumped
from livekit_operator.rooms.decisions.settings import room_name
from livekit_operator.servers.manifests.keys import ServerKeys

# With a renewal after two thirds of a token's life the operator may be down for a third of it.
RENEW_AFTER = 2 / 3
# Tokens made together are renewed one after the other, within this part of their life before that.
RENEWAL_SPREAD = 1 / 10
# A token Secret has six keys at most, and tokens with all that LiveKit takes are far below this many characters.
_MOST_KEYS = 16
_MOST_TOKEN_LENGTH = 2**20
# A fresh token must be valid on a server whose clock is behind: the server itself allows a minute (auth/verifier.go).
CLOCK_SKEW = timedelta(seconds=60)


def claims(room: MeetingRoom, entry: Entry, api_key: str, *, now: datetime) -> dict[str, Any]:
    """Return the claims of an access token.

    Source: https://docs.livekit.io/home/get-started/authentication/ and livekit/protocol auth/grants.go
    """
    return {
        "iss": api_key,
        "sub": entry.identity,
        "nbf": int(_valid_from(entry, now).timestamp()),
        "exp": int(_end_of_life(entry, now).timestamp()),
        **_content(room, entry),
    }


def _content(room: MeetingRoom, entry: Entry) -> dict[str, Any]:
    """Return the claims that are the same in every token of an entry."""
    options, configuration = entry.options, entry.options.room_configuration
    optional = {
        "kind": "agent" if entry.role == "Agent" else None,
        "metadata": options.metadata,
        "attributes": options.attributes,
        "sip": dumped(options.sip) if options.sip else None,
        "roomPreset": configuration.preset if configuration else None,
        "roomConfig": _room_configuration(configuration) if configuration else None,
    }
    return {
        "name": entry.name,
        "video": {"room": room_name(room), **entry.grants},
        **{claim: value for claim, value in optional.items() if value},
    }


def _room_configuration(configuration: RoomConfiguration) -> dict[str, Any]:
    delay = configuration.playout_delay
    values = {
        "maxParticipants": configuration.max_participants,
        "emptyTimeout": configuration.empty_timeout_seconds,
        "departureTimeout": configuration.departure_timeout_seconds,
        "metadata": configuration.metadata,
        "minPlayoutDelay": delay.min_ms if delay else None,
        "maxPlayoutDelay": delay.max_ms if delay else None,
        "syncStreams": configuration.sync_streams,
        "agents": [dumped(agent) for agent in configuration.agents],
    }
    return {name: value for name, value in values.items() if value}


def _begins(entry: Entry) -> datetime | None:
    return parse_timestamp(entry.options.not_before) if entry.options.not_before else None


def _valid_from(entry: Entry, now: datetime) -> datetime:
    """Return since when a token made now is valid."""
    begins = _begins(entry)
    return now - CLOCK_SKEW if begins is None else max(now - CLOCK_SKEW, begins)


def _end_of_life(entry: Entry, now: datetime) -> datetime:
    """Return when a token made now expires."""
    begins = _begins(entry)
    end = (max(now, begins) if begins else now) + entry.life
    return min(end, entry.ends) if entry.ends else end


def renewal_time(room: MeetingRoom, entry: Entry, expires: datetime) -> datetime | None:
    """Return when a token with this expiry should be renewed; None for one that lives as long as its room.

    Two thirds of its life, or a little before: a fixed share of the spread for each identity of each room.
    """
    if entry.ends and expires >= entry.ends:
        return None
    share = int(digest([room.metadata.uid, entry.identity], 8), 16) / 16**8
    return expires - entry.life * (1 - RENEW_AFTER + RENEWAL_SPREAD * share)


def token_is_due(secret: Manifest | None, room: MeetingRoom, entry: Entry, keys: ServerKeys, now: datetime) -> bool:
    """Return whether a token must be minted.

    None is there, it was changed by hand, it has other inputs, it is near its end, or the clock was ahead when it was
    made: then it begins only when the clock says that again.
    """
    if secret is None:
        return True
    annotations = secret["metadata"].get("annotations") or {}
    try:
        text = _token_in(secret, entry)
        told = annotations[ANNOTATION_EXPIRES_AT]
    except (KeyError, TypeError, ValueError):
        return True
    if annotations.get(ANNOTATION_TOKEN_INPUTS) != _inputs_digest(room, entry, keys, text, told):
        return True
    try:
        due = renewal_time(room, entry, parse_timestamp(told))
        ahead = _claims_in(text)["nbf"] - _valid_from(entry, now).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, jwt.InvalidTokenError):
        return True
    return ahead > CLOCK_SKEW.total_seconds() or (due is not None and now >= due)


def _token_in(secret: Manifest, entry: Entry) -> str:
    return base64.b64decode(secret["data"][entry.keys["token"]]).decode()


def _claims_in(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def identity_in(secret: Manifest, entry: Entry) -> str | None:
    """Return the identity of the token in a Secret, None when the entry's key has no token."""
    try:
        claims = _claims_in(_token_in(secret, entry))
    except (KeyError, TypeError, ValueError, RecursionError, jwt.InvalidTokenError):
        return None
    return str(claims.get("sub"))


def expiry(secret: Manifest) -> datetime:
    """Return when the token in a Secret expires."""
    return parse_timestamp(secret["metadata"]["annotations"][ANNOTATION_EXPIRES_AT])


def build_token_secret(room: MeetingRoom, entry: Entry, keys: ServerKeys, *, now: datetime) -> Manifest:
    """Return the Secret with a new token."""
    text = jwt.encode(claims(room, entry, keys.api_key, now=now), keys.api_secret, algorithm="HS256")
    return _secret(room, entry, keys, text, timestamp(_end_of_life(entry, now)))


def keep_token_secret(room: MeetingRoom, entry: Entry, keys: ServerKeys, secret: Manifest) -> Manifest:
    """Return the Secret as it should be, with the token it has."""
    return _secret(
        room, entry, keys, _token_in(secret, entry), secret["metadata"]["annotations"][ANNOTATION_EXPIRES_AT]
    )


def _secret(room: MeetingRoom, entry: Entry, keys: ServerKeys, text: str, expires_at: str) -> Manifest:
    values = {
        "url": keys.external_url,
        "internalUrl": keys.internal_url,
        "token": text,
        "room": room_name(room),
        "identity": entry.identity,
        "expiresAt": expires_at,
    }
    data = {key: values[value] for value, key in entry.keys.items()}
    manifest = opaque_secret(room, COMPONENT_ROOM, entry.secret_name, data)
    metadata, given = manifest["metadata"], entry.options.secret
    annotations = {
        ANNOTATION_EXPIRES_AT: expires_at,
        ANNOTATION_TOKEN_INPUTS: _inputs_digest(room, entry, keys, text, expires_at),
    }
    if entry.options.revoke:
        annotations[ANNOTATION_REVOKES] = entry.identity
    if given and (given.labels or given.annotations):
        annotations[ANNOTATION_GIVEN] = json.dumps([sorted(given.labels), sorted(given.annotations)])
        metadata["labels"] = {**given.labels, **metadata["labels"]}
    metadata["annotations"] = {**(given.annotations if given else {}), **annotations}
    return manifest


def left_over(room: MeetingRoom, entry: Entry, known: Manifest) -> Manifest:
    """Return the merge patch that removes from a token Secret what its entry no longer wants in it; may be empty."""
    metadata, wanted = known["metadata"], _names_wanted(room, entry)
    annotations = metadata.get("annotations") or {}
    given_labels, given = _names_given(annotations)
    ours = {"labels": given_labels, "annotations": {*given, ANNOTATION_GIVEN, ANNOTATION_REVOKES}}
    stale = {
        part: dict.fromkeys(sorted(names & (metadata.get(part) or {}).keys() - wanted[part]))
        for part, names in ours.items()
    }
    data = dict.fromkeys(sorted((known.get("data") or {}).keys() - set(entry.keys.values())))
    patch: Manifest = {"metadata": {part: names for part, names in stale.items() if names}, "data": data}
    return {part: names for part, names in patch.items() if names}


def _names_wanted(room: MeetingRoom, entry: Entry) -> dict[str, set[str]]:
    """Return the names of labels and annotations that an entry's Secret is to have."""
    given, annotations = entry.options.secret, {ANNOTATION_EXPIRES_AT, ANNOTATION_TOKEN_INPUTS}
    if entry.options.revoke:
        annotations.add(ANNOTATION_REVOKES)
    if not given or not (given.labels or given.annotations):
        return {"labels": {*labels(room, COMPONENT_ROOM)}, "annotations": annotations}
    return {
        "labels": {*given.labels, *labels(room, COMPONENT_ROOM)},
        "annotations": {*given.annotations, *annotations, ANNOTATION_GIVEN},
    }


def _names_given(annotations: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Return the names of labels and annotations that a Secret has from its entry."""
    if not (text := annotations.get(ANNOTATION_GIVEN)):
        return set(), set()
    try:
        given_labels, given = read_json(text)
        return {str(name) for name in given_labels}, {str(name) for name in given}
    except (TypeError, ValueError):
        return set(), set()  # changed by hand


def revoked_identity(room: MeetingRoom, secret: Manifest, api_secrets: Iterable[str]) -> str | None:
    """Return whom to remove from the room when this Secret is not wanted any more.

    Its token proves that the operator made it: it is signed with one of these, and lets this very one into this room.
    """
    identity = (secret["metadata"].get("annotations") or {}).get(ANNOTATION_REVOKES)
    texts = list((secret.get("data") or {}).values())[:_MOST_KEYS] if identity else []
    lets_in = any(_lets_in(room, str(identity), text, api_secret) for text in texts for api_secret in api_secrets)
    return str(identity) if lets_in else None


def _lets_in(room: MeetingRoom, identity: str, encoded: str, api_secret: str) -> bool:
    if len(encoded) > _MOST_TOKEN_LENGTH:
        return False
    # It may have expired: only who signed it counts.
    options: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    try:
        token = base64.b64decode(encoded, validate=True)
        claims = jwt.decode(token, api_secret, algorithms=["HS256"], options=options)
    except (TypeError, ValueError, RecursionError, jwt.InvalidTokenError):
        return False
    grants = claims.get("video")
    return claims.get("sub") == identity and isinstance(grants, dict) and grants.get("room") == room_name(room)


def _inputs_digest(room: MeetingRoom, entry: Entry, keys: ServerKeys, text: str, expires_at: str) -> str:
    options = entry.options
    ends = timestamp(entry.ends) if entry.ends else None
    inputs = [_content(room, entry), options.ttl_seconds, options.not_before, ends, keys.fingerprint]
    return f"{digest(inputs)}-{digest([text, expires_at])}"
