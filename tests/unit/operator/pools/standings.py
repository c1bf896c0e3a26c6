"""What a pool's pass has observed, planned and done, of which tests of deciding and describing are made."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.errors import Problem
from livekit_operator.pools.decide import decide
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.decisions.rollout import Brake
from livekit_operator.pools.manifests.pod import PodInputs, inputs_digest
from livekit_operator.pools.manifests.records import Record
from livekit_operator.pools.manifests.versions import PoolVersion, build_template
from livekit_operator.pools.observe import Observation, Runnable
from livekit_operator.pools.pods import ObservedPod, Pods, free_sessions
from livekit_operator.pools.standing import Done, Standing
from livekit_operator.pools.told import Counts
from livekit_operator.reconciling.decisions.brakes import PodHistory
from livekit_operator.servers.decisions.key_rotation import ApiKey
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.memory import Credentials
from livekit_operator.servers.room_listing import RoomListing
from livekit_operator.views import WorkerStatus
from tests.fakes.manifests import API_KEY, API_SECRET
from tests.unit.operator.pools.decisions import rollout_values

NOW = rollout_values.START
INPUTS = PodInputs("ws://voice-livekit.team.svc:7880", "digest", "key", "shown")
FREE = WorkerStatus(True, 0)
KEYS = ServerKeys(API_KEY, API_SECRET, INPUTS.server_url, "wss://voice.example.com")
OBSERVATION = Observation(
    pods=Pods([]),
    template={},
    wanted="new",
    known={},
    credentials=Credentials(KEYS, (ApiKey(API_KEY, API_SECRET),)),
    rooms=RoomListing(),
    prefixes=(),
    target_load=1.0,
    server_problem=None,
    away=False,
)


def version(pool: VoiceAgentPool, revision: str = "new", **notes: Any) -> PoolVersion:
    """Return a version with the pods that a pool's spec asks for."""
    record = Record("digest", notes.pop("created", NOW), **notes)
    return PoolVersion(revision, build_template(pool, "agent:1", {}), "of the file", record)


def pod(
    pool: VoiceAgentPool,
    name: str = "a",
    revision: str = "new",
    *,
    worker: WorkerStatus | None = FREE,
    answered: bool = True,
    trouble: str | None = None,
    crash: str | None = None,
    ready_since: datetime | None = None,
    **facts: Any,
) -> ObservedPod:
    """Return a pod that is ready and free, apart from what is given; `facts` are those of its PodView."""
    sessions = worker.sessions if worker else None
    view = rollout_values.pod(
        name,
        revision,
        **{"inputs": inputs_digest(pool, INPUTS), "sessions": sessions, "failing": bool(trouble)} | facts,
    )
    return ObservedPod(view, {"metadata": {"name": name}}, worker, answered, trouble, crash, ready_since)


def runnable(known: Sequence[PoolVersion], rollout: Rollout, **facts: Any) -> Runnable:
    """Return what can run: these versions, each with all that it needs."""
    made = Runnable(
        known={one.revision: one for one in known},
        rollout=rollout,
        inputs=dict.fromkeys((one.revision for one in known), INPUTS),
        again=float("inf"),
        waiting=0,
        recent=(),
        brake=Brake(PodHistory(), NOW),
    )
    return replace(made, **facts)


def standing(
    pool: VoiceAgentPool,
    *pods: ObservedPod,
    known: Sequence[PoolVersion] = (),
    rollout: Rollout = Rollout("new"),  # noqa: B008 - a value
    refused: Problem | None = None,
    created: int = 0,
    counts: dict[str, Any] | None = None,
    **facts: Any,
) -> Standing:
    """Return how a pool stands with these pods, whose one version is `new` unless others are given."""
    observed = replace(OBSERVATION, pods=Pods(pods), **facts)
    plan = decide(pool, observed, runnable(known or [version(pool)], rollout))
    free = free_sessions(pool, observed.pods, "")
    counted = replace(Counts(free, waiting=0, unconnected=0, unanswered=None, gone={}), **(counts or {}))
    return Standing(observed, plan, Done(created, refused, counted, [], NOW))
