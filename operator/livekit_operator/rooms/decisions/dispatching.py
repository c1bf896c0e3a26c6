"""When a room needs an agent and does not have one: a pure decision.

LiveKit keeps no queue: a dispatch that finds no free worker, or whose worker dies, stays in the list and is never
tried again (livekit pkg/agent/client.go, pkg/service/agentservice.go). So a dispatch counts only while it is young
enough for its agent still to be on the way:

    agent of that name connected to the room   -> Joined, look again from time to time
    the same, but everybody left long ago      -> Joined, its dispatch is deleted, which ends its job
    others ask for it                          -> Waiting, and nothing is changed
    nobody there who needs it                  -> Waiting, and dispatches left over are deleted
    one that has just joined, not connected    -> Dispatched, look again soon
    a young dispatch                           -> Dispatched, look again when it is old
    pool has no free agent                     -> Unavailable
    anything else                              -> delete old dispatches, create a new one

Easiest to get wrong:

- A dead worker's agent stays listed as a participant for some 20 s: an agent whose job is known to be lost does not
  count, and is removed, because deleting its dispatch no longer reaches anybody.
- A call whose worker died gets another agent at once. If that one dies before it joins, the next must wait, or a call
  that kills workers would go through all of them.
- Deleting a dispatch ends its own jobs and no others, those included that are about to be accepted
  (pkg/rtc/room.go DeleteAgentDispatch). So a second dispatch beside one whose agent is there or on its
  way is deleted without harm, and without another request.
- The agent of a worker that accepted too late for LiveKit joins without a job in any list. It counts as joined, until a
  listed one is there too: then it is removed.
- An agent that joined is listed though media may never flow, for example if its pod cannot reach the address that the
  server advertises. It counts once it is connected; one that does not get connected is replaced by the next try.
- An agent that others ask for is theirs: it is observed, and neither asked for nor removed.
- The unnamed dispatch that LiveKit adds to rooms made without agents is for workers without a name: never ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from livekit_operator.api.meetingroom import DispatchPolicy
from livekit_operator.views import DispatchView, ParticipantView

# LiveKit asks its servers for 3 s who takes a job (psrpc DefaultClientTimeout): without a job by then, nobody did.
UNTAKEN_SECONDS = 3.0
# An assignment is dropped after 7.5 s (livekit-agents worker.py ASSIGNMENT_TIMEOUT); joining takes about one more.
PATIENCE_SECONDS = 12.0
# An agent that joins and fails at once is asked for after ever longer pauses. A dispatch that nobody took costs no
# worker anything, and somebody waits in silence: a worker that is free again must find the request soon.
MAX_PATIENCE_SECONDS = 60.0
MAX_UNTAKEN_SECONDS = 12.0
# A webhook reports that an agent died, and so does the listing of rooms, which counts publishers: the last resort.
PRESENCE_SECONDS = 300.0
# An agent that has joined is connected within a second or two; LiveKit's clients give up after 15 s.
CONNECT_SECONDS = 10.0
_CONNECTING_LOOK_SECONDS = 2.0
# An agent leaves by itself when everybody has left, some seconds later if a connection broke. After this it is removed.
LONELY_SECONDS = 20.0

State = Literal["Joined", "Waiting", "Dispatched", "Unavailable"]


@dataclass(frozen=True)
class WantedAgent:
    """An agent that a room may need, and the deployment to ask for it; `available` when one is free now."""

    agent_name: str
    policy: DispatchPolicy
    available: bool
    deployment: str = ""


@dataclass(frozen=True)
class Decision:
    """What to do for one agent now, in this order: remove, delete, create; and when to look again (seconds)."""

    state: State
    create: bool = False
    delete: tuple[str, ...] = ()
    """Ids of dispatches."""
    remove: tuple[str, ...] = ()
    """Identities of agents to disconnect: dead ones, and those that nothing else would remove."""
    again: float | None = None
    attempts: int = 0
    """Dispatches made since an agent was there last; to be passed in again."""
    deployment: str = ""
    """Where `create` asks."""
    unconnected: bool = False
    """Whether an agent is there that was not connected in time."""


@dataclass(frozen=True)
class _Scene:
    """One agent's part of a room, without what is dead."""

    people: bool
    agents: frozenset[str]
    """Identities of the agents of its name that are connected."""
    joining: Mapping[str, float]
    """Identities of those that are not, and since when (seconds) they are there."""
    dead: tuple[str, ...]
    dispatches: Sequence[DispatchView]
    expected: dict[str, frozenset[str]]
    """Dispatch id -> identities of the agents that its living jobs send."""
    orphaned: frozenset[str]
    """Ids of the dispatches whose jobs have all died."""

    def joined(self, dispatch: DispatchView) -> frozenset[str]:
        """Return the agents that a dispatch has brought."""
        return self.agents & self.expected[dispatch.id]

    @property
    def gone(self) -> tuple[str, ...]:
        """Return the identities that have no call and will have none."""
        return tuple(sorted({*self.dead, *self.joining}))

    @property
    def connecting(self) -> bool:
        """Return whether one is there that may still be connected in time."""
        return any(age < CONNECT_SECONDS for age in self.joining.values())


def decide_dispatch(
    wanted: WantedAgent,
    participants: Sequence[ParticipantView],
    dispatches: Sequence[DispatchView],
    *,
    lonely_seconds: float = 0.0,
    lost: frozenset[str] = frozenset(),
    attempts: int = 0,
) -> Decision:
    """Return what one agent of a room needs.

    Given are everybody in the room, all its dispatches, since when (seconds) no person is there, the ids of jobs whose
    worker is known to be dead, and the `attempts` of the decision before.
    """
    scene = _look(wanted.agent_name, participants, dispatches, lost)
    if wanted.policy == "Never":
        if scene.agents:
            return Decision("Joined", again=PRESENCE_SECONDS)
        late = bool(scene.joining) and not scene.connecting
        return Decision("Waiting", again=_CONNECTING_LOOK_SECONDS if scene.joining else None, unconnected=late)
    if scene.agents:
        return _joined(wanted, scene, lonely_seconds)
    every = tuple(dispatch.id for dispatch in scene.dispatches)
    if wanted.policy == "OnFirstParticipant" and not scene.people:
        return Decision("Waiting", delete=every, remove=scene.gone)
    if scene.connecting:
        return Decision("Dispatched", remove=scene.dead, again=_CONNECTING_LOOK_SECONDS, attempts=max(1, attempts))
    late = bool(scene.joining)
    hope = _most_hopeful(scene, attempts)
    if hope is not None:
        dispatch, left = hope
        others = tuple(other.id for other in scene.dispatches if other.id != dispatch.id)
        return Decision(
            "Dispatched", delete=others, remove=scene.dead, again=left, attempts=max(1, attempts), unconnected=late
        )
    if not wanted.available:
        return Decision("Unavailable", delete=every, remove=scene.gone, unconnected=late)
    return Decision(
        "Dispatched",
        create=True,
        delete=every,
        remove=scene.gone,
        again=_patience(attempts + 1, taken=False),
        attempts=attempts + 1,
        deployment=wanted.deployment,
        unconnected=late,
    )


def _look(
    agent_name: str, participants: Sequence[ParticipantView], dispatches: Sequence[DispatchView], lost: frozenset[str]
) -> _Scene:
    # A pool that does not exist has no name, and workers without one are nobody's.
    ours = [dispatch for dispatch in dispatches if agent_name and dispatch.agent_name == agent_name]
    named = {p.identity: p for p in participants if agent_name and p.agent_name == agent_name}
    # A job without an identity was refused for good: it brings nobody.
    expected = {d.id: frozenset(job.identity for job in d.jobs if job.identity and job.id not in lost) for d in ours}
    # The dispatch may be gone already: unless its code says otherwise, an agent is named after its job
    # (livekit-agents job.py accept).
    dead = {job.identity for d in ours for job in d.jobs if job.id in lost} | {f"agent-{job}" for job in lost}
    dead -= frozenset().union(*expected.values())
    return _Scene(
        people=any(participant.agent_name is None for participant in participants),
        agents=frozenset(identity for identity, p in named.items() if p.connected and identity not in dead),
        joining={i: p.age for i, p in named.items() if not p.connected and i not in dead},
        dead=tuple(sorted(named.keys() & dead)),
        dispatches=ours,
        expected=expected,
        orphaned=frozenset(d.id for d in ours if d.jobs and all(job.id in lost for job in d.jobs)),
    )


def _joined(wanted: WantedAgent, scene: _Scene, lonely_seconds: float) -> Decision:
    """Return how exactly one agent stays, or none where nobody needs it any more."""
    brought = frozenset().union(*(scene.joined(dispatch) for dispatch in scene.dispatches))
    unlisted = sorted(scene.agents - brought)
    lonely = wanted.policy == "OnFirstParticipant" and not scene.people
    again = LONELY_SECONDS if lonely else PRESENCE_SECONDS
    if lonely and lonely_seconds >= LONELY_SECONDS:
        every = tuple(dispatch.id for dispatch in scene.dispatches)
        return Decision("Joined", delete=every, remove=(*scene.gone, *unlisted), again=again)
    if not brought:
        # One of the dispatches may be its own, and deleting that would end a call for nothing. If none is, the agent
        # that still joins will be listed, and stay.
        return Decision("Joined", remove=(*scene.dead, *unlisted[1:]), again=PATIENCE_SECONDS)
    # The one that people have spoken with longest stays.
    kept = max((d for d in scene.dispatches if scene.joined(d)), key=lambda dispatch: (dispatch.age, dispatch.id))
    delete = tuple(dispatch.id for dispatch in scene.dispatches if dispatch.id != kept.id)
    remove = (*scene.dead, *unlisted)
    return Decision("Joined", delete=delete, remove=remove, again=PATIENCE_SECONDS if delete or remove else again)


def _most_hopeful(scene: _Scene, attempts: int) -> tuple[DispatchView, float] | None:
    """Return the dispatch that may still bring an agent, and the seconds left to it: a taken one, the youngest."""
    hopes = []
    for dispatch in scene.dispatches:
        if dispatch.id in scene.orphaned and attempts <= 1:
            continue  # the worker that took it is dead; if that repeats, the next one is spared for a while
        taken = bool(scene.expected[dispatch.id])
        left = _patience(attempts, taken=taken) - dispatch.age
        if left > 0:
            hopes.append((taken, left, dispatch.id, dispatch))
    if not hopes:
        return None
    _, left, _, dispatch = max(hopes, key=lambda hope: hope[:3])
    return dispatch, left


def _patience(attempts: int, *, taken: bool) -> float:
    """Return how long a dispatch counts, in seconds: twice as long for each one before it that came to nothing."""
    seconds, most = (PATIENCE_SECONDS, MAX_PATIENCE_SECONDS) if taken else (UNTAKEN_SECONDS, MAX_UNTAKEN_SECONDS)
    return min(most, seconds * 2.0 ** min(max(0, attempts - 1), 5))
