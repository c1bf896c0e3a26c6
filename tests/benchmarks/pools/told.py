"""Seconds that were measured, told in milliseconds."""

import sys
from collections.abc import Sequence


def tell(what: str, **values: float) -> None:
    """Say on standard error how a measurement went, by its seconds."""
    shown = ", ".join(f"{name.replace('_', ' ')} {1000 * value:.0f} ms" for name, value in values.items())
    print(f"{what}: {shown}", file=sys.stderr)


def in_ms(seconds: Sequence[float]) -> list[float]:
    """Return seconds in milliseconds."""
    return [1000 * value for value in seconds]
