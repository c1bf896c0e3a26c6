"""The hook that tells a worker that its pod is leaving, in containers of real processes: namespaces of their own."""

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from livekit_operator.pools.manifests.leaving import build_leaving_hook
from livekit_operator.pools.manifests.pod import build_pod
from tests.fakes import manifests, models
from tests.fakes.waiting import eventually
from tests.unit.operator.pools.standings import INPUTS, version

PORT = 8082
SECONDS = 60.0
# Listens as a worker does, notes each SIGTERM, and ends when the file `over` is there and it was told to.
WORKER = """
import os, signal, socket, sys, time

folder, port, family = sys.argv[1], int(sys.argv[2]), getattr(socket, sys.argv[3])
told = 0

def tell(*_):
    global told
    told += 1
    with open(f"{folder}/told-{port}", "a") as file:
        file.write("told\\n")

signal.signal(signal.SIGTERM, tell)
listener = socket.socket(family)
listener.bind(("", port))
listener.listen()
open(f"{folder}/listens-{port}", "w").close()
while not (told and os.path.exists(f"{folder}/over")):
    time.sleep(0.01)
"""


class Container:
    """A first process in namespaces of its own, and what runs below it."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder, self._process = folder, process

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    def told(self, port: int = PORT) -> int:
        """How often the worker on a port was told to leave."""
        file = self.folder / f"told-{port}"
        return len(file.read_text().splitlines()) if file.exists() else 0

    async def has(self, name: str) -> None:
        await eventually((self.folder / name).exists, name, seconds=SECONDS)

    def end_calls(self) -> None:
        (self.folder / "over").touch()

    def first(self) -> str:
        """The first process, seen from outside."""
        pid = self._process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]

    async def leave(self, shell: str = "sh") -> asyncio.subprocess.Process:
        """Run the hook, as the kubelet does."""
        name, *words = build_leaving_hook(PORT)["preStop"]["exec"]["command"]
        assert name == "sh"
        # Containers have a /tmp of their own; here two may have the same process id and moment.
        return await self.run(shell, *(word.replace("/tmp/", f"{self.folder}/") for word in words))

    async def run(self, *command: str) -> asyncio.subprocess.Process:
        """Run a program inside."""
        entered = ("nsenter", "--target", self.first(), "--pid", "--mount", "--net")
        return await asyncio.create_subprocess_exec(*entered, *command)


@asynccontextmanager
async def container(folder: Path, command: str) -> AsyncIterator[Container]:
    spaces = ("--pid", "--fork", "--mount-proc", "--net", "--kill-child")
    process = await asyncio.create_subprocess_exec("unshare", *spaces, "sh", "-c", command)
    try:
        yield Container(folder, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def worker(folder: Path, port: int = PORT, family: str = "AF_INET") -> str:
    """The command that runs a worker."""
    (folder / "worker.py").write_text(WORKER)
    return shlex.join([sys.executable, "-I", "-S", str(folder / "worker.py"), str(folder), str(port), family])


async def done(hook: asyncio.subprocess.Process) -> None:
    assert await asyncio.wait_for(hook.wait(), SECONDS) == 0


@pytest.mark.parametrize(
    ("spec", "port"),
    [
        ({}, None),  # the stock agent is its container's first process
        ({"agent": manifests.own_agent()}, "1F92"),
        ({"agent": manifests.own_agent(runner="None")}, "1F91"),
    ],
)
def test_a_worker_is_found_by_the_port_that_probes_ask(spec: dict[str, Any], port: str | None) -> None:
    pool = models.pool(**spec)
    [agent] = build_pod(pool, version(pool), "stable", INPUTS, "abcdef")["spec"]["containers"]
    command = agent.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [None])
    assert command[-1] == port
    assert (port is None) or int(port, 16) in {entry["containerPort"] for entry in agent["ports"]}


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    ("script", "family"),
    [
        ("{worker}; true", "AF_INET"),
        ("{worker}; true", "AF_INET6"),
        ("sh -c '{worker}; true'; true", "AF_INET"),
        ("trap '' TERM; {worker}; true", "AF_INET"),
    ],
    ids=["a script", "by IPv6", "a script in a script", "a script that ignores it"],
)
async def test_a_worker_behind_a_script_that_hears_nothing_is_told_once(
    stack: AsyncExitStack, tmp_path: Path, script: str, family: str, shell: str
) -> None:
    command = script.format(worker=worker(tmp_path, family=family))
    pod = await stack.enter_async_context(container(tmp_path, command))
    await pod.has(f"listens-{PORT}")
    await done(await pod.leave(shell))
    await pod.has(f"told-{PORT}")
    assert not pod.ended, "its calls go on"
    pod.end_calls()
    await eventually(lambda: pod.ended, "the container to end with its calls", seconds=SECONDS)
    assert pod.told() == 1


@pytest.mark.parametrize(
    "script",
    ["trap 'exit 0' TERM; {worker} & wait", "trap 'kill $!' TERM; {worker} & wait; wait"],
    ids=["one that ends by it", "one that passes it on"],
)
async def test_a_script_that_hears_gets_its_signal_when_the_calls_have_ended(
    stack: AsyncExitStack, tmp_path: Path, script: str
) -> None:
    command = f"{script.format(worker=worker(tmp_path))}; sleep 1000"
    pod = await stack.enter_async_context(container(tmp_path, command))
    await pod.has(f"listens-{PORT}")
    hook = await pod.leave()
    await pod.has(f"told-{PORT}")
    # Another process comes and goes meanwhile.
    await done(await pod.run("sh", "-c", "sleep 0.1"))
    assert hook.returncode is None, "SIGTERM would come now"
    pod.end_calls()
    await done(hook)
    assert pod.told() == 1


async def test_a_worker_that_is_the_first_process_hears_the_signal_itself(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    pod = await stack.enter_async_context(container(tmp_path, f"exec {worker(tmp_path)}"))
    await pod.has(f"listens-{PORT}")
    await done(await pod.leave())
    assert pod.told() == 0


async def test_a_program_that_hears_and_has_no_worker_yet_is_not_waited_for(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    command = f"trap 'exit 0' TERM; touch {tmp_path}/runs; while :; do sleep 0.05; done"
    pod = await stack.enter_async_context(container(tmp_path, command))
    await pod.has("runs")
    await done(await pod.leave())


async def test_a_worker_that_starts_in_a_pod_that_leaves_is_told(stack: AsyncExitStack, tmp_path: Path) -> None:
    command = f"touch {tmp_path}/runs; until [ -e {tmp_path}/go ]; do sleep 0.05; done; {worker(tmp_path)}; true"
    pod = await stack.enter_async_context(container(tmp_path, command))
    await pod.has("runs")
    hook = await pod.leave()
    (tmp_path / "go").touch()
    await pod.has(f"told-{PORT}")
    await done(hook)
    pod.end_calls()
    await eventually(lambda: pod.ended, "the container to end", seconds=SECONDS)
    assert pod.told() == 1


async def test_nobody_else_in_the_container_is_told(stack: AsyncExitStack, tmp_path: Path) -> None:
    helper = worker(tmp_path, port=6379)
    pod = await stack.enter_async_context(container(tmp_path, f"{helper} & {worker(tmp_path)}; true"))
    await pod.has(f"listens-{PORT}")
    await pod.has("listens-6379")
    await done(await pod.leave())
    await pod.has(f"told-{PORT}")
    assert pod.told(6379) == 0


async def test_a_worker_is_told_once_however_often_the_hook_runs(stack: AsyncExitStack, tmp_path: Path) -> None:
    pod = await stack.enter_async_context(container(tmp_path, f"{worker(tmp_path)}; true"))
    await pod.has(f"listens-{PORT}")
    await done(await pod.leave())
    await pod.has(f"told-{PORT}")
    await done(await pod.leave())
    pod.end_calls()
    await eventually(lambda: pod.ended, "the container to end with its calls", seconds=SECONDS)
    assert pod.told() == 1


async def test_each_worker_that_a_deaf_script_starts_anew_is_told(stack: AsyncExitStack, tmp_path: Path) -> None:
    pod = await stack.enter_async_context(container(tmp_path, f"while :; do {worker(tmp_path)}; done"))
    await pod.has(f"listens-{PORT}")
    await done(await pod.leave())
    pod.end_calls()
    await eventually(lambda: pod.told() > 1, "the next worker to be told", seconds=SECONDS)
