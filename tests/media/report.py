"""What one of the two heard of the other, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.caller.transport import Path, Reception


@dataclass(frozen=True)
class Gap:
    """A time in which the other's tone was not heard, in monotonic seconds."""

    start: float
    end: float

    @property
    def ms(self) -> float:
        """How long it was."""
        return round((self.end - self.start) * 1000, 1)


@dataclass(frozen=True)
class Relay:
    """Where the LiveKit server sees this participant's relay, and the URL of the TURN server, if known.

    That is an address of the TURN server from its relay range, but what the address was translated to in between where
    it was (`relay` and `prflx` as the path's local type tell which).
    """

    address: str
    port: int
    url: str


@dataclass(frozen=True)
class Heard:
    """One participant's side of the talk until now; moments are monotonic seconds, the same in every process."""

    identity: str
    joined: float
    first: float | None
    """When the other's tone was first heard."""
    now: float
    gaps: tuple[Gap, ...]
    reconnecting: int
    """How often the SDK began to reconnect."""
    reconnected: int
    disconnected: tuple[str, ...]
    """Why the connection ended for good, where this participant did not end it."""
    paths: tuple[Path, ...]
    """The candidate pairs in use, as they were last read: one "both ways", or one to "send" and one to "receive"."""
    relays: tuple[Relay, ...]
    """Of the pairs in use, those that lead through TURN."""
    reception: Reception | None
    late_frames: int
    """10 ms frames of the own tone that this machine was too busy to send."""

    def longest_gap_ms(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Return the longest time without the other's tone, of what lies between two moments."""
        lengths = (min(gap.end, until) - max(gap.start, since) for gap in self.gaps)
        return round(max(0.0, *lengths, 0.0) * 1000, 1)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Heard":
        """Read what a talker's process wrote."""
        reception = document["reception"]
        return cls(
            **{
                **document,
                "gaps": tuple(Gap(**gap) for gap in document["gaps"]),
                "disconnected": tuple(document["disconnected"]),
                "paths": tuple(Path(**path) for path in document["paths"]),
                "relays": tuple(Relay(**relay) for relay in document["relays"]),
                "reception": Reception(**reception) if reception else None,
            }
        )

    def to_text(self) -> str:
        """Return a few lines for a person."""
        heard = "heard nothing" if self.first is None else f"heard the other {(self.first - self.joined) * 1000:.0f} ms"
        heard += "" if self.first is None else f" after joining, longest gap {self.longest_gap_ms():.0f} ms"
        ends = f", disconnected: {', '.join(self.disconnected)}" if self.disconnected else ""
        lines = [f"{self.identity}: {heard}, reconnected {self.reconnected} times{ends}"]
        lines += [f"  {path.direction}: {path} ({path.local_type} to {path.remote_type})" for path in self.paths]
        lines += [
            f"  relay {relay.address}:{relay.port} of {relay.url or 'an unknown server'}" for relay in self.relays
        ]
        return "\n".join(lines)
