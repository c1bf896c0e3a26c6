"""What is known of a pool between two passes: what each pod reported last, which calls were lost, which rooms wait.

Nothing here is needed to reach the right state: an operator that starts without it finds out the same from the pods
some seconds later, and LiveKit drops a dead agent by itself after some twenty.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from livekit_operator.engine.cache import Key
from livekit_operator.errors import Problem
from livekit_operator.moments import all_no_later
from livekit_operator.pools.decisions.fair_shares import may_take, next_in_line
from livekit_operator.pools.told import Counts, ToldSessions
from livekit_operator.reconciling.refusals import Refusals
from livekit_operator.views import EndedCall, WorkerStatus

# Of a MeetingRoom, or of a room that the pool serves for its name (servers/links.py undeclared_room).
RoomKey = tuple[str, str]
# Its name on the server, deployment, and when its place was promised.
Promise = tuple[str, str, datetime]

# By then a dispatch is among its worker's jobs, or nobody took it.
PROMISE_SECONDS = 5.0
# LiveKit drops a participant whose connection is dead after some 20 s; its room has had many passes by then.
LOST_SECONDS = 300.0
# After so many passes of the pool a room is woken whose agent no worker knows: LiveKit lists a dead one for some 20 s.
_MISSED_PASSES = (2, 5, 10, 20)
# A pod is silent when it did not answer this often in a row.
SILENT_AFTER_PASSES = 2


@dataclass(frozen=True)
class SeenPod:
    """A pod in one pass: `container` changes when its worker starts anew, `status` is what that said last."""

    revision: str
    leaving: bool
    container: str
    ended: bool
    status: WorkerStatus | None
    name: str = ""
    missed: int = 0
    """In how many passes in a row it did not answer."""
    took: bool = False
    """Whether it took calls though it was leaving."""
    busy_at: datetime | None = None
    """When it last said that it has calls."""
    inputs: str = ""
    """Digest of the Secrets and ConfigMaps that it began with."""

    @property
    def version(self) -> str:
        """Return what changes where its agent may do better than the one before."""
        return f"{self.revision} {self.inputs}".strip()

    @property
    def heard(self) -> bool:
        """Return whether what it said last is believed: one that missed a pass may only be too busy."""
        return self.status is not None and self.missed < SILENT_AFTER_PASSES


@dataclass(frozen=True)
class Free:
    """Calls that the ready workers of a deployment could still take; the stable ones' deployment is empty."""

    deployment: str
    sessions: int


@dataclass
class JoinedRoom:
    """A room's name on the server, its agents' identities, and for how many passes no worker has known of it."""

    name: str
    agents: frozenset[str]
    missed: int = 0


@dataclass
class PoolMemory:
    """What one pool's passes and its rooms' passes tell each other."""

    namespace: str = ""
    """The pool's own, for which some places are kept."""
    shared: bool = False
    """Whether rooms of other namespaces may call its agents; where they may not, nobody's share is counted."""
    pods: dict[str, SeenPod] = field(default_factory=dict)
    """Pod uid -> what was seen of it last."""
    looked: datetime | None = None
    """When they were seen."""
    lost: dict[str, datetime] = field(default_factory=dict)
    """Ids of jobs whose process died, and when that was seen."""
    ended: dict[str, EndedCall] = field(default_factory=dict)
    """Id of a job -> how it ended, of those that workers still tell of and those of the last minutes."""
    wanted: dict[int, datetime] | None = None
    """Numbers of pods that were wanted in former passes, and when last, for scaling down without haste."""
    waiting: dict[RoomKey, datetime] = field(default_factory=dict)
    """Rooms that need an agent and found none free, and since when or when last told of a free one."""
    unanswered: dict[RoomKey, datetime] = field(default_factory=dict)
    """Rooms that asked more than once for an agent that does not come, and since when."""
    unconnected: dict[RoomKey, datetime] = field(default_factory=dict)
    """Rooms whose agent came and was not connected in time, and since when."""
    promised: dict[RoomKey, Promise] = field(default_factory=dict)
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
    taken: frozenset[str] = frozenset()
    """Ids of the dispatches whose jobs workers hold, those included that have just been accepted."""
    tells: bool = False
    """Whether its workers say what becomes of jobs."""
    publishers: bool = False
    """Whether its workers take a job for each who publishes, as they said last."""
    staying: frozenset[str] = frozenset()
    """Names of its pods that may be called."""
    versions: frozenset[str] = frozenset()
    """Of these."""
    _ended_in: dict[str, list[EndedCall]] = field(default_factory=dict)
    """Name of a room -> how calls in it ended, the last one last."""

    @property
    def rooms(self) -> set[RoomKey]:
        """Return the rooms that the pool knows."""
        return {*self.waiting, *self.promised, *self.unanswered, *self.unconnected, *self.joined}

    def see(self, pods: Mapping[str, SeenPod], now: datetime, *, let_go: Set[str] = frozenset()) -> set[str]:
        """Take in the pods of a pass; return the names of the rooms whose call has ended or was lost with its worker.

        Pods that were `let_go` are there and no longer the pool's: their calls go on.

        A call that its worker no longer has, and one whose worker is gone, is lost, unless the worker says how it
        ended. One that another worker has is not: LiveKit offers a job that a worker refuses to the next one, under
        the same id.
        """
        held = {job.id for pod in pods.values() if pod.status for job in pod.status.jobs or ()}
        rooms = self._hear_of_ended(pods, held, now)
        for uid, before in self.pods.items():
            if uid in let_go:
                continue
            known = {job.id: job.room for job in (before.status.jobs or ())} if before.status else {}
            pod = pods.get(uid)
            known = {job: room for job, room in known.items() if job not in held and job not in self.ended}
            same = pod is not None and pod.container == before.container and not pod.ended
            if before.status and not same and not before.ended:
                self._count(before, dead=0 if before.leaving else len(known))
            if pod is not None and same and pod.status is None:
                known = {}
            self.lost.update(dict.fromkeys(known, now))
            rooms.update(known.values())
        self.pods, self.looked = dict(pods), now
        self._index()
        horizon = now - timedelta(seconds=LOST_SECONDS)
        self.lost = {job: since for job, since in self.lost.items() if since > horizon and job not in held}
        self._forget_kept(now)
        return rooms

    def _hear_of_ended(self, pods: Mapping[str, SeenPod], held: Set[str], now: datetime) -> set[str]:
        """Take in which calls have ended, and how; return the names of the rooms of those that were not known.

        One that another worker has goes on. Of a pod that was not heard before, a call may have ended long ago: who has
        come since was not with its agent.
        """
        known = {uid for uid, pod in self.pods.items() if pod.status is not None}
        told = {
            job.id: EndedCall(job, now if uid in known else min(now, job.at or now), pod.name, pod.version)
            for uid, pod in pods.items()
            for job in (pod.status.ended if pod.status else ())
            if job.id not in held
        }
        new = told.keys() - self.ended.keys()
        horizon = now - timedelta(seconds=LOST_SECONDS)
        kept = {job: call for job, call in self.ended.items() if job in told or (call.at > horizon and job not in held)}
        self.ended = {**told, **kept}
        return {told[job].job.room for job in new}

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

    def promise(self, room: RoomKey, name: str, deployment: str, now: datetime) -> Promise | None:
        """Keep a place for a room that an agent is asked for now; return the promise before, None for none."""
        before = self.promised.get(room)
        self.promised[room] = (name, deployment, now)
        return before

    def take_back(self, room: RoomKey, before: Promise | None) -> None:
        """Give a place to others that was kept for a room, whose agent was not asked for in the end."""
        self.promised.pop(room, None)
        if before is not None:
            self.promised[room] = before

    def recent(self, now: datetime, pods: int, seconds: int) -> list[tuple[datetime, int]]:
        """Return what was wanted within `seconds`; in the first pass, as many as there are `pods`.

        An operator that starts must not take it for granted that the pods there are too many.
        """
        horizon = now - timedelta(seconds=seconds)
        known = {pods: now} if self.wanted is None else self.wanted
        return [(at, number) for number, at in known.items() if at > horizon]

    def want(self, number: int, recent: Sequence[tuple[datetime, int]], now: datetime) -> None:
        """Note how many pods are wanted in this pass, and of what was wanted before only what is `recent`."""
        self.wanted = {**{before: at for at, before in recent}, number: now}

    def needs_place(self) -> int:
        """Return how many rooms need a place: those that wait, and those whose agent is on its way or did not come."""
        on_their_way = {room for room, (_, deployment, _) in self.promised.items() if not deployment}
        return len(self.waiting.keys() | self.unanswered.keys() | on_their_way)

    def offer_nothing(self) -> None:
        """Have no room count on the pool's agents."""
        self.stable, self.canary = Free("", 0), None

    def count(self) -> Counts:
        """Return what is to be told of the pool's rooms and calls now."""
        return Counts(
            free=self.stable.sessions + (self.canary.sessions if self.canary else 0),
            waiting=len(self.waiting),
            unconnected=len(self.unconnected),
            unanswered=min(self.unanswered.values(), default=None),
            gone=dict(self.gone),
            ended=tuple(self.ended.values()),
        )

    def wait(self, room: RoomKey, now: datetime) -> bool:
        """Note that a room found no free agent; return whether that is new."""
        self.promised.pop(room, None)
        self.unanswered.pop(room, None)
        new = room not in self.waiting
        self.waiting.setdefault(room, now)
        return new

    def release(self, room: RoomKey) -> None:
        """Forget what a room waits for or holds: it has its agent, or needs none."""
        for known in (self.waiting, self.promised, self.unanswered, self.unconnected, self.joined):
            known.pop(room, None)

    def has_joined(self, room: RoomKey, name: str, agents: frozenset[str]) -> None:
        """Note that LiveKit lists these agents in a room."""
        before = self.joined.get(room)
        self.release(room)
        same = before is not None and before.agents == agents
        self.joined[room] = before if same and before else JoinedRoom(name, agents)

    def missed(self) -> set[RoomKey]:
        """Return the rooms to wake because no worker knows of the call that LiveKit lists an agent for.

        It may be another's worker, outside the pool: nothing is taken for dead by this alone.
        """
        running = self._running()
        found = set()
        for key, room in self.joined.items():
            room.missed = 0 if room.name in running else room.missed + 1
            if room.missed in _MISSED_PASSES:
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

    def ended_in(self, name: str) -> Sequence[EndedCall]:
        """Return how calls in a room of this name ended, the last one last."""
        return self._ended_in.get(name, ())

    def _index(self) -> None:
        """Sort what workers say by what rooms ask of it: each of ten thousand rooms does so in each of its passes."""
        held = (pod.status.jobs or () for pod in self.pods.values() if pod.status and pod.heard)
        self.taken = frozenset(job.dispatch for jobs in held for job in jobs if job.dispatch)
        said = [pod.status for pod in self.pods.values() if pod.status is not None]
        self.tells = any(status.jobs is not None for status in said)
        self.publishers = any(status.publishers for status in said) if said else self.publishers
        staying = [pod for pod in self.pods.values() if not (pod.leaving or pod.ended)]
        self.staying = frozenset(pod.name for pod in staying)
        self.versions = frozenset(pod.version for pod in staying)
        self._ended_in = {}
        for call in sorted(self.ended.values(), key=lambda call: call.at):
            self._ended_in.setdefault(call.job.room, []).append(call)

    def set_back(self, now: datetime) -> None:
        """Have no moment lie ahead: the clock was, and was set back to now."""
        self.lost, self.silent = all_no_later(self.lost, now), all_no_later(self.silent, now)
        self.ended = {job: replace(call, at=min(call.at, now)) for job, call in self.ended.items()}
        self._index()
        self.waiting, self.unanswered = all_no_later(self.waiting, now), all_no_later(self.unanswered, now)
        self.unconnected = all_no_later(self.unconnected, now)
        if self.wanted is not None:
            self.wanted = all_no_later(self.wanted, now)
        self.looked = min(self.looked, now) if self.looked else None
        self.promised = {room: (name, given, min(at, now)) for room, (name, given, at) in self.promised.items()}
        self.refusals, self.told = Refusals(), None

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


def set_back(memory: PoolsMemory, now: datetime) -> None:
    """Have no moment lie ahead: the clock was, and was set back to now."""
    for pool in memory.pools.values():
        pool.set_back(now)


async def forget(memory: PoolsMemory, key: Key) -> None:
    """Forget a VoiceAgentPool that is gone."""
    memory.pools.pop(key, None)
