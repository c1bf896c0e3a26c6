"""Who looks on while a story is told: every status of its resources is checked at each change, and against the world.

What a status says of itself must hold in every one that is ever seen. What the world says otherwise must be over within
`GRACE_SECONDS` of an operator that runs: the operator looks at most things every few seconds.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from livekit_operator.clients.kubernetes import KubernetesClient, WatchExpired
from livekit_operator.constants import MANAGED_SELECTOR
from livekit_operator.errors import KubernetesError
from livekit_operator.metrics import Metrics
from tests.harness.api import Api, configuration
from tests.harness.invariants import OWN_KINDS, violations
from tests.harness.target import Target

Manifest = dict[str, Any]

GRACE_SECONDS = 30.0
_TICK_SECONDS = 2.0
_MOST = 20
# What is seen of each kind: ours whole, of others what the operator made.
_KINDS = {**dict.fromkeys(OWN_KINDS), **dict.fromkeys(("Pod", "ConfigMap"), MANAGED_SELECTOR)}


class Jury:
    """Takes note of violations in the namespaces that count; times are seconds of any clock."""

    def __init__(self, is_ours: Callable[[str], bool] = lambda _: True) -> None:
        self._is_ours = is_ours
        self.world: dict[str, dict[tuple[str, str], Manifest]] = {kind: {} for kind in _KINDS}
        self.found: dict[str, str] = {}
        """Where and which rule -> the whole sentence, each once."""
        self._since: dict[str, float] = {}

    def see(self, kind: str, manifest: Manifest, *, gone: bool = False) -> None:
        """Take over a change, and note what a status of ours says against itself."""
        key = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        if gone:
            self.world[kind].pop(key, None)
            return
        self.world[kind][key] = manifest
        if kind in OWN_KINDS and self._is_ours(key[0]):
            self._note(violations(kind, manifest))

    def look(self, now: float, *, attended: bool = True) -> None:
        """Note what has contradicted the world for too long; nobody can be blamed while no operator has `attended`."""
        world = {kind: list(objects.values()) for kind, objects in self.world.items()}
        standing = {
            _rule(sentence): sentence
            for kind in OWN_KINDS
            for (namespace, _), manifest in self.world[kind].items()
            if self._is_ours(namespace)
            for sentence in violations(kind, manifest, world)
        }
        self._since = {rule: self._since.get(rule, now) for rule in standing} if attended else {}
        self._note(standing[rule] for rule, since in self._since.items() if now - since >= GRACE_SECONDS)

    def _note(self, sentences: Any) -> None:
        for sentence in sentences:
            if len(self.found) < _MOST:
                self.found.setdefault(_rule(sentence), sentence)


def _rule(sentence: str) -> str:
    """Return a sentence without what was told at the time."""
    return sentence.partition(" (")[0]


class Witness:
    """A jury that watches a cluster: `async with Witness(target, is_ours, deployment) as witness: …`.

    `is_ours` tells which namespaces count, `deployment` is the path of the operator's, which tells whether one runs.
    """

    def __init__(self, target: Target, is_ours: Callable[[str], bool], deployment: str) -> None:
        self.jury = Jury(is_ours)
        self._target, self._deployment = target, deployment
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        admin = await configuration(self._target)
        self._client, self._api = KubernetesClient(admin, Metrics()), Api(admin)
        self._tasks = [asyncio.create_task(self._follow(kind)) for kind in _KINDS]
        self._tasks.append(asyncio.create_task(self._look_on()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            if task.done():
                task.result()  # it has ended by itself, and seen nothing since
        # Before who uses them: of connections that are given up by a cancelled watch nobody waits for the end.
        await self._client.close()
        await self._api.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, kind: str) -> None:
        version, selector = "", _KINDS[kind]
        while True:
            try:
                if not version:
                    self.jury.world[kind].clear()
                    async for page in self._client.pages(kind, selector):
                        version = page.version
                        for manifest in page.items:
                            self.jury.see(kind, manifest)
                async for event in self._client.watch(kind, version, selector):
                    version = event.object["metadata"]["resourceVersion"]
                    if event.type != "BOOKMARK":
                        self.jury.see(kind, event.object, gone=event.type == "DELETED")
            except WatchExpired:
                version = ""
            except KubernetesError:
                await asyncio.sleep(1)

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            with contextlib.suppress(OSError):
                answer = await self._api.request("GET", self._deployment)
                ready = (answer.body.get("status") or {}).get("readyReplicas")
                self.jury.look(time.monotonic(), attended=bool(ready))
