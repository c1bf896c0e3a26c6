"""The token Secrets of a MeetingRoom, as planned: minted, renewed, restored, and revoked."""

from dataclasses import dataclass, field
from datetime import datetime

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.api.tokens import TokenStatus
from livekit_operator.constants import ANNOTATION_EXPIRES_AT
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import Blocked
from livekit_operator.moments import timestamp
from livekit_operator.reconciling import children
from livekit_operator.reconciling.ownership import is_owned
from livekit_operator.reconciling.refusals import blocked_if_refused_as
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decide_tokens import Removal, SecretPlan, TokensPlan
from livekit_operator.rooms.decisions.entries import Entry
from livekit_operator.rooms.decisions.settings import room_name
from livekit_operator.rooms.manifests import token_secret as build
from livekit_operator.rooms.memory import KeptTokens, Tokens
from livekit_operator.rooms.observe import Observation
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.memory import ServerAccess


@dataclass(frozen=True)
class _Made:
    """An entry's Secret as it was made, as the cache has that, and when its token expires."""

    entry: Entry
    secret: Manifest = field(repr=False)
    expires: datetime
    as_observed: bool
    """Whether what was there was what the plan was made for, and the room's own: then nothing is left over in it."""


async def ensure_tokens(context: Context, room: MeetingRoom, observed: Observation, plan: TokensPlan) -> Tokens:
    """Make and delete token Secrets as planned; return what came of it.

    What the API server refuses of one identity must not cost the others their renewal, nor the room its agents.
    """
    if plan.still is not None:
        return plan.still
    made, problems = [], []
    for item in plan.secrets:
        try:
            made.append(await _ensure(context, room, item, observed.tokens.keys, new=not observed.claimed))
        except Blocked as blocked:
            problems.append(blocked.problem)
    for removal in plan.removals:
        await _remove(context, room, observed.access, removal)
    shown = [
        TokenStatus(identity=m.entry.identity, secret_name=m.entry.secret_name, expires_at=timestamp(m.expires))
        for m in made
    ]
    moments = [build.renewal_time(room, one.entry, one.expires) for one in made]
    due = min((moment for moment in moments if moment), default=None)
    tokens = Tokens(shown, due, problems[0] if problems else None, plan.note)
    settled = tokens.problem is None and all(one.as_observed for one in made)
    # A Secret that does not stay as it is written is written again later, without a change that would show it.
    if settled and not context.brakes_of(room).children.told(context.now()):
        # As they were made: one that somebody changed since is to be put back at the next pass.
        secrets = sorted((one.secret for one in made), key=key_of)
        context.kept_tokens[room.key] = KeptTokens(observed.tokens.inputs, secrets, tokens, observed.now)
    else:
        context.kept_tokens.pop(room.key, None)
    return tokens


async def _ensure(context: Context, room: MeetingRoom, plan: SecretPlan, keys: ServerKeys, *, new: bool) -> _Made:
    """Make an entry's Secret as planned; raises Blocked when it has none, or the API server refuses it."""
    if plan.problem is not None:
        raise Blocked(plan.problem)
    entry, cache, key = plan.entry, context.children["Secret"], (room.metadata.namespace, plan.entry.secret_name)
    there = cache.get(key)
    # A token goes with its Secret, also with one that somebody has deleted since it was observed.
    if plan.mint or plan.known is None or there is None:
        desired = build.build_token_secret(room, entry, keys, now=context.now())
    else:
        desired = build.keep_token_secret(room, entry, keys, plan.known)
    # A quota or a policy may let it pass later; meanwhile the other identities and the room itself go on.
    with blocked_if_refused_as(reasons.INVALID_SECRET, entry.path, what="the Secret"):
        if plan.patch and there is plan.known:
            await children.patch(context, room, "Secret", entry.secret_name, plan.patch)
        made = await children.ensure(context, room, desired, new=new)
    now_there = cache.get(key)
    same = now_there is not None and now_there["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    # Where a policy takes our annotations away, the Secret is told of as it was to be.
    told = made if ANNOTATION_EXPIRES_AT in (made["metadata"].get("annotations") or {}) else desired
    as_observed = there is plan.known and (there is None or is_owned(room, there))
    return _Made(entry, now_there if same and now_there else made, build.expiry(told), as_observed)


async def _remove(context: Context, room: MeetingRoom, access: ServerAccess, removal: Removal) -> None:
    """Delete a Secret that is no longer wanted, after removing its participant if that was asked for."""
    if context.children["Secret"].get(key_of(removal.secret)) is not removal.secret:
        return  # it went or is another one by now, which wakes the room again
    if removal.participant is not None:
        # Before the Secret is deleted, because only it records that this is to be done.
        name = room_name(room)
        await access.client.remove_participant(name, removal.participant)
        if access.shared and access.rooms.is_unlisted(name):
            await access.client.recall_room(name, removal.participant)  # Redis has forgotten who is there
    await children.remove(context, "Secret", removal.secret)
