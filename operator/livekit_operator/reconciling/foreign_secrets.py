"""Secrets of somebody else: read when they are needed, cached for a moment."""

from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.errors import Blocked, Problem
from livekit_operator.reconciling import children
from livekit_operator.reconciling.context import Context

# Some resources have a pass every other second; a provider's key changes once in months.
_AGE = timedelta(seconds=10)
# What nobody asks for any more is dropped.
_FORGOTTEN_AFTER = timedelta(seconds=60)
# How soon a Secret that somebody must still create is looked for again.
RETRY_SECONDS = 3.0


async def read_secret(context: Context, key: Key, *, may_miss: bool = False) -> Manifest | None:
    """Return a Secret of somebody else, at most ten seconds old.

    A missing one is looked for each time; with `may_miss` as rarely as one that exists.
    """
    now = context.now()
    forget_old(context)
    read = context.foreign_secrets.get(key)
    if read is not None and now - read[0] < _AGE and (read[1] is not None or may_miss):
        return read[1]
    secret = await children.find(context, "Secret", *key)
    context.foreign_secrets[key] = now, secret
    return secret


def forget_old(context: Context) -> None:
    """Forget the Secrets that nobody has asked for lately."""
    now = context.now()
    for old in [known for known, (at, _) in context.foreign_secrets.items() if now - at > _FORGOTTEN_AFTER]:
        del context.foreign_secrets[old]


async def require_secret(context: Context, namespace: str, name: str, field: str) -> Manifest:
    """Return a Secret; raises Blocked naming it and the field that names it when it does not exist."""
    secret = await read_secret(context, (namespace, name))
    if secret is None:
        message = f"Secret {name} of {field} does not exist: create it, or name another one."
        raise Blocked(Problem(reasons.SECRET_NOT_FOUND, message, retry_after=RETRY_SECONDS))
    return secret


async def find_value(context: Context, namespace: str, name: str, key: str) -> str | None:
    """Return one value of a Secret, still base64 and at most ten seconds old, None when it or its Secret is missing."""
    secret = await read_secret(context, (namespace, name), may_miss=True)
    value = ((secret or {}).get("data") or {}).get(key)
    return None if value is None else str(value)


async def read_value(context: Context, namespace: str, name: str, key: str, field: str) -> str:
    """Return one value of a Secret, still base64; raises Blocked naming what is missing and the field that names it."""
    secret = await require_secret(context, namespace, name, field)
    value = (secret.get("data") or {}).get(key)
    if not value:
        context.foreign_secrets.pop((namespace, name), None)
        message = f"Secret {name} of {field} has no key {key}: add it, or name another one."
        raise Blocked(Problem(reasons.SECRET_KEY_MISSING, message, retry_after=RETRY_SECONDS))
    return str(value)
