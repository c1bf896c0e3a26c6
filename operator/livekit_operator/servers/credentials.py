"""A server's keys and URLs, from its Secret and its status in the caches.

Nobody is asked and no pass is needed: any process with filled caches knows them, whether it leads or not.
"""

from contextlib import suppress

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked
from livekit_operator.reconciling.ownership import is_owned
from livekit_operator.reconciling.references import understood
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.key_rotation import KeyState
from livekit_operator.servers.manifests.keys import ServerKeys, read_stored_keys
from livekit_operator.servers.manifests.names import keys_secret_name
from livekit_operator.servers.manifests.reach import internal_url
from livekit_operator.servers.memory import Credentials


def credentials_of(context: Context, server: Key) -> Credentials | None:
    """Return the keys and URLs of a server; None while it has no keys or is not there.

    Of one that is not understood any more they are as last known: it runs on, with rooms to be served and deleted.
    """
    manifest, known = context.resources["LiveKitServer"].get(server), context.credentials.get(server)
    if manifest is None:
        return None
    try:
        resource = understood(context, LiveKitServer, manifest)
    except Blocked:  # its own pass says so
        return known if known and known.uid == manifest["metadata"]["uid"] else None
    state = _state(context, resource)
    if state is None:
        return None
    external = resource.last.external_url or ""
    keys = ServerKeys(state.in_use.id, state.in_use.secret, internal_url(resource), external)
    found = Credentials(keys, state.accepted, state.claims_since, state.salt, resource.metadata.uid)
    if known != found:
        context.credentials[server] = known = found
    return known  # the same while nothing changes, with what was computed of it


def _state(context: Context, server: LiveKitServer) -> KeyState | None:
    """Return the keys as a pass here wrote them last, which are put back when somebody changes them; else as stored."""
    uid, written = context.key_states.get(server.key, ("", None))
    if written is not None and uid == server.metadata.uid:
        return written
    secret = context.children["Secret"].get((server.metadata.namespace, keys_secret_name(server)))
    if secret is None or not secret.get("data") or not is_owned(server, secret):
        return None
    read = context.stored_keys.get(server.key)
    if read is not None and read[0] is secret:
        return read[1]
    state = None
    with suppress(ValueError, Blocked):  # its own pass says so
        state = read_stored_keys(secret)
    context.stored_keys[server.key] = secret, state
    return state
