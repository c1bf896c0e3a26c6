"""Who may enter a MeetingRoom: each identity with its role and its Secret's name, and why one gets no token."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from livekit_operator import reasons
from livekit_operator.api.base import ApiModel
from livekit_operator.api.meetingroom import MeetingRoom, RoomKind
from livekit_operator.api.tokens import Role, Token, TokenOptions
from livekit_operator.constants import GROUP, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME
from livekit_operator.errors import Problem
from livekit_operator.manifests.metadata import digest, dns_name
from livekit_operator.manifests.permits import metadata_refusal, secret_name_refusal
from livekit_operator.moments import parse_timestamp
from livekit_operator.rooms.decisions.limits import Limits, beyond_attributes, beyond_bytes
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.settings import Allowed

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
# What the tokens of a room may repeat in their Secrets, all together.
MAX_TEXT_BYTES = 1024 * 1024
# Keys of typed Secrets, of Helm's releases and of kubeconfigs: readers of these would take the Secret for one.
_OTHERS_KEYS = frozenset(
    {
        ".dockercfg",
        ".dockerconfigjson",
        "auth-extra-groups",
        "kubeconfig",
        "release",
        "ssh-privatekey",
        "tls.crt",
        "tls.key",
        "token-id",
        "token-secret",
        "usage-bootstrap-authentication",
        "usage-bootstrap-signing",
    }
)
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
        given = dumped(self.options.grants) if self.options.grants else {}
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
            return dumped(secret.keys)
        return _ENV_KEYS if secret and secret.style == "Env" else _KEYS


def entries(room: MeetingRoom) -> list[Entry]:
    """Return the identities of a room, each with the name of its Secret: a different one for each.

    Only a name that the user gave can also be somebody else's.
    """
    # Tokens, and what their Secrets say of them, know whole seconds only.
    ends = parse_timestamp(room.spec.expires_at).replace(microsecond=0) if room.spec.expires_at else None
    spec = room.spec
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
            names[identity] = f"{name[:170].rstrip('-.')}-{digest(identity, 16)}"
    return {identity: f"{room.metadata.name}-{name}" for identity, name in names.items()}


def problem_of(room: MeetingRoom, entry: Entry, limits: Limits, agents: AgentNames, allowed: Allowed) -> Problem | None:
    """Return reason and message of why an entry gets no token; None when it does."""
    made_with = entry.options.room_configuration
    if made_with and (problem := agents.refusal(f"{entry.path}.roomConfiguration.agents", made_with.agents)):
        return Problem(reasons.AGENT_NOT_ALLOWED, problem)
    if _is_of_another_namespace(room) and (beyond := _server_wide(entry)):
        message = (
            f"{entry.path} asks for {', '.join(beyond)}, which reaches beyond the room: only rooms in the "
            f"namespace of the LiveKitServer may give that away. Leave it out here."
        )
        return Problem(reasons.GRANT_NOT_ALLOWED, message)
    if problem := _refused_by_server(entry, limits):
        return Problem(reasons.SERVER_LIMIT_EXCEEDED, problem)
    if name := next((name for name in _given_names(entry) if not _METADATA_NAME.fullmatch(name)), None):
        return Problem(
            reasons.INVALID_SECRET,
            f"{entry.path}.secret: Kubernetes takes no label or annotation named {name!r}: choose another name.",
        )
    if name := next((name for name in _given_names(entry) if _is_reserved(name)), None):
        return Problem(
            reasons.INVALID_SECRET,
            f"{entry.path}.secret: the label or annotation {name} is the operator's own: choose another name.",
        )
    if refused := metadata_refusal(_given_names(entry), f"{entry.path}.secret", allowed):
        return Problem(reasons.NOT_ALLOWED, refused)
    if key := next((key for key in entry.keys.values() if key in _OTHERS_KEYS), None):
        return Problem(
            reasons.INVALID_SECRET,
            f"{entry.path}.secret.keys: {key} is a key of another kind of Secret: choose another one.",
        )
    return None


def name_problem(room: MeetingRoom, entry: Entry, allowed: Allowed) -> Problem | None:
    """Return reason and message of why no Secret of the entry's name is made; None when it is."""
    path = f"{entry.path}.secretName" if isinstance(entry.options, Token) else entry.path
    namespace, name = room.metadata.namespace, room.metadata.name
    message = secret_name_refusal(namespace, name, entry.secret_name, path, allowed)
    return Problem(reasons.SECRET_NAME_NOT_ALLOWED, message) if message else None


def beyond_texts(wanted: Sequence[Entry]) -> dict[str, str]:
    """Return identity -> why its Secret is not made, of those that would be too much together.

    What many tokens have in common is in each Secret, some of it twice, and the operator keeps them in memory.
    """
    sizes: dict[int, int] = {}
    used, found = 0, {}
    for entry in wanted:
        size = sizes.get(id(entry.options))
        if size is None:
            size = sizes[id(entry.options)] = _text_bytes(entry.options)
        if used + size <= MAX_TEXT_BYTES:
            used += size
            continue
        found[entry.identity] = (
            f"{entry.path}: metadata, attributes, roomConfiguration, and labels and annotations of Secrets, have "
            f"{size} bytes in each token, and {MAX_TEXT_BYTES} is all that the tokens of a room may have of these "
            f"together. Have fewer tokens or shorter texts; what all may see belongs into spec.metadata."
        )
    return found


def _text_bytes(options: TokenOptions) -> int:
    secret = options.secret
    texts = [options.metadata or "", *options.attributes, *options.attributes.values()]
    if options.room_configuration:
        texts.append(options.room_configuration.model_dump_json(exclude_none=True))
    if secret:
        texts += [*secret.labels.values(), *secret.annotations, *secret.annotations.values()]
    return sum(len(text.encode()) for text in texts)


def _is_of_another_namespace(room: MeetingRoom) -> bool:
    return room.spec.server_ref.namespace not in (None, room.metadata.namespace)


def _server_wide(entry: Entry) -> list[str]:
    beyond = [f"grants.{name}" for name in _SERVER_WIDE if entry.grants.get(name)]
    sip = entry.options.sip
    return beyond + ([f"sip.{name}" for name, value in dumped(sip).items() if value] if sip else [])


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


def _given_names(entry: Entry) -> list[str]:
    given = entry.options.secret
    return [*given.labels, *given.annotations] if given else []


def _is_reserved(name: str) -> bool:
    return name in _OWN_LABELS or name.startswith(f"{GROUP}/")


def dumped(model: ApiModel) -> dict[str, Any]:
    """Return a part of a resource as the user wrote it, defaults included, without what is left out."""
    plain: dict[str, Any] = model.model_dump(by_alias=True, exclude_none=True)
    return plain
