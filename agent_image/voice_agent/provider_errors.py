"""What providers refused, shared between the worker and its job processes.

One small JSON file per provider, replaced atomically: job processes are forked far from the worker's event
loop and end with their call, so a file outlives the reporter and needs no channel of its own.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .config import ROLES, AgentConfig

KEY_REFUSED = frozenset({401, 403})
# A call goes on without a server of tools.
TOOLS = "tools"
_ORDER = (*ROLES, TOOLS)


@dataclass(frozen=True)
class ProviderError:
    """One refusal: `code` is the HTTP status, 0 when the provider never answered.

    `role` is the provider's place in the configuration: `stt`, `stt.fallbacks[0]`, or `tools.mcp[0]`.
    """

    role: str
    provider: str
    code: int
    message: str
    at: str

    @classmethod
    def now(cls, role: str, provider: str, code: int) -> ProviderError:
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(role, provider, code, explain(code), at)


def explain(code: int) -> str:
    """A sentence for a status code; never the provider's own text, which may echo the key."""
    match code:
        case 401 | 403:
            return "the provider refused the API key"
        case 402:
            return "the provider asks for payment: the account has no credit left"
        case 429:
            return "the provider limits the rate of requests, or the quota is used up"
        case 0:
            return "the provider cannot be reached"
        case _ if 400 <= code < 500:
            return "the provider refused the request: check model, language and base URL"
        case _:
            return "the provider failed"


def role_of(place: str) -> str:
    """The role of the provider at a place."""
    return place.partition(".")[0]


def document(errors: list[ProviderError], config: AgentConfig) -> list[dict[str, Any]]:
    """The errors for `/status`: `covered` are those by which no call ends.

    That is, in whose place another provider of the role answers, and of servers of tools.
    """
    failing = {error.role for error in errors}
    mute = {role for role in ROLES if failing.issuperset(config.places(role))}
    return [{**asdict(error), "covered": role_of(error.role) not in mute} for error in errors]


class ProviderErrorBoard:
    """The errors that hold now, at most one per provider."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def default(cls) -> ProviderErrorBoard:
        return cls(Path(tempfile.gettempdir()) / "voice-agent-provider-errors")

    def reset(self) -> None:
        """Forget what an earlier container of the same pod left in a shared temporary folder."""
        for path in self._directory.glob("*.json"):
            path.unlink(missing_ok=True)

    def report(self, error: ProviderError) -> None:
        """Put up an error; one that is there already keeps the time it was first seen."""
        if any((known.role, known.code) == (error.role, error.code) for known in self.current()):
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._directory, prefix=".")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(error), file)
        Path(temporary).replace(self._path(error.role))

    def clear(self, place: str) -> None:
        self._path(place).unlink(missing_ok=True)

    def current(self) -> list[ProviderError]:
        errors = []
        for path in self._directory.glob("*.json"):
            try:
                errors.append(ProviderError(**json.loads(path.read_text("utf-8"))))
            except FileNotFoundError:
                continue
        return sorted(errors, key=lambda error: (_ORDER.index(role_of(error.role)), error.role))

    def _path(self, place: str) -> Path:
        return self._directory / f"{place}.json"
