"""When a room needs an agent and does not have one: a pure decision.

LiveKit keeps no queue: a dispatch that finds no free worker, or whose worker dies, stays in the list and is never
tried again (livekit pkg/agent/client.go, pkg/service/agentservice.go). So a dispatch counts only while it is young
enough for its agent still to be on the way:

    agent of that name connected to the room   -> Joined, another pass from time to time
    the same, but everybody left long ago      -> Joined, its dispatch is deleted, which ends its job
    others ask for it                          -> Waiting, and nothing is changed
    the same, and its people left long ago     -> Joined, its dispatch is deleted, which ends its job
    nobody there who needs it                  -> Waiting, and dispatches left over are deleted
    one that has just joined, not connected    -> Dispatched, another pass soon
    it left on purpose                         -> Finished, until people ask anew
    it failed, and is not to be called again   -> Failed, until people ask anew
    it has failed again and again              -> Failing, another pass after a growing pause
    it leaves too soon, and is to be there     -> Paused, the same
    a dispatch whose job a worker holds        -> Dispatched for up to half a minute
    a young dispatch                           -> Dispatched, another pass when it is old
    a dispatch for each who publishes          -> Waiting for somebody who does, and the dispatch stays
    pool has no free agent                     -> Unavailable
    anything else                              -> delete old dispatches, create a new one

Easiest to get wrong:

- A dead worker's agent stays listed as a participant for some 20 s: an agent whose job is known to be lost or to have
  ended does not count, and is removed, because deleting its dispatch no longer reaches anybody.
- A call whose worker died gets another agent at once. If that one dies before it joins, the next must wait, or a call
  that kills workers would go through all of them.
- Deleting a dispatch ends its own jobs and no others, those included that are about to be accepted
  (pkg/rtc/room.go DeleteAgentDispatch). So a second dispatch beside one whose agent is there or on its
  way is deleted without harm, and without another request.
- The agent of a worker that accepted too late for LiveKit joins without a job in any list. It counts as joined, until a
  listed one is there too: then it is removed.
- An agent that joined is listed though media may never flow, for example if its pod cannot reach the address that the
  server advertises. It counts once it is connected; one that does not get connected is replaced by the next try.
- An agent whose connection broke comes back, and is not connected at first: it has not left.
- A dispatch that has brought its agent once is no hope for whoever has come since, however long its job still ends.
- An agent that left on purpose, as after a hand-over, stays away from those it was with. Somebody who came while it
  left, or after that, has nobody yet: people ask anew by coming to a room that its agent's people have left.
- An agent that others ask for is theirs: it is observed, and not asked for. It may wait for people alone; when those
  have left with whom it was, it ends as any other.
- Workers may take a job for each who publishes. Their dispatch stays: LiveKit makes a job of it whenever somebody
  publishes for the first time (livekit pkg/rtc/room.go launchTargetAgents), and another one would bring those who do
  already a second agent each. So it counts as young while the need for an agent is.
- The unnamed dispatch that LiveKit adds to rooms made without agents is for workers without a name: never ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from livekit_operator.api.meetingroom import DispatchPolicy, RestartPolicy
from livekit_operator.views import DispatchView, ParticipantView

# LiveKit asks its servers for 3 s who takes a job (psrpc DefaultClientTimeout): without a job by then, nobody did.
UNTAKEN_SECONDS = 3.0
# An assignment is dropped after 7.5 s (livekit-agents worker.py ASSIGNMENT_TIMEOUT); joining takes about one more.
PATIENCE_SECONDS = 12.0
# An agent may do much before it joins; but somebody waits in silence.
HELD_SECONDS = 30.0
# An agent that joins and fails at once is asked for after ever longer pauses. A dispatch that nobody took costs no
# worker anything, and somebody waits in silence: a worker that is free again must find the request soon.
MAX_PATIENCE_SECONDS = 60.0
MAX_UNTAKEN_SECONDS = 12.0
# A webhook reports that an agent died, and so does the listing of rooms, which counts publishers: the last resort.
PRESENCE_SECONDS = 300.0
# An agent that has joined is connected within a second or two; LiveKit's clients give up after 15 s.
CONNECT_SECONDS = 10.0
_CONNECTING_LOOK_SECONDS = 2.0
_LEAVING_LOOK_SECONDS = 2.0
# The pods on which it failed may have been replaced.
_FAILING_LOOK_SECONDS = 5.0
# By then workers are asked again what they have taken.
_NEXT_LOOK_SECONDS = 1.0
# An agent leaves by itself when everybody has left, some seconds later if a connection broke. After this it is removed.
LONELY_SECONDS = 20.0

# An agent notices within this time that everybody has left, and leaves; who came meanwhile was not with it, unless it
# was asked for when they were there.
WITH_AGENT_SECONDS = 10.0

State = Literal["Joined", "Waiting", "Dispatched", "Unavailable", "Finished", "Failed", "Failing", "Paused"]


@dataclass(frozen=True)
class WantedAgent:
    """An agent that a room may need, and the deployment to ask for it; `available` when one is free now.

    Its workers said `looked_seconds` ago which dispatches they have taken. `left_seconds` is since when it is away that
    is not to be called again before people ask anew, None for one that may be called; `failed` whether it failed. One
    that failed, or `leaves` too soon though it is always to be there, is called again only after `pause` (seconds).
    `brought` are the ids of dispatches whose agents have been there; of those that are `unheard` workers have not said
    yet what became of their jobs. `asked_for` is who was there when one was asked for last, `met` whether people were
    there with it. `restart` is whether one that leaves on purpose is called again.
    """

    agent_name: str
    policy: DispatchPolicy
    available: bool
    deployment: str = ""
    looked_seconds: float = 0.0
    left_seconds: float | None = None
    failed: bool = False
    pause: float = 0.0
    leaves: bool = False
    brought: frozenset[str] = frozenset()
    unheard: frozenset[str] = frozenset()
    asked_for: frozenset[str] = frozenset()
    met: bool = False
    restart: RestartPolicy = "OnFailure"
    called: bool = False
    """Whether people ask for one whatever became of those before."""
    unserved_seconds: float | None = None
    """Where there is one for each who publishes: since when somebody does and none is there."""


@dataclass(frozen=True)
class Decision:
    """What to do for one agent now, in this order: remove, delete, create; and when the next pass is due (seconds)."""

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
    overdue: bool = False
    """Whether an agent that is on its way takes longer than one does."""
    leaving: bool = False
    """Whether its agent is away and its job goes on: it left, or its connection broke, or its worker is dead."""


@dataclass(frozen=True)
class _Scene:
    """One agent's part of a room, without what is dead."""

    people: Mapping[str, float]
    """Identity of a person -> since when (seconds) they are there."""
    agents: frozenset[str]
    """Identities of the agents of its name that are connected."""
    joining: Mapping[str, float]
    """Identities of those that are not, and since when (seconds) they are there."""
    dead: tuple[str, ...]
    dispatches: Sequence[DispatchView]
    expected: dict[str, frozenset[str]]
    """Dispatch id -> identities of the agents that its living jobs send."""
    orphaned: frozenset[str]
    """Ids of the dispatches whose jobs have all died or ended."""
    taken: frozenset[str]
    """Ids of the dispatches whose jobs workers hold, whatever LiveKit lists."""
    publishing: bool
    """Whether any person publishes."""

    def joined(self, dispatch: DispatchView) -> frozenset[str]:
        """Return the agents that a dispatch has brought."""
        return self.agents & self.expected[dispatch.id]

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Return the agents that no dispatch has brought."""
        brought = frozenset().union(*(self.joined(dispatch) for dispatch in self.dispatches))
        return tuple(sorted(self.agents - brought))

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
    taken: frozenset[str] = frozenset(),
    ended: frozenset[str] = frozenset(),
    attempts: int = 0,
) -> Decision:
    """Return what one agent of a room needs.

    Given are everybody in the room, all its dispatches, since when (seconds) no person is there, the ids of jobs whose
    worker is known to be dead, the ids of dispatches that workers say they have `taken`, those of jobs that have
    `ended`, and the `attempts` of the decision before.
    """
    scene = _scene_of(wanted.agent_name, participants, dispatches, lost, taken, ended)
    if wanted.policy == "Never":
        return _observed(wanted, scene, lonely_seconds)
    if scene.agents:
        return _joined(wanted, scene, lonely_seconds)
    every = tuple(dispatch.id for dispatch in scene.dispatches)
    if wanted.policy == "OnFirstParticipant" and not scene.people:
        return Decision("Waiting", delete=every, remove=scene.gone)
    if scene.connecting:
        return Decision("Dispatched", remove=scene.dead, again=_CONNECTING_LOOK_SECONDS, attempts=max(1, attempts))
    if wanted.unserved_seconds is not None:
        wanted, scene = _for_publishers(wanted, scene, lost)
    if away := _stays_away(wanted, scene):
        return away
    late = bool(scene.joining)
    hope = _most_hopeful(wanted, scene, attempts)
    if hope is not None:
        dispatch, left = hope
        others = tuple(other.id for other in scene.dispatches if other.id != dispatch.id)
        on_time = PATIENCE_SECONDS - dispatch.age if dispatch.id in scene.taken else left
        return Decision(
            "Dispatched",
            delete=others,
            remove=scene.dead,
            again=min(left, on_time) if on_time > 0 else left,
            attempts=max(1, attempts),
            unconnected=late,
            overdue=on_time <= 0,
        )
    if wanted.pause > 0:
        again = min(wanted.pause, _FAILING_LOOK_SECONDS)
        state: State = "Paused" if wanted.leaves else "Failing"
        return Decision(state, delete=every, remove=scene.gone, again=again, attempts=attempts)
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


def _scene_of(
    agent_name: str,
    participants: Sequence[ParticipantView],
    dispatches: Sequence[DispatchView],
    lost: frozenset[str],
    taken: frozenset[str],
    ended: frozenset[str],
) -> _Scene:
    # A pool that does not exist has no name, and workers without one are nobody's.
    ours = [dispatch for dispatch in dispatches if agent_name and dispatch.agent_name == agent_name]
    named = {p.identity: p for p in participants if agent_name and p.agent_name == agent_name}
    # A job without an identity was refused for good: it brings nobody.
    over = lost | ended
    expected = {d.id: frozenset(job.identity for job in d.jobs if job.identity and job.id not in over) for d in ours}
    # The dispatch may be gone already: unless its code says otherwise, an agent is named after its job
    # (livekit-agents job.py accept).
    dead = {job.identity for d in ours for job in d.jobs if job.id in over} | {f"agent-{job}" for job in over}
    dead -= frozenset().union(*expected.values())
    return _Scene(
        people={p.identity: p.age for p in participants if p.agent_name is None},
        agents=frozenset(identity for identity, p in named.items() if p.connected and identity not in dead),
        joining={i: p.age for i, p in named.items() if not p.connected and i not in dead},
        dead=tuple(sorted(named.keys() & dead)),
        dispatches=ours,
        expected=expected,
        orphaned=frozenset(d.id for d in ours if d.jobs and all(job.id in over for job in d.jobs)) - taken,
        taken=taken,
        publishing=any(p.publishes for p in participants if p.agent_name is None),
    )


def _for_publishers(wanted: WantedAgent, scene: _Scene, lost: frozenset[str]) -> tuple[WantedAgent, _Scene]:
    """Return both as they are where a dispatch brings agents again and again, one for each who publishes."""
    seconds = wanted.unserved_seconds or 0.0
    young = [replace(dispatch, age=min(dispatch.age, seconds)) for dispatch in scene.dispatches]
    died = {dispatch.id for dispatch in young if any(job.id in lost for job in dispatch.jobs)}
    return (
        replace(wanted, brought=frozenset(), unheard=frozenset()),
        replace(scene, dispatches=young, orphaned=scene.orphaned & died),
    )


def _await_publisher(wanted: WantedAgent, scene: _Scene) -> Decision:
    """Return that a dispatch waits for somebody who publishes; those whose jobs still end are left alone."""
    kept = min(scene.dispatches, key=lambda dispatch: (dispatch.id not in scene.taken, dispatch.id), default=None)
    others = tuple(d.id for d in scene.dispatches if d is not kept and d.id not in scene.taken)
    return Decision(
        "Waiting",
        create=kept is None,
        delete=others,
        remove=scene.gone,
        again=PRESENCE_SECONDS,
        deployment=wanted.deployment,
    )


def _observed(wanted: WantedAgent, scene: _Scene, lonely_seconds: float) -> Decision:
    """Return what to report of an agent that others ask for, and that it ends when its people have left."""
    if scene.agents and (scene.people or not wanted.met):
        return Decision("Joined", again=PRESENCE_SECONDS)
    if scene.agents and lonely_seconds < LONELY_SECONDS:
        return Decision("Joined", again=LONELY_SECONDS)
    if scene.agents:
        return _sent_away(scene)
    late = bool(scene.joining) and not scene.connecting
    return Decision("Waiting", again=_CONNECTING_LOOK_SECONDS if scene.joining else None, unconnected=late)


def _stays_away(wanted: WantedAgent, scene: _Scene) -> Decision | None:
    """Return that nobody is called: an agent has left, or is for those who publish, and none does; else None."""
    if wanted.unserved_seconds is not None and not scene.publishing:
        return _await_publisher(wanted, scene)
    # It has left, and its job has still something to do, which deleting its dispatch would cut.
    ids = {dispatch.id for dispatch in scene.dispatches}
    leaving = ids & wanted.brought & scene.taken if not scene.joining else frozenset[str]()
    unheard = ids & wanted.unheard if not scene.joining else frozenset[str]()
    if wanted.called or (not leaving and not unheard and wanted.left_seconds is None):
        return None
    away = wanted.left_seconds or 0.0
    if wanted.restart == "Always" and away >= PATIENCE_SECONDS:
        return None  # it may work for long, and somebody waits
    seconds = away + WITH_AGENT_SECONDS
    with_it = {person for person, age in scene.people.items() if person in wanted.asked_for or age >= seconds}
    if scene.people and not with_it:
        return None
    delete = tuple(dispatch.id for dispatch in scene.dispatches if dispatch.id not in leaving | unheard)
    if wanted.unserved_seconds is not None:
        delete = ()  # the next one who publishes has nobody yet
    if unheard and not leaving:
        return Decision("Dispatched", delete=delete, remove=scene.gone, again=_NEXT_LOOK_SECONDS, leaving=True)
    again = _LEAVING_LOOK_SECONDS if leaving else None
    if leaving and wanted.restart == "Always":
        return Decision("Dispatched", delete=delete, remove=scene.gone, again=again, leaving=True)
    state: State = "Failed" if wanted.failed else "Finished"
    return Decision(state, delete=delete, remove=scene.gone, again=again, leaving=bool(leaving))


def _joined(wanted: WantedAgent, scene: _Scene, lonely_seconds: float) -> Decision:
    """Return how exactly one agent stays, or none where nobody needs it any more."""
    unlisted = scene.unlisted
    # Where each who publishes has one, LiveKit may not list the job of the last one yet.
    surplus = unlisted if wanted.unserved_seconds is None else ()
    lonely = wanted.policy == "OnFirstParticipant" and not scene.people
    again = LONELY_SECONDS if lonely else PRESENCE_SECONDS
    if lonely and lonely_seconds >= LONELY_SECONDS:
        return _sent_away(scene)
    if len(unlisted) == len(scene.agents):
        # One of the dispatches may be its own, and deleting that would end a call for nothing. If none is, the agent
        # that still joins will be listed, and stay.
        return Decision("Joined", remove=(*scene.dead, *surplus[1:]), again=PATIENCE_SECONDS)
    # The one that people have spoken with longest stays.
    kept = max((d for d in scene.dispatches if scene.joined(d)), key=lambda dispatch: (dispatch.age, dispatch.id))
    delete = tuple(dispatch.id for dispatch in scene.dispatches if dispatch.id != kept.id)
    remove = (*scene.dead, *surplus)
    return Decision("Joined", delete=delete, remove=remove, again=PATIENCE_SECONDS if delete or remove else again)


def _sent_away(scene: _Scene) -> Decision:
    """Return that all agents are to leave: by the end of their jobs, and those that have none by hand."""
    every = tuple(dispatch.id for dispatch in scene.dispatches)
    return Decision("Joined", delete=every, remove=(*scene.gone, *scene.unlisted), again=LONELY_SECONDS)


def _most_hopeful(wanted: WantedAgent, scene: _Scene, attempts: int) -> tuple[DispatchView, float] | None:
    """Return the dispatch that may still bring an agent, and the seconds left to it: a taken one, the youngest."""
    hopes = []
    for dispatch in scene.dispatches:
        if dispatch.id in wanted.brought:
            continue  # its agent was there and left, though its job may still end
        if dispatch.id in scene.orphaned and attempts <= 1:
            continue  # the worker that took it is dead; if that repeats, the next one is spared for a while
        # Without an attempt its agent was there already, and left while its job still ends.
        held = attempts > 0 and dispatch.id in scene.taken
        taken = held or bool(scene.expected[dispatch.id])
        left = (HELD_SECONDS if held else _patience(attempts, taken=taken)) - dispatch.age
        if not taken and dispatch.age < min(wanted.looked_seconds, PATIENCE_SECONDS):
            left = max(left, _NEXT_LOOK_SECONDS)
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
