"""Token Secrets of a MeetingRoom: one for each identity, and the token inside it."""

import base64
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import jwt

from livekit_operator.api.base import ApiModel
from livekit_operator.api.meetingroom import MeetingRoom, RoomKind
from livekit_operator.api.tokens import Role, RoomConfiguration, TokenOptions
from livekit_operator.conditions import parse_timestamp, timestamp
from livekit_operator.constants import (
    ANNOTATION_EXPIRES_AT,
    ANNOTATION_GIVEN,
    ANNOTATION_REVOKES,
    ANNOTATION_TOKEN_INPUTS,
    GROUP,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
)
from livekit_operator.resources.meetingroom import (
    Limits,
    ServerKeys,
    beyond_attributes,
    beyond_bytes,
    room_name,
)
from livekit_operator.resources.metadata import COMPONENT_ROOM, Manifest, digest, dns_name, opaque_secret

# A renewal after two thirds of a token's life leaves a third of it to an operator that is down.
RENEW_AFTER = 2 / 3
# Tokens made together are renewed one after the other, within this part of their life before that.
RENEWAL_SPREAD = 1 / 10
# A fresh token must pass on a server whose clock is behind: the server itself allows a minute (auth/verifier.go).
CLOCK_SKEW = timedelta(seconds=60)

_MEMBER = {"canPublish": True, "canSubscribe": True, "canPublishData": True}
_ROLE_GRANTS: dict[Role, dict[str, Any]] = {
    "Participant": _MEMBER,
    "Broadcaster": _MEMBER,
    "Viewer": {"canPublish": False, "canSubscribe": True, "canPublishData": False},
    "Guest": {**_MEMBER, "canPublishSources": ["camera", "microphone"]},
    "Agent": {**_MEMBER, "canUpdateOwnMetadata": True},
    "Moderator": {**_MEMBER, "roomAdmin": True},
}
_LISTED_ROLES: dict[RoomKind, Role] = {"Meeting": "Participant", "LiveStream": "Viewer", "VoiceAgent": "Participant"}
_GENERATED_ROLES: dict[RoomKind, Role] = {"Meeting": "Guest", "LiveStream": "Viewer", "VoiceAgent": "Guest"}
# What reaches beyond the room: rooms, jobs and calls of everybody on the server.
_SERVER_WIDE = ("roomCreate", "roomList", "roomRecord", "ingressAdmin", "agent", "destinationRoom")

_KEYS = {name: name for name in ("url", "internalUrl", "token", "room", "identity", "expiresAt")}
_ENV_KEYS = {
    "url": "LIVEKIT_URL",
    "internalUrl": "LIVEKIT_INTERNAL_URL",
    "token": "LIVEKIT_TOKEN",
    "room": "LIVEKIT_ROOM",
    "identity": "LIVEKIT_IDENTITY",
    "expiresAt": "LIVEKIT_TOKEN_EXPIRES_AT",
}
_OWN_LABELS = (LABEL_MANAGED_BY, LABEL_NAME, LABEL_INSTANCE, LABEL_COMPONENT)
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_METADATA_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Entry:
    """One identity of a room, listed or generated; `path` is where the spec speaks of it."""

    identity: str
    name: str
    secret_name: str
    role: Role
    options: TokenOptions
    path: str
    ends: datetime | None = None
    """When the room ends, and every token with it."""

    @cached_property
    def grants(self) -> dict[str, Any]:
        """Return what the token permits, the room's name left out."""
        given = _dumped(self.options.grants) if self.options.grants else {}
        if given.get("canPublishSources"):
            given.setdefault("canPublish", True)
        return {"roomJoin": True, **_ROLE_GRANTS[self.role], **given}

    @property
    def life(self) -> timedelta:
        """Return how long a token lives."""
        return timedelta(seconds=self.options.ttl_seconds)

    @property
    def keys(self) -> dict[str, str]:
        """Return the keys of the Secret: value -> key."""
        secret = self.options.secret
        if secret and secret.keys:
            return _dumped(secret.keys)
        return _ENV_KEYS if secret and secret.style == "Env" else _KEYS


def entries(room: MeetingRoom) -> list[Entry]:
    """Return the identities of a room, each with the name of its Secret: a different one for each.

    Only a name that the user gave can be somebody else's as well.
    """
    spec, ends = room.spec, parse_timestamp(room.spec.expires_at) if room.spec.expires_at else None
    usual = _LISTED_ROLES[spec.kind]
    names = _secret_names(room)
    found = [
        Entry(
            t.identity, t.name or t.identity, t.secret_name or names[t.identity], t.role or usual, t,
            f"spec.tokens[{n}]", ends,
        )
        for n, t in enumerate(spec.tokens)
    ]  # fmt: skip
    if many := spec.generate_tokens:
        role = many.role or _GENERATED_ROLES[spec.kind]
        found += [
            Entry(identity, identity, names[identity], role, many, "spec.generateTokens", ends)
            for identity in _generated(room)
        ]
    return found


def _generated(room: MeetingRoom) -> list[str]:
    many = room.spec.generate_tokens
    return [f"{many.identity_prefix}{n}" for n in range(1, many.count + 1)] if many else []


def _secret_names(room: MeetingRoom) -> dict[str, str]:
    """Return identity -> name of its Secret, for those that are given none."""
    identities = [token.identity for token in room.spec.tokens if token.secret_name is None] + _generated(room)
    names = {identity: dns_name(identity, limit=190) for identity in identities}
    taken = Counter(names.values())
    # An identity may look like the name that was made for another one: it has its own, the other a longer digest.
    for identity, name in names.items():
        if taken[name] > 1 and identity != name:
            names[identity] = f"{name}-{digest(identity, 16)}"
    return {identity: f"{room.metadata.name}-{name}" for identity, name in names.items()}


def problem_of(room: MeetingRoom, entry: Entry, limits: Limits) -> tuple[str, str] | None:
    """Return reason and message of why an entry gets no token; None when it does."""
    if _is_of_another_namespace(room) and (beyond := _server_wide(entry)):
        message = (
            f"{entry.path} asks for {', '.join(beyond)}, which reaches beyond the room: only rooms in the "
            f"namespace of the LiveKitServer may give that away."
        )
        return "GrantNotAllowed", message
    if problem := _refused_by_server(entry, limits):
        return "ServerLimitExceeded", problem
    if name := next((name for name in _given_names(entry) if not _METADATA_NAME.fullmatch(name)), None):
        return "InvalidSecret", f"{entry.path}.secret: Kubernetes takes no label or annotation named {name!r}."
    if name := next((name for name in _given_names(entry) if _is_reserved(name)), None):
        return "InvalidSecret", f"{entry.path}.secret: the label or annotation {name} is the operator's own."
    return None


def _is_of_another_namespace(room: MeetingRoom) -> bool:
    return room.spec.server_ref.namespace not in (None, room.metadata.namespace)


def _server_wide(entry: Entry) -> list[str]:
    beyond = [f"grants.{name}" for name in _SERVER_WIDE if entry.grants.get(name)]
    sip = entry.options.sip
    return beyond + ([f"sip.{name}" for name, value in _dumped(sip).items() if value] if sip else [])


def _refused_by_server(entry: Entry, limits: Limits) -> str | None:
    options, configuration = entry.options, entry.options.room_configuration
    metadata = [(f"{entry.path}.metadata", options.metadata)]
    attributes = [(f"{entry.path}.attributes", options.attributes)]
    if configuration:
        metadata.append((f"{entry.path}.roomConfiguration.metadata", configuration.metadata))
        for n, agent in enumerate(configuration.agents):
            path = f"{entry.path}.roomConfiguration.agents[{n}]"
            metadata.append((f"{path}.metadata", agent.metadata))
            attributes.append((f"{path}.attributes", agent.attributes))
    problems = [
        beyond_bytes(f"{entry.path}.identity", entry.identity, limits.identity),
        beyond_bytes(f"{entry.path}.name", entry.name, limits.participant_name),
        *(beyond_bytes(path, text, limits.metadata) for path, text in metadata),
        *(beyond_attributes(path, values, limits) for path, values in attributes),
    ]
    return next((problem for problem in problems if problem), None)


def claims(room: MeetingRoom, entry: Entry, api_key: str, *, now: datetime) -> dict[str, Any]:
    """Return the claims of an access token.

    Source: https://docs.livekit.io/home/get-started/authentication/ and livekit/protocol auth/grants.go
    """
    begins = _begins(entry)
    moment = now - CLOCK_SKEW if begins is None else max(now - CLOCK_SKEW, begins)
    return {
        "iss": api_key,
        "sub": entry.identity,
        "nbf": int(moment.timestamp()),
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
        "sip": _dumped(options.sip) if options.sip else None,
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
        "agents": [_dumped(agent) for agent in configuration.agents],
    }
    return {name: value for name, value in values.items() if value}


def _dumped(model: ApiModel) -> dict[str, Any]:
    dumped: dict[str, Any] = model.model_dump(by_alias=True, exclude_none=True)
    return dumped


def _begins(entry: Entry) -> datetime | None:
    return parse_timestamp(entry.options.not_before) if entry.options.not_before else None


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
    """Return whether a token must be minted: none there, changed by hand, other inputs, or near its end."""
    if secret is None:
        return True
    annotations = secret["metadata"].get("annotations") or {}
    try:
        text = _token_in(secret, entry)
        told = annotations[ANNOTATION_EXPIRES_AT]
        expires = parse_timestamp(told)
    except (KeyError, TypeError, ValueError):
        return True
    if annotations.get(ANNOTATION_TOKEN_INPUTS) != _inputs_digest(room, entry, keys, text, told):
        return True
    due = renewal_time(room, entry, expires)
    return due is not None and now >= due


def _token_in(secret: Manifest, entry: Entry) -> str:
    return base64.b64decode(secret["data"][entry.keys["token"]]).decode()


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


def left_over(known: Manifest, desired: Manifest) -> Manifest:
    """Return the merge patch that takes from a token Secret what is no longer wanted of it; empty when nothing is."""
    metadata, wanted = known["metadata"], desired["metadata"]
    annotations = metadata.get("annotations") or {}
    labels, given = _names_given(annotations)
    ours = {"labels": labels, "annotations": {*given, ANNOTATION_GIVEN, ANNOTATION_REVOKES}}
    stale = {
        part: dict.fromkeys(sorted(names & (metadata.get(part) or {}).keys() - wanted[part].keys()))
        for part, names in ours.items()
    }
    data = dict.fromkeys(sorted((known.get("data") or {}).keys() - desired["data"].keys()))
    patch: Manifest = {"metadata": {part: names for part, names in stale.items() if names}, "data": data}
    return {part: names for part, names in patch.items() if names}


def _names_given(annotations: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Return the names of labels and annotations that a Secret has of its entry."""
    if not (text := annotations.get(ANNOTATION_GIVEN)):
        return set(), set()
    try:
        labels, given = json.loads(text)
        return {str(name) for name in labels}, {str(name) for name in given}
    except (TypeError, ValueError):
        return set(), set()  # changed by hand


def revoked_identity(secret: Manifest) -> str | None:
    """Return whom to remove from the room when this Secret is not wanted any more."""
    identity = (secret["metadata"].get("annotations") or {}).get(ANNOTATION_REVOKES)
    return str(identity) if identity else None


def _given_names(entry: Entry) -> list[str]:
    given = entry.options.secret
    return [*given.labels, *given.annotations] if given else []


def _is_reserved(name: str) -> bool:
    return name in _OWN_LABELS or name.startswith(f"{GROUP}/")


def _inputs_digest(room: MeetingRoom, entry: Entry, keys: ServerKeys, text: str, expires_at: str) -> str:
    options = entry.options
    ends = timestamp(entry.ends) if entry.ends else None
    inputs = [_content(room, entry), options.ttl_seconds, options.not_before, ends, keys.fingerprint]
    return f"{digest(inputs)}-{digest([text, expires_at])}"
