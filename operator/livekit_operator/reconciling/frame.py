"""The frame around every pass: parse the resource, run the kind's own pass, write the status whatever came out."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from livekit_operator.api.common import Resource
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, KubernetesError, NamespaceTerminating, ServerRefused, ServerUnreachable
from livekit_operator.reconciling import status
from livekit_operator.reconciling.braking import counted, soonest, standing, too_many_writes, with_held
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.refusals import problem_of
from livekit_operator.reconciling.status import Outcome
from livekit_operator.reconciling.understanding import NotUnderstood, parse, read_again, tell

C = TypeVar("C", bound=Context)
R = TypeVar("R", bound=Resource)


async def reconcile(
    context: C,
    model: type[R],
    key: Key,
    one_pass: Callable[[C, R], Awaitable[Outcome | None]],
) -> float | None:
    """Reconcile one object by key; return the seconds until the next pass, None when a change will bring it.

    Raises KubernetesError, and anything else for a bug; the engine backs off and retries.
    """
    manifest = context.resources[model.__name__].get(key)
    manifest = await read_again(context, model.__name__, manifest) if manifest else None
    if manifest is None:
        return None
    try:
        resource = parse(model, manifest)
    except NotUnderstood as problem:
        return await tell(context, model, manifest, problem)
    brakes = context.brakes_of(resource)
    if held := too_many_writes(context, resource):
        brakes.hold("writes", held, context.now())
        await status.write(context, resource, with_held(standing(resource), [held]))
        return held.seconds(context.now())
    context = counted(context, resource)
    try:
        outcome = await one_pass(context, resource)
    except (Blocked, ServerUnreachable, ServerRefused) as stopped:
        outcome = status.halted(resource, stopped.problem)
    except NamespaceTerminating:
        outcome = status.terminating(resource)
    except KubernetesError as error:
        if refused := problem_of(error):
            await status.write(context, resource, status.halted(resource, refused))
        raise
    if outcome is None:
        return None
    if outcome.silent:
        return outcome.again
    now = context.now()
    told = brakes.told(now)
    later = await status.write(context, resource, with_held(outcome, told))
    return soonest(min((s for s in (outcome.again, later) if s is not None), default=None), told, now)
