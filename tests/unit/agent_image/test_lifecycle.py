"""How a worker's life ends."""

import asyncio
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from voice_agent.runner import lifecycle


class Server:
    """A server of the library's that notes what is asked of it."""

    def __init__(self, failure: Exception | None = None, left: bool = False) -> None:
        self.asked: list[str] = []
        self._failure = failure
        self._left = left
        self._closed = asyncio.Event()

    async def run(self) -> None:
        self.asked.append("run")
        if self._failure is not None:
            raise self._failure
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        await self._closed.wait()

    async def drain(self) -> None:
        self.asked.append("drain")
        signal.raise_signal(signal.SIGTERM)
        if self._left:
            raise TimeoutError

    async def aclose(self) -> None:
        self.asked.append("aclose")
        self._closed.set()


@pytest.fixture(autouse=True)
def _signals(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("STATUS_PORT", "0")
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


def status(server: Server, *, started: bool = True) -> Any:
    guard, sessions = SimpleNamespace(occupied=0), SimpleNamespace(cutting=False)
    worker = SimpleNamespace(server=server, guard=guard, sessions=sessions, applied=[], not_applied={}, started=started)
    return SimpleNamespace(worker=worker, stopping=False, failure=None)


@pytest.mark.parametrize("left", [False, True], ids=["in time", "calls are left"])
async def test_a_worker_is_drained_and_closed_once(left: bool) -> None:
    server = Server(left=left)
    seen = status(server)
    await lifecycle.run(seen, server.run)
    assert server.asked == ["run", "drain", "aclose"]
    assert (seen.stopping, seen.failure, seen.worker.applied) == (True, None, ["singleDrain"])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN, "a late one does not change the exit code"
    # the library's command line does the same once more
    await server.drain()
    await server.aclose()
    assert server.asked == ["run", "drain", "aclose"]


async def test_a_worker_that_fails_says_so() -> None:
    server = Server(ConnectionError("refused"))
    seen = status(server)
    with pytest.raises(ConnectionError):
        await lifecycle.run(seen, server.run, signals=())
    assert seen.failure == "the worker stopped by itself"
    assert "aclose" in server.asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_that_is_not_warm_yet_ends_at_once(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    ended: list[int] = []
    monkeypatch.setattr("voice_agent.runner.lifecycle.os._exit", ended.append)
    seen = status(Server(), started=False)

    async def start() -> None:
        signal.raise_signal(number)
        seen.worker.started = True

    await lifecycle.run(seen, start, signals=(number,))
    assert ended == [0]


async def test_what_runs_beside_the_worker_may_fail() -> None:
    server = Server()

    async def broken() -> None:
        raise ZeroDivisionError

    await lifecycle.run(status(server), server.run, broken)
    assert server.asked == ["run", "drain", "aclose"]


async def test_a_port_that_is_taken_does_not_stop_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = await asyncio.start_server(lambda *_: None, "0.0.0.0", 0)
    monkeypatch.setenv("STATUS_PORT", str(taken.sockets[0].getsockname()[1]))
    server = Server()
    await lifecycle.run(status(server), server.run)
    assert server.asked == ["run", "drain", "aclose"]
    taken.close()
    await taken.wait_closed()
