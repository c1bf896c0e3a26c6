"""How a wave of renewals comes: tokens made at one moment, each seen when the operator puts another in its place."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from livekit_operator.constants import ANNOTATION_EXPIRES_AT
from tests.benchmarks.rooms.api import SECRETS, Api


class Renewals:
    """The first renewal of each of some Secrets, in the order in which they come."""

    def __init__(self, ttl_seconds: int, secrets: Sequence[str]) -> None:
        self._ttl = ttl_seconds
        self._expires: dict[str, datetime] = {}
        self._missing = set(secrets)
        self.lives: list[float] = []
        """Which part of its life each token had behind it when it was renewed; 1 is its end."""
        self.moments: list[float] = []
        """When, in seconds of the wall clock."""

    async def watch(self, api: Api, namespace: str, began: asyncio.Event) -> None:
        """Watch until each was renewed; sets `began` when it does."""
        version = await api.version(SECRETS.path(namespace))
        began.set()
        async for line in api.watch(SECRETS.path(namespace), version):
            self._see(json.loads(line)["object"]["metadata"])
            if not self._missing:
                return

    def _see(self, metadata: dict[str, dict[str, str]]) -> None:
        name, told = str(metadata["name"]), (metadata.get("annotations") or {}).get(ANNOTATION_EXPIRES_AT)
        if name not in self._missing or told is None:
            return
        expires, now = datetime.fromisoformat(told), time.time()
        before = self._expires.setdefault(name, expires)
        if expires != before:
            self._missing.discard(name)
            self.moments.append(now)
            self.lives.append(1 - (before.timestamp() - now) / self._ttl)

    @property
    def busiest_second(self) -> int:
        """How many were renewed in the second that had the most."""
        return max(Counter(int(moment) for moment in self.moments).values())

    @property
    def mean_per_second(self) -> float:
        """How many were renewed in a second between the first and the last."""
        return len(self.moments) / max(1.0, self.moments[-1] - self.moments[0])
