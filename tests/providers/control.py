"""What a test can turn at run time: delays, faults and the known lines, and the log of what happened."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args

Provider = Literal["stt", "llm", "tts", "transcriptions", "speech", "realtime"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
_LOG_ENTRIES = 20_000
_Settings = TypeVar("_Settings", "Delays", "Fault")


class ControlError(ValueError):
    """A control request names something that does not exist or cannot be."""


@dataclass(frozen=True)
class Delays:
    """Milliseconds the providers take beyond what the work itself needs; all zero is an instant provider."""

    stt_final_ms: int = 0
    llm_first_token_ms: int = 0
    llm_token_ms: int = 0
    tts_first_audio_ms: int = 0
    tts_pace: float = 0.0
    """Seconds of audio sent per second of time; 0 sends everything at once."""


@dataclass(frozen=True)
class Fault:
    """How a provider fails; only one of the three is usual, none is health."""

    status: int | None = None
    """HTTP status given instead of the service."""
    drop_after: int | None = None
    """Connections end, without a close, after this many messages (listen, speak) or tokens (chat) of the stand-in."""
    hang: bool = False
    """Requests are accepted and never answered."""
    times: int | None = None
    """How many requests the fault meets before health returns; none means until it is changed."""


@dataclass(frozen=True)
class Faults:
    """One fault for each provider: Deepgram's `stt` and `tts`, OpenAI's other four."""

    stt: Fault = Fault()
    llm: Fault = Fault()
    tts: Fault = Fault()
    transcriptions: Fault = Fault()
    speech: Fault = Fault()
    realtime: Fault = Fault()


@dataclass(frozen=True)
class Event:
    """One line of the log."""

    seq: int
    at_ms: float
    """CLOCK_REALTIME in milliseconds, comparable with other logs of the same machine."""
    provider: Provider
    event: str
    connection: str
    detail: Mapping[str, Any]


@dataclass
class Control:
    """The state shared by the providers of one stand-in."""

    delays: Delays = field(default_factory=Delays)
    faults: Faults = field(default_factory=Faults)
    calls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The functions that the model calls, by the question that asks for each (calling.py)."""
    _log: deque[Event] = field(default_factory=lambda: deque(maxlen=_LOG_ENTRIES))
    _seq: int = 0
    _met: dict[Provider, int] = field(default_factory=dict)

    def log(self, provider: Provider, event: str, connection: str, **detail: Any) -> None:
        """Note what happened, now."""
        self._seq += 1
        self._log.append(Event(self._seq, time.time_ns() / 1e6, provider, event, connection, detail))

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """The log after an entry's number, oldest first."""
        return [asdict(event) for event in self._log if event.seq > since]

    def clear_log(self) -> None:
        self._log.clear()

    def fault(self, provider: Provider) -> Fault:
        """The fault the next request of this provider meets; counts it."""
        fault: Fault = getattr(self.faults, provider)
        if fault.times is not None:
            met = self._met.get(provider, 0)
            if met >= fault.times:
                return Fault()
            self._met[provider] = met + 1
        return fault

    def change(self, request: Mapping[str, Any]) -> None:
        """Apply `{"delays": {...}, "faults": {"stt": {...}}, "calls": {...}}`.

        What is not named stays, a named fault is replaced, and so are all calls.
        """
        unknown = set(request) - {"delays", "faults", "calls"}
        if unknown:
            raise ControlError(f"unknown: {', '.join(sorted(unknown))}")
        delays = _changed(self.delays, _mapping(request.get("delays", {}), "delays"))
        changes = _mapping(request.get("faults", {}), "faults")
        if set(changes) - set(PROVIDERS):
            raise ControlError(f"faults are for {', '.join(PROVIDERS)}, not {', '.join(set(changes) - set(PROVIDERS))}")
        faults = replace(self.faults, **{name: _changed(Fault(), _mapping(to, name)) for name, to in changes.items()})
        calls = _mapping(request.get("calls", self.calls), "calls")
        if any("name" not in _mapping(call, "calls") for call in calls.values()):
            raise ControlError("calls need a name, and may have arguments")
        self.delays, self.faults, self.calls = delays, faults, calls
        self._met = {provider: met for provider, met in self._met.items() if provider not in changes}

    def state(self) -> dict[str, Any]:
        return {"delays": asdict(self.delays), "faults": asdict(self.faults), "calls": dict(self.calls)}


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ControlError(f"{name} must be an object")
    return value


def _changed(value: _Settings, changes: Mapping[str, Any]) -> _Settings:
    known = {setting.name for setting in fields(value)}
    if set(changes) - known:
        raise ControlError(f"unknown: {', '.join(sorted(set(changes) - known))}; known: {', '.join(sorted(known))}")
    for name, wanted in changes.items():
        if wanted is not None and (not isinstance(wanted, (int, float)) or wanted < 0):
            raise ControlError(f"{name} must be a number that is not negative")
    return replace(value, **changes)


async def forever() -> None:
    """Never return: a provider that hangs."""
    await asyncio.Event().wait()
