"""Whether routes and certificates work: the controllers of other projects say so."""

from datetime import timedelta

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked, Problem
from livekit_operator.reconciling import children
from livekit_operator.reconciling.refusals import blocked_if_refused
from livekit_operator.servers.context import Context
from livekit_operator.servers.manifests.foreign_status import (
    certificate_problem,
    gateway_problem,
    route_problem,
    taken_by,
)

# Gateways are others' and seldom change.
_GATEWAYS_LOOKED_AT_EVERY = timedelta(seconds=30)


async def told_by_its_controller(context: Context, server: LiveKitServer, manifest: Manifest | None) -> list[Problem]:
    """Return what is wrong with an object of another project's kind, as it was just read; nothing of other kinds."""
    if manifest is None:
        return []
    if manifest["kind"] == "Certificate":
        found = certificate_problem(server, manifest, context.now())
    elif manifest["kind"] == "HTTPRoute":
        found = route_problem(server, manifest, context.now()) or await _gateways(context, server, manifest)
    else:
        return []
    return [found] if found else []


async def _gateways(context: Context, server: LiveKitServer, route: Manifest) -> Problem | None:
    """Return what is wrong with the Gateways that have taken the route, as they were seen lately.

    Of no others: whoever names a Gateway of another namespace learns of it no more than it tells its own.
    """
    seen = context.gateways.get(server.key)
    if seen is not None and context.now() - seen[0] < _GATEWAYS_LOOKED_AT_EVERY:
        return seen[1]
    found = []
    for namespace, name in dict.fromkeys(taken_by(route)):
        try:
            with blocked_if_refused():
                manifest = await children.find(context, "Gateway", namespace or server.metadata.namespace, name)
        except Blocked:
            continue  # not for us to read
        if manifest is not None:
            found.append(manifest)
    problem = gateway_problem(server, found)
    context.gateways[server.key] = context.now(), problem
    return problem
