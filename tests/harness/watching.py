"""Every state that an object goes through, by a watch: what lasts for a moment is not missed."""

import asyncio
import codecs
import contextlib
import json
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.cluster import tools
from tests.harness.kubectl import Kubectl, Manifest


@dataclass(frozen=True)
class Seen:
    """A state of the object, and the monotonic moment it was seen at."""

    at: float
    manifest: Manifest

    @property
    def status(self) -> Manifest:
        """Its status, empty while there is none."""
        found: Manifest = self.manifest.get("status") or {}
        return found

    def condition(self, kind: str) -> Manifest:
        """Return one of its conditions, empty when it is not there."""
        return next((c for c in self.status.get("conditions") or () if c["type"] == kind), {})


class Watched:
    """An object under watch: `async with Watched(kubectl, "pod", "voice-0") as pod: await pod.until("…", …)`."""

    def __init__(self, kubectl: Kubectl, kind: str, name: str) -> None:
        self._kubectl, self._kind, self._name = kubectl, kind, name
        self._changed = asyncio.Event()
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.states: list[Seen] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        try:
            await self.until("it to be there", lambda _: True, seconds=20)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()
        if error is not None:
            told = lambda s: [f"{c['type']} {c['reason']}" for c in s.status.get("conditions") or ()]  # noqa: E731
            print(f"{self._kind}/{self._name}:", self.history(told), sep="\n")

    @property
    def last(self) -> Seen:
        """The newest state."""
        return self.states[-1]

    def seen(self, value: Callable[[Seen], Any]) -> list[Any]:
        """Return how a value changed, each once for as long as it lasted; what is None or empty is left out."""
        found: list[Any] = []
        for state in self.states:
            now = value(state)
            if now and (not found or found[-1] != now):
                found.append(now)
        return found

    def history(self, value: Callable[[Seen], Any]) -> str:
        """Return how a value changed, a line for each change with the seconds since the first state."""
        first = self.states[0].at
        lines, before = [], None
        for state in self.states:
            if (now := value(state)) != before:
                lines.append(f"{state.at - first:6.1f} s  {now}")
                before = now
        return "\n".join(lines)

    async def until(
        self, what: str, condition: Callable[[Seen], Any], *, seconds: float = 60.0, since: float = 0.0
    ) -> Any:
        """Wait for the first state since a monotonic moment that a condition holds for; return what it returned."""
        deadline = time.monotonic() + seconds
        at = 0
        while True:
            for state in self.states[at:]:
                if state.at >= since and (found := condition(state)):
                    return found
            at = len(self.states)
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                shown = json.dumps(self.last.status, indent=1) if self.states else "never there"
                raise TimeoutError(
                    f"waited {seconds:.0f} s for {what} of {self._kind}/{self._name}, which is now: {shown}"
                ) from None

    async def _run(self) -> None:
        # A watch ends with a connection that ends; the next one begins with the state there is.
        while True:
            target = self._kubectl.target
            self._process = process = await asyncio.create_subprocess_exec(
                str(tools.path("kubectl")),
                *("--kubeconfig", str(target.kubeconfig), "--context", target.context),
                *("--namespace", self._kubectl.namespace),
                *("get", self._kind, self._name, "--watch", "--output", "json"),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=DEVNULL,
            )
            assert process.stdout
            await self._read(process.stdout)
            await process.wait()
            await asyncio.sleep(0.2)

    async def _read(self, output: asyncio.StreamReader) -> None:
        characters, decoder, text = codecs.getincrementaldecoder("utf-8")(), json.JSONDecoder(), ""
        while chunk := await output.read(65536):
            text = (text + characters.decode(chunk)).lstrip()
            while text:
                try:
                    manifest, end = decoder.raw_decode(text)
                except json.JSONDecodeError:
                    break  # the rest of it is on its way
                text = text[end:].lstrip()
                self.states.append(Seen(time.monotonic(), manifest))
                self._changed.set()

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
