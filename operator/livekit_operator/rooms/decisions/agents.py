"""What the agents of a room need: a pure decision for all of its pools, of which each agent's is `dispatching`.

nobody is there who needs one     -> every pool may give the room's place to others
it cannot be told who is there    -> everything stays as it was last reported, and is checked again soon
anything else                     -> `decide_dispatch` for each pool; the agents of former pools are removed
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from livekit_operator import reasons
from livekit_operator.constants import ANNOTATION_CALL_AGENTS
from livekit_operator.errors import Problem
from livekit_operator.pools.decisions.agent_problems import ASKED_AGAIN, CONNECT_HINT
from livekit_operator.pools.decisions.canary import goes_to_canary
from livekit_operator.pools.decisions.failing import LASTED_SECONDS
from livekit_operator.rooms.decisions.asked import MOST_FAILING_SECONDS, AskedAgent
from livekit_operator.rooms.decisions.dispatching import CONNECT_SECONDS, Decision, State, WantedAgent, decide_dispatch
from livekit_operator.rooms.decisions.former_agents import heard, still_there, unheard
from livekit_operator.rooms.decisions.scene import PoolFacts, Reported, Scene
from livekit_operator.views import EndedCall


@dataclass(frozen=True)
class AgentPlan:
    """What to do about the agent of one pool, and what to report of it."""

    pool: str
    agent_name: str
    decision: Decision
    activity: str | None = None
    problem: Problem | None = None
    part: Literal["Decided", "SameName", "Unneeded", "Unknown"] = "Decided"
    """Whether it is decided for this pool, by another pool of its name, or not at all."""
    asked: AskedAgent = field(default_factory=AskedAgent)
    """How its agent was asked for, this decision included."""
    joined: frozenset[str] = frozenset()
    """Identities of its agents that are connected."""


@dataclass(frozen=True)
class AgentsPlan:
    """What to do about a room's agents: first those of former pools go, then each pool in this order."""

    agents: Sequence[AgentPlan]
    drop_dispatches: tuple[str, ...] = ()
    drop_participants: tuple[str, ...] = ()


def decide_agents(scene: Scene) -> AgentsPlan:
    """Return what the agents of a room need now."""
    if scene.need == "None":
        return AgentsPlan([_unneeded(pool) for pool in scene.pools])
    if scene.need == "Unknown":
        return AgentsPlan([_as_before(scene, pool) for pool in scene.pools])
    names = {pool.shown: pool.agent_name for pool in scene.pools}
    former = {pool: told.agent_name for pool, told in scene.before.items()}
    # The agent of a pool that the room no longer names is removed; a call goes on with its agent when one is renamed.
    dropped = {name for pool, name in former.items() if name and pool not in names} - set(names.values())
    renamed = {name: names[pool] for pool, name in former.items() if names.get(pool) not in (None, "", name)}
    present = {p.agent_name for p in scene.participants} | {dispatch.agent_name for dispatch in scene.dispatches}
    now = replace(
        scene,
        participants=[
            replace(p, agent_name=renamed.get(p.agent_name, p.agent_name)) if p.agent_name else p
            for p in scene.participants
        ],
        dispatches=[replace(d, agent_name=renamed.get(d.agent_name, d.agent_name)) for d in scene.dispatches],
    )
    pools = _sharing_names(scene.pools)
    decided: dict[str, AgentPlan] = {}
    agents = []
    # Another pool of the same name goes first where this one is never asked, or has no place.
    for pool in sorted(pools, key=lambda one: (one.policy == "Never", not one.place)):
        plan = _plan_for(now, pool, decided.get(pool.agent_name))
        if pool.agent_name:
            decided.setdefault(pool.agent_name, plan)
        # An agent that still has the name from before a renaming is shown with it until the call ends.
        shown = former.get(pool.shown)
        agents.append(replace(plan, agent_name=shown) if shown and shown in present else plan)
    return AgentsPlan(
        agents,
        tuple(dispatch.id for dispatch in scene.dispatches if dispatch.agent_name in dropped),
        tuple(person.identity for person in scene.participants if person.agent_name in dropped),
    )


def _sharing_names(pools: Sequence[PoolFacts]) -> Sequence[PoolFacts]:
    """Return pools that share a name with what the workers of all of these say: any may have taken a request."""
    names = [pool.agent_name for pool in pools]
    if len(set(names)) == len(names):
        return pools
    shared = []
    for pool in pools:
        same = [other for other in pools if other.agent_name == pool.agent_name]
        shared.append(
            replace(
                pool,
                lost=frozenset().union(*(other.lost for other in same)),
                taken=frozenset().union(*(other.taken for other in same)),
                pods=frozenset().union(*(other.pods for other in same)),
                versions=frozenset().union(*(other.versions for other in same)),
                looked_seconds=max(other.looked_seconds for other in same),
                ended=sorted((one for other in same for one in other.ended), key=lambda one: one.at),
            )
        )
    return shared


def _plan_for(scene: Scene, pool: PoolFacts, same: AgentPlan | None) -> AgentPlan:
    """Return what to do for one pool; of two that share a name the room wants one agent, which `same` decides."""
    asked = scene.asked.get(pool.agent_name, AskedAgent())
    ours = [p for p in scene.participants if p.agent_name == pool.agent_name]
    activity = next((p.state for p in ours if p.state), None)
    if same is not None:
        decision = replace(same.decision, create=False, delete=(), remove=())
        problem = _problem(pool, decision, same.asked)
        return AgentPlan(pool.shown, pool.agent_name, decision, activity, problem, part="SameName", asked=same.asked)
    known = heard(scene, pool, asked)
    decision = _decide(scene, pool, known)
    after = known.noted(decision, scene.now, publishers=pool.publishers)
    if decision.create:
        after = replace(after, asked_for=scene.people, request="")
    requests = scene.requests(pool)
    listed = frozenset(dispatch.id for dispatch in requests)
    after = replace(after, brought=listed if decision.state == "Joined" else known.brought & listed)
    after = replace(after, met=decision.state == "Joined" and (after.met or bool(scene.people)))
    if decision.state == "Joined" and after.failures:
        left = LASTED_SECONDS - max((dispatch.age for dispatch in requests), default=0.0)
        if left > 0 and not after.outdated(pool.versions):
            decision = replace(decision, again=min(left, decision.again or left))
        else:
            after = replace(after, failures=0, last_failure=None)
    joined = frozenset(p.identity for p in ours if p.connected) if decision.state == "Joined" else frozenset()
    problem = _problem(pool, decision, after)
    return AgentPlan(pool.shown, pool.agent_name, decision, activity, problem, asked=after, joined=joined)


def _decide(scene: Scene, pool: PoolFacts, asked: AskedAgent) -> Decision:
    deployment, place = "", pool.place
    if pool.canary is not None and goes_to_canary(pool.canary_weight, f"{scene.room}/{asked.calls}"):
        # A call never waits for the canary: if that has no place, the stable workers take it.
        deployment, place = (pool.canary, True) if pool.canary_place else ("", pool.place)
    return decide_dispatch(
        WantedAgent(
            pool.agent_name,
            pool.policy,
            available=place,
            deployment=deployment,
            looked_seconds=pool.looked_seconds,
            left_seconds=(scene.now - asked.left_at).total_seconds() if asked.left_at else None,
            failed=asked.failed,
            pause=asked.pause(scene.now, pool.pods),
            leaves=asked.last_failure is not None and not asked.last_failure.job.failed,
            brought=asked.brought,
            unheard=unheard(scene, pool, asked),
            asked_for=still_there(asked.asked_for, scene.people),
            met=asked.met,
            restart=pool.restart,
            called=scene.called,
            unserved_seconds=asked.missing(scene.now) if pool.publishers else None,
        ),
        scene.participants,
        scene.dispatches,
        lonely_seconds=scene.lonely_seconds,
        lost=pool.lost,
        taken=pool.taken,
        ended=frozenset(one.job.id for one in pool.ended),
        attempts=asked.attempts,
    )


def _unneeded(pool: PoolFacts) -> AgentPlan:
    decision = Decision("Waiting" if pool.usable else "Unavailable")
    return AgentPlan(pool.shown, pool.agent_name, decision, problem=pool.problem, part="Unneeded")


def _as_before(scene: Scene, pool: PoolFacts) -> AgentPlan:
    """Return what was last reported of a pool, to be checked again."""
    told = scene.before.get(pool.shown, Reported(""))
    known: dict[str, State] = {state: state for state in get_args(State)}
    decision = Decision(known.get(told.state, "Waiting"), again=scene.again)
    name = told.agent_name or pool.agent_name
    problem = _problem(pool, decision, AskedAgent())
    left = AskedAgent(left_at=told.left_at if told.state in ("Finished", "Failed") else None)
    return AgentPlan(pool.shown, name, decision, told.activity, problem, part="Unknown", asked=left)


def _problem(pool: PoolFacts, decision: Decision, asked: AskedAgent) -> Problem | None:
    """Return why somebody in this room waits for an agent."""
    if pool.problem:
        return pool.problem
    if asked.unconnected:
        return Problem(
            reasons.AGENT_NOT_CONNECTED,
            f"VoiceAgentPool {pool.shown}: its agent joined the room and was not connected within "
            f"{CONNECT_SECONDS:.0f} s: {CONNECT_HINT}.",
        )
    if decision.state != "Failed" and asked.last_failure and asked.failures > 1 and not asked.last_failure.job.failed:
        return _leaving(pool, asked.failures, asked.last_failure)
    if decision.state in ("Failing", "Failed") or (asked.last_failure and asked.failures > 1):
        return _failing(pool, asked, called=decision.state != "Failed")
    in_vain = decision.state == "Dispatched" and (decision.attempts > 1 or decision.overdue)
    if decision.state != "Unavailable" and not in_vain:
        return None
    if decision.state == "Unavailable" and pool.full_share:
        message = (
            f"VoiceAgentPool {pool.shown}: namespace {pool.full_share} has its share of the places, and the free ones "
            "are kept for others. It gets another one when a call of its own ends, or when the pool grows: raise its "
            "spec.autoscaling.maxReplicas."
        )
        return Problem(reasons.SHARE_REACHED, message)
    if pool.unserved is None:
        message = f"VoiceAgentPool {pool.shown}: an agent was asked for and has not come yet. {ASKED_AGAIN}"
        return Problem(reasons.DISPATCH_PENDING, message)
    return Problem(pool.unserved.reason, f"VoiceAgentPool {pool.shown}: {pool.unserved.message}")


def _failing(pool: PoolFacts, asked: AskedAgent, *, called: bool) -> Problem:
    """Return that the agent fails: how often, why, and what comes of it."""
    last = asked.last_failure
    what = "was lost with its worker"
    if last is not None and last.job.failed:
        failed = "failed or left" if pool.restart == "Always" else "failed"
        times = "has failed" if asked.failures < 2 else f"has {failed} {asked.failures} times in a row"
        what = f"{times} in this room, the last time on pod {last.pod}: {last.job.error.rstrip('. ')}"
    then = f"It is called again after a pause that grows to {MOST_FAILING_SECONDS:.0f} s: see the pod's log."
    if not called:
        then = (
            f"With restart: Never it is not called again: give the annotation {ANNOTATION_CALL_AGENTS} another value."
        )
    return Problem(reasons.AGENT_FAILING, f"VoiceAgentPool {pool.shown}: its agent {what}. {then}")


def _leaving(pool: PoolFacts, times: int, last: EndedCall) -> Problem:
    """Return that an agent that is always to be there leaves too soon: how often, and what comes of it."""
    where = f" on pod {last.pod}" if last.pod else ""
    message = (
        f"VoiceAgentPool {pool.shown}: its agent did not fail; it has left {times} times in a row before a call had "
        f"lasted {LASTED_SECONDS:.0f} s, the last time after {last.job.seconds or 0} s{where}. With restart: Always it "
        f"is called again after a pause that grows to {MOST_FAILING_SECONDS:.0f} s: have it stay in the room, or set "
        "restart: OnFailure."
    )
    return Problem(reasons.AGENT_LEAVES_EARLY, message)
