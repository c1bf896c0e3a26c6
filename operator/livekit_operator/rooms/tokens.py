"""The token Secrets of a MeetingRoom: minted, renewed, restored, and revoked."""

from collections import Counter
from collections.abc import Mapping, Sequence

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.api.tokens import TokenStatus
from livekit_operator.constants import ANNOTATION_EXPIRES_AT
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked, Problem
from livekit_operator.moments import timestamp
from livekit_operator.reconciling import children
from livekit_operator.reconciling.ownership import identity, is_owned
from livekit_operator.reconciling.refusals import blocked_if_refused_as
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions.entries import Entry, beyond_texts, entries, name_problem, problem_of
from livekit_operator.rooms.decisions.limits import Limits
from livekit_operator.rooms.decisions.settings import AgentNames, room_name
from livekit_operator.rooms.manifests import token_secret as build
from livekit_operator.rooms.memory import KeptTokens, Tokens
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.memory import ServerAccess


async def ensure_tokens(
    context: Context, room: MeetingRoom, access: ServerAccess, limits: Limits, agents: AgentNames, *, new: bool
) -> Tokens:
    """Make the token Secret of each identity as wanted; delete those of identities that are gone.

    Nothing is checked while spec, keys and Secrets are those of the last pass and no token is due.
    """
    # Not its generation: after etcd was restored another spec may have the same one.
    inputs = (room.metadata.uid, hash(room.spec.model_dump_json()), access.keys, limits, agents)
    kept, secrets = context.kept_tokens.get(room.key), context.children["Secret"].owned_by(identity(room))
    same = kept is not None and kept.inputs == inputs and _are_the_same(kept.secrets, secrets)
    if kept is not None and same and (kept.tokens.due is None or context.now() < kept.tokens.due):
        return kept.tokens
    tokens = await _ensure_all(context, room, access, limits, agents, new=new)
    # A Secret that does not stay as it is written is written again later, without a change that would show it.
    if tokens.problem is None and not context.brakes_of(room).children.told(context.now()):
        secrets = context.children["Secret"].owned_by(identity(room))
        context.kept_tokens[room.key] = KeptTokens(inputs, secrets, tokens)
    else:
        context.kept_tokens.pop(room.key, None)
    return tokens


def _are_the_same(before: Sequence[Manifest], now: Sequence[Manifest]) -> bool:
    # A cache never changes what it has: another version is another object.
    return len(before) == len(now) and all(one is other for one, other in zip(before, now, strict=True))


async def _ensure_all(
    context: Context, room: MeetingRoom, access: ServerAccess, limits: Limits, agents: AgentNames, *, new: bool
) -> Tokens:
    """One identity's problem must not cost the others their renewal, nor the room its agents."""
    found, problems, wanted = [], [], entries(room)
    names = Counter(entry.secret_name for entry in wanted)
    beyond, note = beyond_texts(wanted), None
    for entry in wanted:
        try:
            _check(context, room, entry, limits, agents, beyond)
            note = _check_free_name(context, room, entry) or note
            if names[entry.secret_name] > 1:
                _check_name(context, room, entry, wanted)
            found.append((entry, await _ensure(context, room, entry, access.keys, new=new)))
        except Blocked as blocked:
            problems.append(blocked.problem)
    identities = {entry.identity for entry in wanted}
    for secret in context.children["Secret"].owned_by(identity(room)):
        if secret["metadata"]["name"] not in names:
            await _remove(context, room, access, secret, identities)
    shown = [
        TokenStatus(identity=entry.identity, secret_name=entry.secret_name, expires_at=timestamp(build.expiry(secret)))
        for entry, secret in found
    ]
    moments = [build.renewal_time(room, entry, build.expiry(secret)) for entry, secret in found]
    due = min((moment for moment in moments if moment), default=None)
    return Tokens(shown, due, problems[0] if problems else None, note)


def _check_name(context: Context, room: MeetingRoom, entry: Entry, wanted: Sequence[Entry]) -> None:
    """Raise Blocked when another entry has this one's Secret: the one whose token is in it, or the first."""
    others = [other for other in wanted if other.secret_name == entry.secret_name]
    secret = context.children["Secret"].get((room.metadata.namespace, entry.secret_name))
    holders = [other for other in others if secret and build.identity_in(secret, other) == other.identity]
    holder = (holders or others)[0]
    if entry is not holder:
        message = (
            f"{entry.path}: the Secret {entry.secret_name} is {holder.identity}'s already; "
            f"give it another name by secretName."
        )
        raise Blocked(Problem(reasons.SECRET_NAME_TAKEN, message))


def _check(
    context: Context, room: MeetingRoom, entry: Entry, limits: Limits, agents: AgentNames, beyond: Mapping[str, str]
) -> None:
    """Raise Blocked when an entry gets no Secret, whatever there is."""
    if problem := problem_of(room, entry, limits, agents, context.settings.allowed):
        raise Blocked(problem)
    if message := beyond.get(entry.identity):
        raise Blocked(Problem(reasons.TOKENS_TOO_LARGE, message))


def _check_free_name(context: Context, room: MeetingRoom, entry: Entry) -> str | None:
    """Return what to report of a Secret whose name would be refused today; raises Blocked when there is none.

    Apps read it by that name, and it belongs to the room already.
    """
    refused = name_problem(room, entry, context.settings.allowed)
    if refused is None:
        return None
    if not _has_own(context, room, entry):
        raise Blocked(refused)
    return f"Secret {entry.secret_name} is kept, but would not be made again: {refused.message}"


def _has_own(context: Context, room: MeetingRoom, entry: Entry) -> bool:
    known = context.children["Secret"].get((room.metadata.namespace, entry.secret_name))
    return known is not None and is_owned(room, known)


async def _ensure(context: Context, room: MeetingRoom, entry: Entry, keys: ServerKeys, *, new: bool) -> Manifest:
    known = context.children["Secret"].get((room.metadata.namespace, entry.secret_name))
    now = context.now()
    if known is None or build.token_is_due(known, room, entry, keys, now):
        desired = build.build_token_secret(room, entry, keys, now=now)
    else:
        desired = build.keep_token_secret(room, entry, keys, known)
    # A quota or a policy may let it pass later; meanwhile the other identities and the room itself go on.
    with blocked_if_refused_as(reasons.INVALID_SECRET, entry.path, what="the Secret"):
        if known is not None and is_owned(room, known) and (patch := build.left_over(known, desired)):
            # Applying does not do it: its creator owns its fields as well.
            await children.patch(context, room, "Secret", entry.secret_name, patch)
        made = await children.ensure(context, room, desired, new=new)
    # Where a policy takes our annotations away, the Secret is told of as it was to be.
    return made if ANNOTATION_EXPIRES_AT in (made["metadata"].get("annotations") or {}) else desired


async def _remove(
    context: Context, room: MeetingRoom, access: ServerAccess, secret: Manifest, identities: set[str]
) -> None:
    """Delete a Secret that is no longer wanted, after removing its participant if that was asked for."""
    identity = build.revoked_identity(room, secret, [key.secret for key in access.accepted])
    if identity is not None and identity not in identities:
        # Before the Secret is deleted, because only it records that this is to be done.
        await access.client.remove_participant(room_name(room), identity)
    await children.remove(context, "Secret", secret)
