"""Who was killed, when and why: what a call may blame when it is cut."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Loss:
    """What a fault killed, by name, at a monotonic moment: pods, and the address of a node."""

    at: float
    cause: str
    names: frozenset[str]


@dataclass
class Losses:
    """All losses so far. One is noted before it happens: nobody can notice it earlier."""

    all: list[Loss] = field(default_factory=list)

    def note(self, cause: str, names: Iterable[str]) -> None:
        """Note what is about to be killed."""
        self.all.append(Loss(time.monotonic(), cause, frozenset(names)))

    def cause(self, names: Iterable[str], since: float) -> str:
        """Return why the last of some was killed since a moment, empty where nobody killed any."""
        wanted = frozenset(names)
        return next((loss.cause for loss in reversed(self.all) if loss.at >= since and loss.names & wanted), "")
