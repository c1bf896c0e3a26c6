"""What the kit remembers of resources, and when it forgets it."""

from livekit_operator.engine.cache import Key
from livekit_operator.reconciling import foreign_secrets, hanging_pods
from livekit_operator.reconciling.context import Context


def forget(context: Context, kind: str, key: Key) -> None:
    """Forget what passes of a resource have left; none of them runs any more."""
    context.brakes.pop((kind, key), None)


def forget_read(context: Context) -> None:
    """Forget what passes have read of others' objects; none of them runs any more."""
    context.foreign_secrets.clear()
    context.hanging.clear()


def set_back(context: Context) -> None:
    """Forget what the kit remembers with moments: the clock was ahead and was set back, and some are yet to come."""
    context.brakes.clear()
    context.foreign_secrets.clear()
    context.hanging.clear()
    context.events.forget_all()


def forget_old(context: Context) -> None:
    """Forget what nobody has asked for lately. To be called now and then: the last one to ask never comes back."""
    foreign_secrets.forget_old(context)
    hanging_pods.forget_old(context)
