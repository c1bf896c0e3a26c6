"""What providers refused, shared between the worker and its job processes.

One small JSON file per role, replaced atomically: job processes are forked far from the worker's event
loop and end with their call, so a file outlives the reporter and needs no channel of its own.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROLES = ("stt", "llm", "tts")


@dataclass(frozen=True)
class ProviderError:
    """One refusal: `code` is the HTTP status, 0 when the provider never answered."""

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


class ProviderErrorBoard:
    """The errors that hold now, at most one per role."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def default(cls) -> ProviderErrorBoard:
        return cls(Path(tempfile.gettempdir()) / "voice-agent-provider-errors")

    def reset(self) -> None:
        """Forget what an earlier container of the same pod left in a shared temporary folder."""
        for role in ROLES:
            self.clear(role)

    def report(self, error: ProviderError) -> None:
        """Put up an error; one that is there already keeps the time it was first seen."""
        if any((known.role, known.code) == (error.role, error.code) for known in self.current()):
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._directory, prefix=".")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(error), file)
        Path(temporary).replace(self._path(error.role))

    def clear(self, role: str) -> None:
        self._path(role).unlink(missing_ok=True)

    def current(self) -> list[ProviderError]:
        errors = []
        for role in ROLES:
            try:
                errors.append(ProviderError(**json.loads(self._path(role).read_text("utf-8"))))
            except FileNotFoundError:
                continue
        return errors

    def _path(self, role: str) -> Path:
        return self._directory / f"{role}.json"
