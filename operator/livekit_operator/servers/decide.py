"""The decision of a server's pass: all of it, from what was observed alone."""

from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.servers.decisions.plan import Circumstances, Goal, Plan, plan
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.observe import Observation

# What a server that runs can go on with, but no other one may be started beside.
_STARTS_NOTHING = (reasons.PORT_CONFLICT, reasons.REDIS_SHARED)


def decide(server: LiveKitServer, observed: Observation) -> Plan:
    """Return what this pass is to do."""
    spec = server.spec
    goal = Goal(spec.replicas, is_shared(server), timedelta(seconds=spec.drain_timeout_seconds), _kept_slots(server))
    circumstances = Circumstances(
        inputs_known=observed.inputs is not None,
        startable=observed.pods_allowed and not any(one.reason in _STARTS_NOTHING for one in observed.problems),
        hung=observed.hung,
        unaddressed=observed.unaddressed,
        check=observed.check,
        brake=observed.brake,
    )
    return plan(observed.replicas.views, goal, circumstances, observed.now)


def _kept_slots(server: LiveKitServer) -> frozenset[int]:
    """Return the slots whose node ports stay reserved, so that a firewall's list holds through rollouts."""
    if server.spec.media.exposure != "NodePort" or not server.spec.replicas:
        return frozenset()
    return frozenset(range(server.spec.replicas + 1))
