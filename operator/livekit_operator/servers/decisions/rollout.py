"""Which servers to start, which get new connections and which to terminate: a pure decision.

A server that terminates takes its rooms with it, so it drains first. Where servers share their rooms by Redis:

    missing servers             -> started, one more than wanted while versions change
    servers of an older version -> drained as soon as a ready new one replaces them, the emptiest first; a draining
                                   server gets no new rooms and ends with its last one
    too many                    -> the emptiest is drained

Without Redis there is one server: on a second one, rooms, agents and callers would not find those of the first. So the
new one waits, ready (Standby), until the rooms of the old one are empty or its time is over, and then takes over. A new
one that cannot be scheduled because the old one holds its ports waits likewise.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

# A server whose time is over disconnects whoever is left and ends.
FORCED_GRACE_SECONDS = 10
# How long a cloud may take to give a Service an address.
ADDRESS_PATIENCE = timedelta(seconds=60)


@dataclass(frozen=True)
class ServerPod:
    """What deciding needs of a server's pod."""

    name: str
    slot: int
    created: datetime
    current: bool = True
    """Whether its configuration is the wanted one."""
    ready: bool = False
    serving: bool = False
    """Whether it gets new connections."""
    leaving: bool = False
    finished: bool = False
    stuck: bool = False
    """Whether it does not start: not scheduled, no image, or it ends again and again."""
    unschedulable: bool = False
    cordoned: bool = False
    """Whether its node is cordoned."""
    unreachable: bool = False
    shared: bool = True
    """Whether it finds others' rooms by Redis."""
    deserted: bool = False
    """Whether it is draining and has had no participant for a while: a single answer may miss a new caller."""
    hurried: bool = False
    """Whether it is terminating with a short grace period."""
    rooms: int | None = None
    participants: int | None = None

    @property
    def idle(self) -> bool:
        """Return whether nobody is known to be on it."""
        return self.participants == 0 or (self.participants is None and not self.ready)

    @property
    def up(self) -> bool:
        """Return whether clients can use it."""
        return self.ready and not self.unreachable


@dataclass(frozen=True)
class Leave:
    """A server to terminate; with `grace_seconds` None it has all of its time to drain."""

    name: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class Steps:
    """What comes next of a rollout. `waits_for` names servers whose rooms must become empty before anything else."""

    start: tuple[int, ...] = ()
    serve: tuple[str, ...] = ()
    withdraw: tuple[str, ...] = ()
    leave: tuple[Leave, ...] = ()
    waits_for: tuple[str, ...] = ()
    deadline: datetime | None = None
    """When the waiting is over, rooms or not."""
    yields: tuple[Leave, ...] = ()
    """Servers to terminate for a new one that needs their place, once the new one is known to be able to use it."""


def next_steps(
    pods: Sequence[ServerPod],
    *,
    replicas: int,
    shared: bool,
    drain_timeout: timedelta,
    now: datetime,
    hung: Collection[str] = (),
    unaddressed: Mapping[int, datetime] = MappingProxyType({}),
) -> Steps:
    """Return what comes next on the way to `replicas` current servers without disconnecting anybody.

    `hung` ones run without anybody on them and will not become ready. `unaddressed` is slot -> since when its Service
    waits for the address of a load balancer.
    """
    finished = [Leave(pod.name) for pod in pods if pod.finished and not pod.leaving]
    # Agents alone would keep a draining server until its time is over: it may end with its last caller.
    finished += [
        Leave(pod.name, FORCED_GRACE_SECONDS) for pod in pods if pod.leaving and not pod.hurried and pod.deserted
    ]
    staying = [pod for pod in pods if not pod.finished and not pod.leaving]
    current = [pod for pod in staying if pod.current and not pod.cordoned]
    # An older one that does not start serves nobody.
    useless = [pod for pod in staying if pod not in current and not pod.current and pod.stuck and not pod.ready]
    older = [pod for pod in staying if pod not in current and pod not in useless]

    most = replicas + (1 if older and replicas else 0)
    missing = max(0, min(replicas - len(current), most - len(current) - len(older)))
    if older and _without_place(current):
        missing = 0  # another one would not be scheduled either
    start = tuple(_free_slots(pods, missing))

    situation = _Situation(current, older, replicas, drain_timeout, now, any(pod.leaving for pod in pods))
    # One that does not use Redis, yet or any more, shares no rooms with the others as long as it gets connections.
    shared = shared and all(pod.shared for pod in staying if pod.serving)
    serve, withdraw, leave, waits_for, deadline = _share(situation) if shared else _hand_over(situation)
    going = {item.name for item in leave}
    every = [*finished, *(Leave(pod.name) for pod in useless), *leave]
    every = [item for item in every if item.name not in hung] + [Leave(name, FORCED_GRACE_SECONDS) for name in hung]
    way = Way(waits_for=tuple(waits_for), deadline=deadline)
    since = unaddressed.get(min((slot for slot in start if slot in unaddressed), default=-1))
    if since is not None and now - since >= ADDRESS_PATIENCE and not every and not waits_for:
        way = give_way(pods, since=since, drain_timeout=drain_timeout, now=now)
    return Steps(
        start=start,
        serve=tuple(name for name in serve if name not in going),
        withdraw=tuple(withdraw),
        leave=tuple(every),
        waits_for=way.waits_for,
        deadline=way.deadline,
        yields=way.yields,
    )


@dataclass(frozen=True)
class _Situation:
    current: Sequence[ServerPod]
    older: Sequence[ServerPod]
    replicas: int
    drain_timeout: timedelta
    now: datetime
    leaving: bool
    """Whether a server is on its way out already, and will free its place."""


# serve, withdraw, leave, waits for, deadline
_Decision = tuple[list[str], list[str], list[Leave], list[str], datetime | None]


def _share(situation: _Situation) -> _Decision:
    current, older, replicas = situation.current, situation.older, situation.replicas
    staying = [*current, *older]
    serve = [pod.name for pod in staying if pod.up and not pod.serving]
    # A server that disappeared would still get its share of new connections until Kubernetes notices. It keeps
    # them when no other is left: one that may be alive is better than none.
    others = any(pod.up and (pod.serving or pod.name in serve) for pod in staying)
    withdraw = [pod.name for pod in staying if pod.unreachable and pod.serving and others]
    surplus = _emptiest(current)[: max(0, len(current) - replicas)]
    needed = max(0, replicas - sum(pod.up for pod in current))
    leave = [Leave(pod.name) for pod in (*surplus, *_emptiest(older)[: max(0, len(older) - needed)])]
    if leave or not older or situation.leaving or not _without_place(current):
        return serve, withdraw, leave, [], None
    # The new one needs the place of an old one; while others serve, one may drain at once.
    outdated = [pod for pod in older if not pod.current]
    if not outdated:
        return serve, withdraw, [], [], None  # only its node is cordoned, and there is no other: it stays
    victim = _emptiest(outdated)[0]
    if sum(pod.up for pod in staying) > 1 or victim.idle:
        return serve, withdraw, [Leave(victim.name)], [], None
    return serve, withdraw, *_wait(victim, situation)


def _hand_over(situation: _Situation) -> _Decision:
    current, older, replicas = situation.current, situation.older, situation.replicas
    staying = [*current, *older]
    if replicas == 0:
        return [], [], [Leave(pod.name) for pod in staying], [], None
    holder = next((pod for pod in staying if pod.serving), None)
    heirs = sorted((pod for pod in current if pod.up and pod is not holder), key=lambda pod: pod.slot)
    spare = [Leave(pod.name) for pod in _emptiest(current)[: max(0, len(current) - 1)] if pod is not holder]
    if holder is None:
        candidates = [*heirs, *(pod for pod in older if pod.up)]
        leave = [Leave(pod.name) for pod in older if pod is not candidates[0]] if candidates else []
        return [pod.name for pod in candidates[:1]], [], leave, [], None
    if holder in current:
        return [], [], [*spare, *(Leave(pod.name) for pod in older)], [], None
    if not heirs and (holder.current or not _without_place(current)):
        return [], [], [], [], None  # the new one starts, or there is no other node for it
    serve, withdraw = [pod.name for pod in heirs[:1]], [holder.name] if heirs else []
    if holder.idle or (heirs and holder.unreachable):
        return serve, withdraw, [Leave(holder.name)], [], None
    leave, waits_for, deadline = _wait(holder, situation)
    return (serve, withdraw, leave, waits_for, deadline) if leave else ([], [], [], waits_for, deadline)


def _wait(pod: ServerPod, situation: _Situation) -> tuple[list[Leave], list[str], datetime | None]:
    """Wait for a server's rooms, counted from the start of the one that takes its place."""
    deadline = max(item.created for item in situation.current) + situation.drain_timeout
    if situation.now >= deadline:
        return [Leave(pod.name, FORCED_GRACE_SECONDS)], [], None
    return [], [pod.name], deadline


@dataclass(frozen=True)
class Way:
    """How an older server makes room for a new one: at once, or when its rooms are empty."""

    yields: tuple[Leave, ...] = ()
    waits_for: tuple[str, ...] = ()
    deadline: datetime | None = None


def give_way(pods: Sequence[ServerPod], *, since: datetime, drain_timeout: timedelta, now: datetime) -> Way:
    """Return which server makes room for a new one that has had no address `since` then, which an older one may have.

    A load balancer with one address gives it to one Service: the older server terminates when it is empty, or when its
    time is over, and the new one takes its slot. If another one serves meanwhile, it may drain at once.
    """
    staying = [pod for pod in pods if not pod.finished and not pod.leaving]
    older = [pod for pod in staying if not pod.current]
    if not older or any(pod.leaving for pod in pods):
        return Way()
    victim = _emptiest(older)[0]
    deadline = since + drain_timeout
    if victim.idle or sum(pod.up for pod in staying if pod.shared) > 1:
        return Way(yields=(Leave(victim.name),))
    if now >= deadline:
        return Way(yields=(Leave(victim.name, FORCED_GRACE_SECONDS),))
    return Way(waits_for=(victim.name,), deadline=deadline)


def one_to_ask(pods: Sequence[ServerPod], *, already: bool) -> str | None:
    """Return which server to ask directly about all rooms; None to ask any, through their Service.

    Nodes send connections to a lost server for some time after it was taken out of its Service, and to the cluster's
    DNS on its node until Kubernetes notices. So one is asked directly while another is lost and then, `already`, until
    all are back.
    """
    staying = [pod for pod in pods if not pod.leaving and not pod.finished]
    able = [pod for pod in staying if pod.up and pod.serving and pod.shared]
    lost = any(pod.unreachable for pod in staying)
    if not able or not (lost or (already and not all(pod.up for pod in staying))):
        return None
    return min(able, key=lambda pod: pod.slot).name


def _without_place(current: Sequence[ServerPod]) -> bool:
    return any(pod.unschedulable for pod in current)


def _emptiest(pods: Sequence[ServerPod]) -> list[ServerPod]:
    """Return the servers in the order in which they should terminate."""
    unknown = float("inf")
    return sorted(
        pods,
        key=lambda pod: (
            pod.up,
            not pod.cordoned,
            pod.participants if pod.participants is not None else unknown,
            pod.rooms if pod.rooms is not None else unknown,
            -pod.slot,
        ),
    )


def _free_slots(pods: Sequence[ServerPod], count: int) -> list[int]:
    taken = {pod.slot for pod in pods}
    return [slot for slot in range(len(taken) + count) if slot not in taken][:count]
