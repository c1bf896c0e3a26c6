"""Why idle processes do not become warm, in the library's own words."""

import inspect
import logging
from functools import partial
from typing import Any

import pytest
from livekit.agents import JobExecutorType
from livekit.agents.ipc import supervised_proc
from livekit.agents.ipc.proc_pool import ProcPool
from livekit.agents.utils.aio.duplex_unix import DuplexClosed

from voice_agent.runner.warmups import LOGGER, MESSAGE, Warmups


class Failing:
    """A process of the library's pool that does not become warm."""

    def __init__(self, error: Exception, **_: Any) -> None:
        self._error = error

    async def start(self) -> None: ...

    async def initialize(self) -> None:
        raise self._error

    async def aclose(self) -> None: ...

    def logging_extra(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("process initialization failed: no model file"), "failed: no model file"),
        (TimeoutError(), "took longer than 12 s; spec.initializeTimeoutSeconds gives it more"),
    ],
)
async def test_the_librarys_own_pool_is_heard(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    monkeypatch.setattr("livekit.agents.ipc.job_thread_executor.ThreadJobExecutor", partial(Failing, error))
    given = (name for name in inspect.signature(ProcPool.__init__).parameters if name != "self")
    pool = ProcPool(**{**dict.fromkeys(given), "job_executor_type": JobExecutorType.THREAD})  # type: ignore[arg-type]
    warmups = Warmups(lambda: 12.0)
    logging.getLogger(LOGGER).addHandler(warmups)
    try:
        await pool._proc_spawn_task()
    finally:
        logging.getLogger(LOGGER).removeHandler(warmups)
    assert warmups.problem == f"the last one {words}"


def test_the_words_of_the_library_are_the_same() -> None:
    assert 'f"process initialization failed: {init_res.error}"' in inspect.getsource(supervised_proc)
    assert f'logger.exception("{MESSAGE}"' in inspect.getsource(ProcPool)


@pytest.mark.parametrize(
    ("error", "timeout", "words"),
    [
        (TimeoutError(), 12.5, "took longer than 12.5 s"),
        (TimeoutError(), None, "took longer than what it is given"),
        (DuplexClosed(), 10, "ended before it was warm"),
        (ValueError("a\nb"), 10, "failed: ValueError: a b"),
        (ValueError("a" * 2000), 10, "a" * 200),
    ],
)
def test_each_way_to_fail_has_its_words(error: BaseException, timeout: float | None, words: str) -> None:
    warmups = Warmups(lambda: timeout)
    warmups.emit(logging.LogRecord(LOGGER, logging.ERROR, "", 0, MESSAGE, None, (type(error), error, None)))
    assert warmups.problem is not None
    assert words in warmups.problem
    assert len(warmups.problem) <= 300


@pytest.mark.parametrize(("message", "info"), [("another", True), (MESSAGE, False)])
def test_other_lines_of_the_log_say_nothing(message: str, info: bool) -> None:
    error = ValueError()
    warmups = Warmups(lambda: 10)
    exc = (type(error), error, None) if info else None
    warmups.emit(logging.LogRecord(LOGGER, logging.ERROR, "", 0, message, None, exc))
    assert warmups.problem is None
