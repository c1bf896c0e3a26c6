"""Whether everything is as it should be, and works: asked of everybody, and then tried."""

import time
from collections.abc import Collection
from dataclasses import dataclass

import aiohttp

from tests.e2e import rooms
from tests.e2e.conftest import Story
from tests.harness.api import Api
from tests.harness.kubectl import CommandError, Manifest, is_ready, until
from tests.harness.operator import running_pod
from tests.harness.resources import POOL, SERVER
from tests.soak.calling import Calls


@dataclass
class Health:
    """The health of a story's platform, with these rooms on it."""

    story: Story
    api: Api
    calls: Calls
    names: Collection[str]
    _tried: int = 0

    async def healed(self, seconds: float) -> float:
        """Wait until everything says that it is well and a new call works; return how many seconds that took.

        Raises TimeoutError that says what was not well.
        """
        began = time.monotonic()
        await until("everything to be well", self._is_well, seconds=seconds, every=1.0)
        # What is said may be old for a moment: a call shows that it is true.
        self._tried += 1
        left = seconds - (time.monotonic() - began)
        record = await self.calls.call(f"try-{self._tried:04}", 0.0, seconds=max(1.0, left))
        if record.failed:
            raise TimeoutError(f"all say that they are well, and {record.failed}")
        await until("everything to be well after a call", self._is_well, seconds=max(1.0, left), every=1.0)
        return time.monotonic() - began

    async def _is_well(self) -> bool:
        try:
            problem = await self._problem()
        except (aiohttp.ClientError, OSError, ValueError, AssertionError, TimeoutError) as error:
            raise CommandError(f"{type(error).__name__} {error}") from None
        if problem:
            raise CommandError(problem)
        return True

    async def _problem(self) -> str:
        """Return what is not well, empty when nothing is."""
        kubectl = self.story.kubectl
        lost = [node["metadata"]["name"] for node in await kubectl.find("nodes") if not _node_is_ready(node)]
        if lost:
            return f"{', '.join(lost)} not ready"
        await running_pod(self.story.platform.operator)
        for kind, name in (("livekitserver", SERVER), ("voiceagentpool", POOL)):
            if not is_ready(found := await kubectl.get(kind, name)):
                return f"{kind} {name} not ready: {_told(found)}"
        found_rooms = await rooms.rooms(self.story, self.api)
        odd = [name for name in self.names if name not in found_rooms or not is_ready(found_rooms[name])]
        if odd:
            first = found_rooms.get(odd[0], {"metadata": {}})
            return f"{len(odd)} rooms not ready, {odd[0]} among them: {_told(first)}"
        return ""


def _node_is_ready(node: Manifest) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])


def _told(manifest: Manifest) -> str:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    ready: Manifest = next((condition for condition in conditions if condition["type"] == "Ready"), {})
    return f"{ready.get('reason')}: {ready.get('message')}"
