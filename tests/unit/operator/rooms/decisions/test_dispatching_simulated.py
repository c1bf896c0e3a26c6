"""Dispatching against a model of LiveKit, through any order of what may happen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.api.meetingroom import DispatchPolicy
from livekit_operator.rooms.decisions.dispatching import (
    UNTAKEN_SECONDS,
    WantedAgent,
    decide_dispatch,
)
from livekit_operator.views import DispatchView, JobView, ParticipantView
from tests.unit.operator.rooms.decisions.dispatching_values import NAME

# A small LiveKit: one room, one agent's name, seconds in steps.
STEP = 0.5
LEAVING_SECONDS = 3.0  # room.go waitForParticipantLeaving
DEAD_SECONDS = 21.0
LISTING_SECONDS = 5.0


@dataclass
class Job:
    id: str
    accepted: float
    joins: float
    listed: bool
    joined: bool = False
    ends: float | None = None
    """When its agent is out of the room."""
    dead: bool = False

    @property
    def identity(self) -> str:
        return f"agent-{self.id}"


@dataclass
class Dispatch:
    id: str
    created: float
    jobs: list[Job] = field(default_factory=list)
    deleted: bool = False


@dataclass
class LiveKit:
    """What counts of a server and its workers, and an operator that goes by `decide_dispatch` alone."""

    policy: DispatchPolicy
    random: Random
    now: float = 0.0
    people: int = 0
    lonely_since: float = 0.0
    worker: bool = True
    calm: bool = False
    """Whether workers do as they should."""
    dispatches: list[Dispatch] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    attempts: int = 0
    due: float = 0.0
    asked: int = 0
    doubled_since: float | None = None
    seen: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()

    def jobs(self) -> list[Job]:
        return [job for dispatch in self.dispatches for job in dispatch.jobs]

    def present(self) -> list[Job]:
        """Return the agents that the server lists as participants."""
        return [job for job in self.jobs() if job.joined and (job.ends is None or job.ends > self.now)]

    def living(self) -> frozenset[str]:
        return frozenset(job.id for job in self.present() if not job.dead)

    def ask(self) -> None:
        dispatch = Dispatch(f"AD_{self.asked}", self.now)
        self.asked += 1
        self.dispatches.append(dispatch)
        if not self.worker:
            return
        delay = 0.2 if self.calm else self.random.choice([0.2, 1.0, 2.5, 5.0])
        travel = 0.6 if self.calm else self.random.choice([0.6, 4.0, 11.0, 20.0, 1e9])
        listed = delay < UNTAKEN_SECONDS  # LiveKit does not wait longer for the answer
        accepted = self.now + delay
        dispatch.jobs.append(Job(f"AJ_{self.asked}", accepted, accepted + travel, listed))

    def take_back(self, id: str) -> None:  # noqa: A002  # LiveKit's word
        dispatch = next(item for item in self.dispatches if item.id == id)
        dispatch.deleted = True
        for job in dispatch.jobs:
            if job.listed and not job.dead:
                job.joins = job.joins if job.joined else 1e9
                job.ends = min(job.ends or 1e9, self.now + self.random.choice([STEP, LEAVING_SECONDS]))

    def kill(self) -> None:
        """A worker dies; its agent stays listed for a while."""
        running = [job for job in self.jobs() if job.accepted <= self.now and not job.dead and job.ends is None]
        for job in running[:1]:
            job.dead = True
            self.lost.add(job.id)
            job.joins = job.joins if job.joined else 1e9
            job.ends = self.now + DEAD_SECONDS

    def quit(self) -> None:
        """An agent leaves by itself, and its dispatch says nothing of it."""
        for job in self.present()[:1]:
            job.ends = self.now

    def come(self) -> None:
        self.people += 1

    def go(self) -> None:
        self.people = max(0, self.people - 1)

    def forget(self) -> None:
        """The operator starts anew."""
        self.attempts = 0

    def turn(self) -> None:
        """The workers go, or come."""
        self.worker = not self.worker

    def step(self, *events: Callable[[], None]) -> None:
        self.now += STEP
        people = self.people
        for event in events:
            event()
        if people and not self.people:
            self.lonely_since = self.now
        for job in self.jobs():
            job.joined = job.joined or (job.joins <= self.now and not job.dead)
        # A webhook tells who came and went, and the listing does when it gets lost.
        told = frozenset(job.id for job in self.present())
        if events or told != self.seen:
            self.due = min(self.due, self.now + (0 if self.calm else self.random.choice([0, LISTING_SECONDS])))
        self.seen = told
        if self.now >= self.due:
            self.reconcile()
        self.watch(told)

    def reconcile(self) -> None:
        wanted = WantedAgent(NAME, self.policy, self.worker)
        participants = [ParticipantView(f"person-{n}") for n in range(self.people)]
        participants += [ParticipantView(job.identity, NAME) for job in self.present()]
        listed = [self.view(dispatch) for dispatch in self.dispatches if not dispatch.deleted]
        lonely = 0.0 if self.people else self.now - self.lonely_since
        lost = frozenset(self.lost)
        decided = decide_dispatch(
            wanted, participants, listed, lonely_seconds=lonely, lost=lost, attempts=self.attempts
        )
        self.attempts = decided.attempts
        self.due = self.now + (1e9 if decided.again is None else decided.again)
        for job in self.present():
            if job.identity in decided.remove:
                job.ends = self.now
        assert not any(job.dead for job in self.present())
        for id in decided.delete:  # noqa: A001
            self.take_back(id)
        if decided.create:
            assert self.people or self.policy == "OnCreate"
            hopeful = [view for view in listed if not view.jobs or not all(job.id in lost for job in view.jobs)]
            assert all(view.age >= UNTAKEN_SECONDS for view in hopeful)
            self.ask()
        if decided.state == "Dispatched":
            assert sum(not dispatch.deleted for dispatch in self.dispatches) == 1

    def view(self, dispatch: Dispatch) -> DispatchView:
        jobs = [job for job in dispatch.jobs if job.listed and job.accepted <= self.now]
        return DispatchView(
            dispatch.id, NAME, self.now - dispatch.created, jobs=tuple(JobView(job.id, job.identity) for job in jobs)
        )

    def watch(self, told: frozenset[str]) -> None:
        """Two agents speak at once for no longer than it takes to hear of it and to send one away."""
        living = self.living() & told
        if len(living) < 2 or living - self.before:
            self.doubled_since = None
        if len(living) > 1:
            self.doubled_since = self.now if self.doubled_since is None else self.doubled_since
            assert self.now - self.doubled_since <= LISTING_SECONDS + LEAVING_SECONDS + 2 * STEP
        self.before = living


happenings = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from(["come", "come", "go", "kill", "kill", "quit", "ask", "turn", "forget"]),
    ),
    max_size=25,
)
policies: Any = st.sampled_from(["OnFirstParticipant", "OnCreate"])


@given(policies, happenings, st.integers(0, 2**32))
def test_whatever_happens_one_agent_comes_in_the_end_and_never_two_for_long(
    policy: DispatchPolicy, events: list[tuple[int, str]], seed: int
) -> None:
    room = LiveKit(policy, Random(seed))
    for steps, event in events:
        for _ in range(steps):
            room.step()
        room.step(getattr(room, event))
    room.calm, room.worker, room.people = True, True, max(1, room.people)
    room.step(room.forget)
    for _ in range(int(120 / STEP)):
        room.step()
    (agent,) = room.living()
    for _ in range(int(60 / STEP)):
        room.step()
        assert room.living() == {agent}


@given(happenings, st.integers(0, 2**32))
def test_whatever_happens_no_agent_stays_where_nobody_needs_it(events: list[tuple[int, str]], seed: int) -> None:
    room = LiveKit("OnFirstParticipant", Random(seed))
    for steps, event in events:
        for _ in range(steps):
            room.step()
        room.step(getattr(room, event))
    while room.people:
        room.step(room.go)
    for _ in range(int(120 / STEP)):
        room.step()
    assert not room.living()
    assert all(dispatch.deleted for dispatch in room.dispatches)
