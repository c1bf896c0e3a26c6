"""What is known of a pool between two passes: what each pod reported last, which calls were lost, which rooms wait.

Nothing here is needed to reach the right state: an operator that starts without it finds out the same from the pods
some seconds later, and LiveKit drops a dead agent by itself after some twenty.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from livekit_operator.api.voiceagentpool import SessionStatus
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Problem
from livekit_operator.pools.decisions.fair_shares import may_take, next_in_line
from livekit_operator.reconciling.refusals import Refusals
from livekit_operator.views import WorkerStatus

# Of a MeetingRoom, or of a room that the pool serves for its name (reconciling/context.py undeclared_room).
RoomKey = tuple[str, str]

# By then a dispatch is among its worker's jobs, or nobody took it.
PROMISE_SECONDS = 5.0
# LiveKit drops a participant whose connection is dead after some 20 s; its room has had many passes by then.
LOST_SECONDS = 300.0
# After so many passes of the pool a room is woken whose agent no worker knows: LiveKit lists a dead one for some 20 s.
_MISSED_LOOKS = (2, 5, 10, 20)


@dataclass(frozen=True)
class SeenPod:
    """A pod at one look: `container` changes when its worker starts anew, `status` is what that said last."""

    revision: str
    leaving: bool
    container: str
    ended: bool
    status: WorkerStatus | None
    name: str = ""


@dataclass(frozen=True)
class Free:
    """Calls that the ready workers of a deployment could still take; the stable ones' deployment is empty."""

    deployment: str
    sessions: int


@dataclass
class JoinedRoom:
    """A room's name on the server, its agents' identities, and for how many looks no worker has known of it."""

    name: str
    agents: frozenset[str]
    missed: int = 0


@dataclass(frozen=True)
class ToldSessions:
    """What the status told of sessions, which these were (ids of jobs), and when."""

    at: datetime
    calls: frozenset[str]
    lines: Sequence[SessionStatus]


@dataclass
class PoolMemory:
    """What one pool's passes and its rooms' passes tell each other."""

    namespace: str = ""
    """The pool's own, for which some places are kept."""
    shared: bool = False
    """Whether rooms of other namespaces may call its agents; where they may not, nobody's share is counted."""
    pods: dict[str, SeenPod] = field(default_factory=dict)
    """Pod uid -> what was seen of it last."""
    lost: dict[str, datetime] = field(default_factory=dict)
    """Ids of jobs whose process died, and when that was seen."""
    wanted: dict[int, datetime] | None = None
    """Numbers of pods that were wanted at former looks, and when last, for scaling down without haste."""
    waiting: dict[RoomKey, datetime] = field(default_factory=dict)
    """Rooms that need an agent and found none free, and since when or when last told of a free one."""
    unanswered: dict[RoomKey, datetime] = field(default_factory=dict)
    """Rooms that asked more than once for an agent that does not come, and since when."""
    unconnected: dict[RoomKey, datetime] = field(default_factory=dict)
    """Rooms whose agent came and was not connected in time, and since when."""
    promised: dict[RoomKey, tuple[str, str, datetime]] = field(default_factory=dict)
    """Rooms that an agent was just asked for -> name on the server, deployment, and when."""
    stable: Free = Free("", 0)
    canary: Free | None = None
    canary_weight: int = 0
    """Share of new calls, in percent, that the canary gets."""
    gone: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Revision -> calls begun and failed on workers that are no more; those that died with one are among the failed."""
    joined: dict[RoomKey, JoinedRoom] = field(default_factory=dict)
    """Rooms that have an agent of the pool, as LiveKit says."""
    silent: dict[str, datetime] = field(default_factory=dict)
    """Uids of pods that gave no answer when they were last asked, and when that was."""
    refusals: Refusals = field(default_factory=Refusals)
    problem: Problem | None = None
    """Reason and message why rooms get no agent."""
    unborn: bool = False
    """Whether pods are wanted and no version has ever had one that was ready."""
    told: ToldSessions | None = None
    """The sessions as the status last told of them."""

    @property
    def rooms(self) -> set[RoomKey]:
        """Return the rooms that the pool knows."""
        return {*self.waiting, *self.promised, *self.unanswered, *self.unconnected, *self.joined}

    def see(self, pods: Mapping[str, SeenPod], now: datetime) -> set[str]:
        """Take over a look at the pods; return the names of the rooms whose call was lost with its worker.

        A call that its worker no longer has, and one whose worker is gone, is lost: when it ended as it should, its
        room has nothing to do about that. One that another worker has is not: LiveKit offers a job that a worker
        refuses to the next one, under the same id.
        """
        held = {job.id for pod in pods.values() if pod.status for job in pod.status.jobs or ()}
        rooms: set[str] = set()
        for uid, before in self.pods.items():
            known = {job.id: job.room for job in (before.status.jobs or ())} if before.status else {}
            pod = pods.get(uid)
            known = {job: room for job, room in known.items() if job not in held}
            same = pod is not None and pod.container == before.container and not pod.ended
            if before.status and not same and not before.ended:
                self._count(before, dead=0 if before.leaving else len(known))
            if pod is not None and same and pod.status is None:
                known = {}
            self.lost.update(dict.fromkeys(known, now))
            rooms.update(known.values())
        self.pods = dict(pods)
        horizon = now - timedelta(seconds=LOST_SECONDS)
        self.lost = {job: since for job, since in self.lost.items() if since > horizon and job not in held}
        self._forget_kept(now)
        return rooms

    def _count(self, pod: SeenPod, *, dead: int) -> None:
        """Keep the counts of a worker that is gone; `dead` calls went with it."""
        if pod.status is None:
            return
        started, failed = self.gone.get(pod.revision, (0, 0))
        self.gone[pod.revision] = (started + pod.status.started, failed + pod.status.failed + dead)

    def has_place(self, room: RoomKey, deployment: str = "") -> bool:
        """Return whether a worker could take one more call, for this room, beside those promised and kept for others.

        Namespaces that share the pool have their shares of its places (pools/decisions/fair_shares.py).
        """
        free = self._free_for(room, deployment)
        if free <= 0 or not self.shared:
            return free > 0
        held = self._held(without=room)
        waiting = Counter(self.namespace_of(other) for other in self.waiting if other != room)
        return may_take(self.namespace_of(room), self.namespace, held, waiting, free)

    def share_is_reached(self, room: RoomKey) -> bool:
        """Return whether a room finds no place though there are some: its namespace has its share."""
        return self._free_for(room, "") > 0 and not self.has_place(room)

    def next_in_line(self) -> list[RoomKey]:
        """Return the rooms that wait and whose turn it is now."""
        places = max(0, self.stable.sessions - len(self.promised))
        if not places:
            return []
        namespaces = {room: self.namespace_of(room) for room in self.waiting}
        return next_in_line(self.waiting, namespaces, self._held(), places)

    def namespace_of(self, room: RoomKey) -> str:
        """Return whose room it is; one that no MeetingRoom declares is the pool's own."""
        return self.namespace if "/" in room[0] else room[0]

    def _free_for(self, room: RoomKey, deployment: str) -> int:
        free = self.canary if deployment else self.stable
        if free is None or free.deployment != deployment:
            return 0
        others = sum(given == deployment for key, (_, given, _) in self.promised.items() if key != room)
        return free.sessions - others

    def _held(self, *, without: RoomKey | None = None) -> Counter[str]:
        """Return namespace -> places that its rooms have, or were just promised."""
        return Counter(self.namespace_of(room) for room in {*self.joined, *self.promised} if room != without)

    def promise(self, room: RoomKey, name: str, deployment: str, now: datetime) -> None:
        """Keep a place for a room that an agent was just asked for."""
        self.promised[room] = (name, deployment, now)

    def recent(self, now: datetime, pods: int, seconds: int) -> list[tuple[datetime, int]]:
        """Return what was wanted within `seconds`; at the first look, as many as there are `pods`.

        An operator that starts must not take it for granted that the pods there are too many.
        """
        horizon = now - timedelta(seconds=seconds)
        known = {pods: now} if self.wanted is None else self.wanted
        self.wanted = {number: at for number, at in known.items() if at > horizon}
        return [(at, number) for number, at in self.wanted.items()]

    def want(self, number: int, now: datetime) -> None:
        """Note how many pods were wanted at this look."""
        self.wanted = {**(self.wanted or {}), number: now}

    def wait(self, room: RoomKey, now: datetime) -> bool:
        """Note that a room found no free agent; return whether that is new."""
        self.promised.pop(room, None)
        self.unanswered.pop(room, None)
        new = room not in self.waiting
        self.waiting.setdefault(room, now)
        return new

    def served(self, room: RoomKey) -> None:
        """Note that a room has its agent, or needs none."""
        for known in (self.waiting, self.promised, self.unanswered, self.unconnected, self.joined):
            known.pop(room, None)

    def has_joined(self, room: RoomKey, name: str, agents: frozenset[str]) -> None:
        """Note that LiveKit lists these agents in a room."""
        before = self.joined.get(room)
        self.served(room)
        same = before is not None and before.agents == agents
        self.joined[room] = before if same and before else JoinedRoom(name, agents)

    def missed(self) -> set[RoomKey]:
        """Return the rooms to look at because no worker knows of the call that LiveKit lists an agent for.

        It may be another's worker, outside the pool: nothing is taken for dead by this alone.
        """
        running = self._running()
        found = set()
        for key, room in self.joined.items():
            room.missed = 0 if room.name in running else room.missed + 1
            if room.missed in _MISSED_LOOKS:
                found.add(key)
        return found

    def asked(self, room: RoomKey, *, again: bool, now: datetime) -> None:
        """Note that a room's agent is on its way, for the first time or `again`."""
        self.waiting.pop(room, None)
        if again:
            self.unanswered.setdefault(room, now)

    def _running(self) -> set[str]:
        """Return the names of the rooms whose calls workers hold."""
        return {job.room for pod in self.pods.values() if pod.status for job in pod.status.jobs or ()}

    def _forget_kept(self, now: datetime) -> None:
        """Forget promises that were kept, whose calls are now among the workers' own, or that came to nothing."""
        running = self._running()
        oldest = now - timedelta(seconds=PROMISE_SECONDS)
        self.promised = {
            room: (name, deployment, since)
            for room, (name, deployment, since) in self.promised.items()
            if name not in running and since > oldest
        }


@dataclass
class PoolsMemory:
    """What is known of VoiceAgentPools between passes."""

    pools: dict[Key, PoolMemory] = field(default_factory=dict)
    """Pool -> what its passes and those of its rooms tell each other."""

    def pool_memory(self, pool: Key) -> PoolMemory:
        """Return what is known of a pool between passes."""
        return self.pools.setdefault(pool, PoolMemory(namespace=pool[0]))


async def forget(memory: PoolsMemory, key: Key) -> None:
    """Forget a VoiceAgentPool that is gone."""
    memory.pools.pop(key, None)
