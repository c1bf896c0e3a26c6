"""What has become of the agents that a room had: they left on purpose, failed, or it is not known yet. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from livekit_operator.pools.decisions.failing import LASTED_SECONDS
from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.rooms.decisions.dispatching import PATIENCE_SECONDS
from livekit_operator.rooms.decisions.scene import PoolFacts, Reported, Scene
from livekit_operator.views import EndedCall, EndedJob

# A server tells when somebody came to the second.
_SAME_MOMENT = timedelta(seconds=2)
# A worker that holds a job so long after its agent has vanished lives: the agent has left.
SUDDEN_SECONDS = 20.0
# Workers are asked every two seconds; one that does not answer must not keep somebody waiting.
UNHEARD_SECONDS = 6.0


def heard(scene: Scene, pool: PoolFacts, asked: AskedAgent) -> AskedAgent:
    """Return this with what has become of the agents that were there."""
    before = scene.before.get(pool.shown, Reported(""))
    if asked == AskedAgent() and before.left_at and before.state in ("Finished", "Failed"):
        # The operator is a new one; of another one that knows better the status may not have been written.
        asked = replace(asked, left_at=before.left_at, failed=before.state == "Failed")
    if scene.called:
        asked = replace(asked, left_at=None, leaving=False, failed=False, failures=0, last_failure=None)
    if asked.leaving and not asked.brought & pool.taken:
        asked = replace(asked, leaving=False, left_at=_left_at(scene, pool, asked))
    ours = scene.requests(pool)
    if before.state == "Joined" and not asked.brought:
        asked = replace(asked, brought=frozenset(dispatch.id for dispatch in ours))
    jobs = {job.id: dispatch.id for dispatch in ours for job in dispatch.jobs}
    ages = {dispatch.id: dispatch.age for dispatch in ours}
    active = (before.state in ("Joined", "Dispatched") or asked.calls > 0) and not (scene.called or asked.awaited)
    news = _news(pool, asked, jobs, ages, active=active)
    if pool.restart != "Always" and asked.last_failure and not asked.last_failure.job.failed:
        asked = replace(asked, failures=0, last_failure=None)  # it may leave now
    if pool.restart == "Always" and (left := _left_working(scene, pool, asked)):
        asked = _counted(asked, left, always=True)
    for one in news:
        if one.job.seconds is None:
            age = ages.get(jobs.get(one.job.id, one.job.dispatch), 0.0)
            one = replace(one, job=replace(one.job, seconds=int(age)))
        asked = _counted(asked, one, always=pool.restart == "Always")
    failed = bool(news and news[-1].job.failed)
    if news and (pool.restart == "Never" if failed else pool.restart != "Always"):
        # Its agent may have left long before its job ended.
        asked = replace(asked, left_at=min(asked.left_at or news[-1].at, news[-1].at), failed=failed)
    elif news:
        asked = replace(asked, left_at=None, failed=False)  # it had seemed to leave on purpose
    elif pool.restart == "Never" and jobs and not jobs.keys() - pool.lost:
        asked = replace(asked, left_at=asked.left_at or scene.now, failed=True)
    return replace(asked, handled=frozenset(one.job.id for one in pool.ended))


def _counted(asked: AskedAgent, one: EndedCall, *, always: bool) -> AskedAgent:
    """Return this with one more end counted, which says how long its call was.

    An agent that is always to be there, and leaves on purpose, is called again as one that failed is: it must not be
    called in circles either.
    """
    lasted = (one.job.seconds or 0) >= LASTED_SECONDS
    if not one.job.failed and (lasted or not always):
        return replace(asked, failures=0, last_failure=None)
    return replace(asked, failures=1 if lasted else asked.failures + 1, last_failure=one)


def _left_working(scene: Scene, pool: PoolFacts, asked: AskedAgent) -> EndedCall | None:
    """Return the call of an agent that is away and is not waited for any longer, though its job still works.

    Another one is called now, and how the job ends says nothing of the call.
    """
    ages = [dispatch.age for dispatch in scene.requests(pool) if dispatch.id in asked.brought & pool.taken]
    here = any(p.agent_name == pool.agent_name for p in scene.participants)
    away = (scene.now - asked.left_at).total_seconds() if asked.left_at else 0.0
    if not asked.leaving or here or not ages or away < PATIENCE_SECONDS:
        return None
    return EndedCall(EndedJob("", scene.room, failed=False, seconds=int(max(0.0, max(ages) - away))), scene.now, "")


def _news(
    pool: PoolFacts, asked: AskedAgent, jobs: Mapping[str, str], ages: Mapping[str, float], *, active: bool
) -> list[EndedCall]:
    """Return the ends that say something; `jobs` and `ages` are of the dispatches that are listed."""
    news = []
    for one in pool.ended:
        # LiveKit may not list the job yet.
        request = jobs.get(one.job.id, one.job.dispatch)
        # Where others were asked for since, it was of a request that was taken back. And one of no request that is
        # known may have ended long ago, before an operator began that knows nothing of it.
        unlisted = not ages and active and (not request or asked.request in ("", request))
        if one.job.id not in asked.handled and (request in ages or unlisted):
            news.append(one)
    return news


def _left_at(scene: Scene, pool: PoolFacts, asked: AskedAgent) -> datetime | None:
    """Return when an agent left whose job no worker holds any more, None where it was not by itself.

    A worker that died, or is not heard any more, so soon after may have died before, unless it says how the job ended.
    """
    told = any(one.job.id not in asked.handled for one in pool.ended)
    sudden = asked.left_at and (scene.now - asked.left_at).total_seconds() < SUDDEN_SECONDS
    return None if sudden and not told else asked.left_at


def unheard(scene: Scene, pool: PoolFacts, asked: AskedAgent) -> frozenset[str]:
    """Return the requests whose agents are away and of whose jobs workers, which tell, have not told since."""
    since = asked.vanished_at
    looked = scene.now - timedelta(seconds=pool.looked_seconds)
    if not pool.tells or (since and (looked > since or (scene.now - since).total_seconds() > UNHEARD_SECONDS)):
        return frozenset()
    known = pool.lost | {one.job.id for one in pool.ended}
    return frozenset(
        dispatch.id
        for dispatch in scene.dispatches
        if dispatch.id in asked.brought and not known & {job.id for job in dispatch.jobs}
    )


def still_there(before: Sequence[tuple[str, datetime]], now: Sequence[tuple[str, datetime]]) -> frozenset[str]:
    """Return who of some people has not left since; whoever came back has another moment."""
    known = dict(before)
    return frozenset(who for who, came in now if who in known and abs(came - known[who]) < _SAME_MOMENT)
