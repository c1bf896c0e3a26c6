"""When agent pods come and become ready, as a watch sees it."""

import asyncio
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from types import TracebackType
from typing import Self

from tests.cluster import tools
from tests.harness.agents import AGENT
from tests.harness.kubectl import Kubectl


class PodWatch:
    """When each agent pod of a namespace was first seen, and first seen ready, in monotonic seconds."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._changed = asyncio.Condition()
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.created: dict[str, float] = {}
        self.ready: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        target = self._kubectl.target
        line = '{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}'
        self._process = await asyncio.create_subprocess_exec(
            str(tools.path("kubectl")),
            *("--kubeconfig", str(target.kubeconfig), "--context", target.context),
            *("--namespace", self._kubectl.namespace, "get", "pods", "--selector", AGENT),
            *("--watch", "--output", f"jsonpath={line}"),
            stdin=DEVNULL,
            stdout=PIPE,
        )
        assert self._process.stdout
        self._task = asyncio.create_task(self._read(self._process.stdout))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task
        assert self._process
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def another(self, known: set[str], seconds: float) -> str:
        """Wait for a pod that is none of the known ones; return its name."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: set(self.created) - known)
        return min(set(self.created) - known, key=lambda name: self.created[name])

    async def is_ready(self, name: str, seconds: float) -> None:
        """Wait until a pod was ready."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: name in self.ready)

    async def _read(self, output: asyncio.StreamReader) -> None:
        while line := (await output.readline()).decode().split():
            now = time.monotonic()
            self.created.setdefault(line[0], now)
            if line[1:] == ["True"]:
                self.ready.setdefault(line[0], now)
            async with self._changed:
                self._changed.notify_all()
