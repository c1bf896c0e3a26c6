"""Which API keys a server accepts and which one is in use: a pure decision.

    a new key is wanted          -> servers roll to accept it beside the one in use        (Accepting)
    every server accepts it      -> it is the one in use: pools and tokens move to it      (Moving)
    they have, and grace is over -> servers roll to accept only the one in use             (Dropping)

The state is one Secret, written in one piece: an operator that starts after a crash reads it there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from livekit_operator.api.livekitserver import KeyPhase

# A pool that cannot change its pods must not keep a key alive for ever that was perhaps lost.
USERS_PATIENCE = timedelta(hours=24)


@dataclass(frozen=True)
class ApiKey:
    """An API key and its secret."""

    id: str
    secret: str

    def __repr__(self) -> str:
        """Show neither."""
        return "ApiKey(…)"


@dataclass(frozen=True)
class KeyState:
    """The keys of a server, oldest first. The newest is the one that is wanted."""

    in_use: ApiKey
    accepted: tuple[ApiKey, ...]
    rotation: str = ""
    """`spec.keyRotation.id` for which the newest key was generated."""
    in_use_since: datetime | None = None
    """When the key in use took over from the one before; None for the first one."""
    users_moved: datetime | None = None
    """When pools were first seen to use no other key."""
    claims_since: datetime | None = None
    """Since when rooms prove by these keys that they are a resource's; None before there were such proofs."""
    salt: str = field(default="", repr=False)
    """Random: others may read a digest of a secret and this, against which guesses cannot be tested."""

    @property
    def newest(self) -> ApiKey:
        """Return the key that is wanted."""
        return self.accepted[-1]


@dataclass(frozen=True)
class Users:
    """Which keys servers and pools use now."""

    servers_accept_all: bool
    """Whether every server that stays accepts all keys of the state, and only these."""
    pools_moved: bool
    """Whether no pod of a pool uses another key than the one in use."""


def next_state(
    state: KeyState,
    users: Users,
    *,
    given: ApiKey | None,
    rotation: str,
    generate: Callable[[], ApiKey],
    grace: timedelta,
    now: datetime,
) -> KeyState:
    """Return what the keys should be now; the same state when there is nothing to do.

    `given` is the key of the user's own Secret; without it a new `rotation` has one generated.
    """
    if given is not None and given != state.newest:
        return _accept(state, given)
    if given is None and rotation != state.rotation:
        return replace(_accept(state, generate()), rotation=rotation)
    if state.newest != state.in_use:
        if not users.servers_accept_all:
            return state
        return replace(state, in_use=state.newest, in_use_since=now, users_moved=None)
    if len(state.accepted) == 1:
        return state
    if state.in_use_since is None:
        # The key in use is wanted again, or was put there by hand: the others have their grace from now on.
        return replace(state, in_use_since=now)
    if state.users_moved is None and users.pools_moved:
        state = replace(state, users_moved=now)
    drop_at = dropped_at(state, grace)
    if drop_at is not None and now >= drop_at:
        return replace(state, accepted=(state.in_use,), in_use_since=None, users_moved=None)
    return state


def dropped_at(state: KeyState, grace: timedelta) -> datetime | None:
    """Return when the old keys are no longer accepted; None when there are none or that is not known yet."""
    if len(state.accepted) == 1 or state.newest != state.in_use or state.in_use_since is None:
        return None
    last = state.in_use_since + USERS_PATIENCE + grace
    return min(last, state.users_moved + grace) if state.users_moved else last


def phase(state: KeyState, users: Users) -> KeyPhase:
    """Return how far a rotation has come, in the words of the status."""
    if state.newest != state.in_use:
        return "Accepting"
    if len(state.accepted) > 1:
        return "Moving"
    return "Stable" if users.servers_accept_all else "Dropping"


def _accept(state: KeyState, key: ApiKey) -> KeyState:
    # A file of keys has one secret for each key: another secret for the same key replaces it at once.
    kept = tuple(known for known in state.accepted if known.id != key.id)
    in_use = key if state.in_use.id == key.id else state.in_use
    return replace(state, in_use=in_use, accepted=(*kept, key), users_moved=None)
