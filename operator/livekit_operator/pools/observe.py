"""What is there of a pool before a pass does anything, and what its versions may be started with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import CONDITION_READY
from livekit_operator.errors import Problem
from livekit_operator.manifests.metadata import COMPONENT_AGENT
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.decisions.rollout import STABLE, Brake
from livekit_operator.pools.decisions.room_prefixes import Prefix
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.manifests.pod import PodInputs
from livekit_operator.pools.manifests.versions import PoolVersion, Template
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.pods import Pods, observe_pods
from livekit_operator.pools.prepare import Prepared
from livekit_operator.pools.rooms_by_name import prefixes_of
from livekit_operator.pools.versions import Kept, find_inputs
from livekit_operator.reconciling import braking
from livekit_operator.servers.access import rooms_of, server_problem
from livekit_operator.servers.manifests.config import target_load
from livekit_operator.servers.memory import Credentials
from livekit_operator.servers.room_listing import RoomListing


@dataclass(frozen=True)
class Observation:
    """A pool's pods, its versions, and its server."""

    pods: Pods
    template: Template
    """What the spec makes of pods."""
    wanted: str
    """Revision of that."""
    known: Mapping[str, PoolVersion]
    """Revision -> version, of those that are remembered."""
    credentials: Credentials
    rooms: RoomListing
    """The rooms of the server."""
    prefixes: Sequence[Prefix]
    """Of the pools that serve rooms of the server for their names, if this one does."""
    target_load: float
    """The load at which the server offers a worker no more calls."""
    server_problem: Problem | None
    """Why the server is not ready."""
    away: bool
    """Whether the server is not ready, by its own status."""


@dataclass(frozen=True)
class Runnable:
    """What can run, now that versions are kept and noted: what a version needs may be missing, or be refused."""

    known: Mapping[str, PoolVersion]
    rollout: Rollout
    inputs: Mapping[str, PodInputs]
    """Revision -> what its pods need from outside."""
    again: float
    """When the next pass is due for what is missing (seconds)."""
    waiting: int
    """Rooms that need a place."""
    recent: Sequence[tuple[datetime, int]]
    """Numbers of pods that were wanted lately, and when."""
    brake: Brake

    @property
    def now(self) -> datetime:
        """Return when that was observed."""
        return self.brake.now


async def observe(context: Context, pool: VoiceAgentPool, memory: PoolMemory, prepared: Prepared) -> Observation:
    """Read what there is; nothing is changed by it."""
    server = prepared.server
    pods = await observe_pods(context, pool, memory)
    template = versions.build_template(pool, context.settings.agent_image, context.settings.provider_base_urls)
    return Observation(
        pods=pods,
        template=template,
        wanted=versions.revision(template),
        known=prepared.known,
        credentials=prepared.credentials,
        rooms=rooms_of(context, server.key),
        prefixes=prefixes_of(context, server.key) if pool.spec.room_prefix is not None else (),
        target_load=target_load(server),
        server_problem=server_problem(pool, server),
        away=not server.last.holds(CONDITION_READY),
    )


async def observe_runnable(
    context: Context, pool: VoiceAgentPool, memory: PoolMemory, observed: Observation, kept: Kept, rollout: Rollout
) -> Runnable:
    """Read what the versions that are to run need, and leave out those that miss any of it; nothing is changed by it.

    Raises Blocked when none can run, naming what is missing.
    """
    rollout, inputs, again = await find_inputs(context, pool, observed.credentials, kept.known, observed.pods, rollout)
    now, scaling = context.now(), pool.spec.autoscaling
    # A surge and a canary come on top of what was wanted.
    stable = [pod.view.revision == rollout.stable for pod in observed.pods.staying if pod.view.track == STABLE]
    seconds = scaling.scale_down_stabilization_seconds if scaling else 0
    manifests = [pod.manifest for pod in observed.pods.every]
    return Runnable(
        known=kept.known,
        rollout=rollout,
        inputs=inputs,
        again=again,
        waiting=memory.needs_place(),
        recent=memory.recent(now, max(sum(stable), len(stable) - sum(stable)), seconds),
        brake=Brake(braking.observe_pods(context, pool, COMPONENT_AGENT, manifests), now),
    )
