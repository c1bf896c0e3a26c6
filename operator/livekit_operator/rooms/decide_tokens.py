"""The decision about a room's token Secrets: which are made, renewed, kept and removed, and who gets none.

a problem of the entry          -> no Secret; one that is there stays as it is
a name of several entries       -> the one whose token is in the Secret has it, or the first
a name that is refused today    -> only a Secret that the room has already is kept
no Secret, or its token is due  -> a new token
anything else                   -> the token that is there
a Secret of no entry            -> removed, after its participant if that was asked for
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Problem
from livekit_operator.rooms.decisions.entries import Entry, beyond_texts, name_problem, problem_of
from livekit_operator.rooms.manifests import token_secret as build
from livekit_operator.rooms.memory import Tokens
from livekit_operator.rooms.observe_tokens import TokenSecrets


@dataclass(frozen=True)
class SecretPlan:
    """What becomes of the Secret of an entry: with a `problem` nothing."""

    entry: Entry
    problem: Problem | None = None
    known: Manifest | None = field(default=None, repr=False)
    """The Secret that has its name."""
    mint: bool = False
    """Whether it gets a new token."""
    patch: Manifest = field(default_factory=dict)
    """What it has of its entry and is to lose; applying leaves that, because its creator owns its fields as well."""


@dataclass(frozen=True)
class Removal:
    """A Secret that is no longer wanted, and whom to remove from the room before it is deleted."""

    secret: Manifest = field(repr=False)
    participant: str | None = None


@dataclass(frozen=True)
class TokensPlan:
    """What to do about the tokens of a room: nothing while they are `still` those of the last pass."""

    still: Tokens | None = None
    secrets: tuple[SecretPlan, ...] = ()
    """Of each entry, in their order."""
    removals: tuple[Removal, ...] = ()
    note: str | None = None
    """What is to be told though every token is there."""


def decide_tokens(room: MeetingRoom, seen: TokenSecrets, now: datetime) -> TokensPlan:
    """Return what becomes of a room's token Secrets; one entry's problem must not cost the others their renewal."""
    if seen.still is not None:
        return TokensPlan(still=seen.still)
    names = Counter(entry.secret_name for entry in seen.entries)
    own, beyond = {secret["metadata"]["name"] for secret in seen.owned}, beyond_texts(seen.entries)
    note, plans = None, []
    for entry in seen.entries:
        known, problem = seen.named.get(entry.secret_name), _problem(room, seen, entry, beyond.get(entry.identity))
        refused = None if problem else name_problem(room, entry, seen.allowed)
        if refused and entry.secret_name in own:
            # Apps read it by that name, and it belongs to the room already.
            note = f"Secret {entry.secret_name} is kept, but would not be made again: {refused.message}"
            refused = None
        problem = problem or refused
        if problem is None and names[entry.secret_name] > 1:
            problem = _taken(seen, entry)
        if problem is not None:
            plans.append(SecretPlan(entry, problem))
            continue
        mint = build.token_is_due(known, room, entry, seen.keys, now)
        patch = build.left_over(room, entry, known) if known is not None and entry.secret_name in own else {}
        plans.append(SecretPlan(entry, known=known, mint=mint, patch=patch))
    identities = {entry.identity for entry in seen.entries}
    gone = [secret for secret in seen.owned if secret["metadata"]["name"] not in names]
    revoked = [build.revoked_identity(room, secret, seen.api_secrets) for secret in gone]
    removals = (
        Removal(secret, None if identity in identities else identity)
        for secret, identity in zip(gone, revoked, strict=True)
    )
    return TokensPlan(secrets=tuple(plans), removals=tuple(removals), note=note)


def _problem(room: MeetingRoom, seen: TokenSecrets, entry: Entry, beyond: str | None) -> Problem | None:
    """Return why an entry gets no Secret, whatever there is."""
    if problem := problem_of(room, entry, seen.limits, seen.agents, seen.allowed):
        return problem
    return Problem(reasons.TOKENS_TOO_LARGE, beyond) if beyond else None


def _taken(seen: TokenSecrets, entry: Entry) -> Problem | None:
    """Return that another entry has this one's Secret: the one whose token is in it, or the first."""
    others = [other for other in seen.entries if other.secret_name == entry.secret_name]
    secret = seen.named.get(entry.secret_name)
    holders = [other for other in others if secret and build.identity_in(secret, other) == other.identity]
    holder = (holders or others)[0]
    if entry is holder:
        return None
    message = (
        f"{entry.path}: the Secret {entry.secret_name} is {holder.identity}'s already; "
        f"give it another name by secretName."
    )
    return Problem(reasons.SECRET_NAME_TAKEN, message)
