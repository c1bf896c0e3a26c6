"""What is there of a MeetingRoom's tokens: its Secrets, and who has the names that its entries want."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.engine.cache import Manifest
from livekit_operator.reconciling.ownership import identity
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions.entries import Entry, entries
from livekit_operator.rooms.decisions.limits import Limits
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.rooms.memory import Tokens
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.settings import Allowed


@dataclass(frozen=True)
class TokenSecrets:
    """The Secrets of a room, and what its tokens are made of."""

    keys: ServerKeys = field(repr=False)
    """What tokens are signed with, and what goes beside them."""
    api_secrets: Sequence[str] = field(repr=False)
    """Of all keys that the server accepts: who is revoked has a token signed with one of them."""
    limits: Limits
    agents: AgentNames
    """Which agents tokens may ask for."""
    allowed: Allowed = field(default_factory=Allowed)
    inputs: tuple[object, ...] = field(default=(), repr=False)
    """All of that with the spec, to be compared at the next pass."""
    owned: Sequence[Manifest] = field(default=(), repr=False)
    """The room's own, by name."""
    still: Tokens | None = None
    """The tokens of the last pass, while nothing of this is another and none is due: nothing more is read then."""
    entries: Sequence[Entry] = ()
    named: Mapping[str, Manifest] = field(default_factory=dict, repr=False)
    """Name that an entry wants -> the Secret that has it, whoever's that is."""


def observe_tokens(
    context: Context, room: MeetingRoom, access: ServerAccess, limits: Limits, agents: AgentNames
) -> TokenSecrets:
    """Read the Secrets of a room's tokens: only its own while they are those of the last pass.

    A room of hundreds is not gone through whenever somebody joins.
    """
    cache = context.children["Secret"]
    # Not its generation: after etcd was restored another spec may have the same one.
    inputs = (room.metadata.uid, hash(room.spec.model_dump_json()), access.keys, limits, agents)
    kept, owned = context.kept_tokens.get(room.key), cache.owned_by(identity(room))
    accepted = [key.secret for key in access.accepted]
    found = TokenSecrets(access.keys, accepted, limits, agents, context.settings.allowed, inputs, owned)
    if kept is not None and kept.hold(inputs, owned, context.now()):
        return replace(found, still=kept.tokens)
    wanted = entries(room)
    names = {entry.secret_name for entry in wanted}
    secrets = ((name, cache.get((room.metadata.namespace, name))) for name in names)
    return replace(found, entries=wanted, named={name: secret for name, secret in secrets if secret is not None})
