"""Which sessions count as failed."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc

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


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What reaches the room of the attributes that agents set."""
    reached: list[dict[str, str]] = []

    async def set_attributes(_: rtc.LocalParticipant, attributes: dict[str, str]) -> None:
        reached.append(attributes)

    monkeypatch.setattr(rtc.LocalParticipant, "set_attributes", set_attributes)
    return reached


async def test_what_a_session_does_is_what_it_shows_to_the_room(
    sessions: Sessions, room: list[dict[str, str]], tmp_path: Path
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    participant = rtc.LocalParticipant.__new__(rtc.LocalParticipant)

    async def entrypoint(_: Any) -> None:
        # Sessions do it in tasks of their own.
        await asyncio.create_task(participant.set_attributes({"lk.agent.state": "thinking", "x": "y"}))
        await participant.set_attributes({"x": "z"})
        asked.set()
        await go_on.wait()

    calls = [
        asyncio.create_task(ReportingEntrypoint(entrypoint)(SimpleNamespace(job=SimpleNamespace(id=job_id))))
        for job_id in ("AJ_1", "AJ_2")
    ]
    await asked.wait()
    os.utime(tmp_path / "AJ_1.state", (1767225600.4, 1767225600.4))
    assert sessions.activity("AJ_1") == {"state": "thinking", "lastActivityAt": "2026-01-01T00:00:00Z"}
    assert sessions.activity("AJ_2")["state"] == "thinking"
    assert sessions.activity("AJ_3") == {"state": None, "lastActivityAt": None}
    assert len(room) == 4, "and all that they set reaches the room"
    go_on.set()
    await asyncio.gather(*calls)
    sessions.on_closed(ended("AJ_1"))
    assert sessions.activity("AJ_1")["state"] is None
    assert sessions.failed == 0


async def test_a_state_that_nobody_asked_for_reaches_the_room_all_the_same(
    monkeypatch: pytest.MonkeyPatch, room: list[dict[str, str]], tmp_path: Path
) -> None:
    participant = rtc.LocalParticipant.__new__(rtc.LocalParticipant)

    async def entrypoint(_: Any) -> None:
        await participant.set_attributes({"lk.agent.state": "listening"})

    for folder in ("", str(tmp_path / "gone")):
        monkeypatch.setenv(FOLDER_VARIABLE, folder)
        await ReportingEntrypoint(entrypoint)(SimpleNamespace(job=SimpleNamespace(id="AJ_1")))
    assert [attributes["lk.agent.state"] for attributes in room] == ["listening"] * 2


def test_a_jobs_id_is_no_path(sessions: Sessions, tmp_path: Path) -> None:
    report_failure("../AJ_1")
    assert [path.name for path in tmp_path.iterdir()] == [".._AJ_1"]
