"""What must be there before anything of a server can be observed: finalizer, keys, account, the managed Redis."""

from dataclasses import dataclass

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import SERVER_FINALIZER
from livekit_operator.engine.cache import key_of
from livekit_operator.errors import Blocked, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.reconciling import children
from livekit_operator.reconciling.finalizers import add_finalizer
from livekit_operator.reconciling.ownership import adopt_pods, is_owned
from livekit_operator.reconciling.refusals import blocked_if_refused
from livekit_operator.servers.context import Context
from livekit_operator.servers.keys import ServerKeyring, ensure_keys
from livekit_operator.servers.manifests.policies import build_service_account
from livekit_operator.servers.pods import slot_of
from livekit_operator.servers.redis import ensure_redis, has_managed_redis


@dataclass(frozen=True)
class Prepared:
    """The keys of a server, and why its account or its managed Redis cannot be made."""

    keys: ServerKeyring
    redis_problem: Problem | None = None
    account_problem: Problem | None = None
    has_account: bool = True
    """Whether servers may be started under an account of their own."""


async def prepare(context: Context, server: LiveKitServer) -> Prepared:
    """Make what a pass needs first; raises Blocked while there are no keys."""
    await add_finalizer(context, server, SERVER_FINALIZER)
    keys = await ensure_keys(context, server)
    account_problem = await ensure_account(context, server)
    redis_problem = account_problem if has_managed_redis(server) else None  # its pod has the account too
    if redis_problem is None:
        try:
            await ensure_redis(context, server)
        except Blocked as blocked:
            redis_problem = blocked.problem
    await adopt_replicas(context, server)
    if connection := context.servers.get(server.key):
        connection.rooms.start_listing()  # a single server is asked for its rooms while it is observed
    has_account = account_problem is None or _has_account(context, server)
    return Prepared(keys, redis_problem, account_problem, has_account)


async def ensure_account(context: Context, server: LiveKitServer) -> Problem | None:
    """Make the account of the servers' pods; return why it cannot be as desired."""
    try:
        with blocked_if_refused():
            await children.ensure(context, server, build_service_account(server))
    except Blocked as blocked:
        return blocked.problem
    return None


def _has_account(context: Context, server: LiveKitServer) -> bool:
    """Return whether the account is the server's own, as it was before.

    Under somebody else's a server would have the rights of that one: whoever may write servers names the account.
    """
    account = build_service_account(server)
    known = context.children[account["kind"]].get(key_of(account))
    return known is not None and is_owned(server, known)


async def adopt_replicas(context: Context, server: LiveKitServer) -> None:
    """Take over the pods that a former server of the same name left."""
    await adopt_pods(context, server, COMPONENT_SERVER, lambda pod: slot_of(server, pod) is not None)
