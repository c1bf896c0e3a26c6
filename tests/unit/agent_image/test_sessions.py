"""Which sessions count as failed."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from voice_agent.runner.sessions import FOLDER_VARIABLE, ReportingEntrypoint, Sessions, report_failure


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sessions:
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))
    counted = Sessions()
    counted.take_reports()
    return counted


def ended(job_id: str | None, status: str = "SUCCESS") -> Any:
    """A process of the library's after its end."""
    job = None if job_id is None else SimpleNamespace(job=SimpleNamespace(id=job_id))
    return SimpleNamespace(running_job=job, status=SimpleNamespace(name=status))


async def run(job_id: str, error: BaseException | None) -> None:
    async def entrypoint(_: Any) -> None:
        if error is not None:
            raise error

    await ReportingEntrypoint(entrypoint)(SimpleNamespace(job=SimpleNamespace(id=job_id)))


async def test_an_entrypoint_that_raises_has_failed(sessions: Sessions, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        await run("AJ_1", ZeroDivisionError())
    await run("AJ_2", None)
    for job_id in ("AJ_1", "AJ_2"):
        sessions.on_launched(ended(job_id))
        sessions.on_closed(ended(job_id))
    assert (sessions.started, sessions.failed) == (2, 1)
    assert os.listdir(tmp_path) == []  # noqa: PTH208  no report is kept


@pytest.mark.parametrize(
    ("executor", "reported", "failed"),
    [
        (ended("AJ_1"), False, 0),
        (ended("AJ_1", "FAILED"), False, 1),
        (ended("AJ_1"), True, 1),
        (ended("AJ_1", "FAILED"), True, 1),
        (ended(None), True, 0),  # an idle process that ended had no session
    ],
)
def test_a_session_fails_once(sessions: Sessions, executor: Any, reported: bool, failed: int) -> None:
    if reported:
        report_failure("AJ_1")
    sessions.on_closed(executor)
    assert sessions.failed == failed


def test_a_report_that_nobody_asked_for_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    report_failure("AJ_1")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "gone"))
    report_failure("AJ_1")
    assert list(tmp_path.iterdir()) == []


def test_a_jobs_id_is_no_path(sessions: Sessions, tmp_path: Path) -> None:
    report_failure("../AJ_1")
    assert [path.name for path in tmp_path.iterdir()] == [".._AJ_1"]
