"""Which sessions count as failed, and what is told of those that ended."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc

from voice_agent.runner.memory import Memory
from voice_agent.runner.sessions import FOLDER_VARIABLE, MOST_ENDED, ReportingEntrypoint, Sessions, report_failure


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sessions:
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))
    counted = Sessions()
    counted.take_reports()
    return counted


def ended(job_id: str | None, status: str = "SUCCESS", **process: Any) -> Any:
    """A process of the library's after its end."""
    job = SimpleNamespace(id=job_id, dispatch_id=f"AD_{job_id}", room=SimpleNamespace(name="support-42"))
    running = None if job_id is None else SimpleNamespace(job=job)
    return SimpleNamespace(running_job=running, status=SimpleNamespace(name=status), **process)


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
        report_failure("AJ_1", "no such tool")
        report_failure("AJ_1", "and so nothing else went well")
    sessions.on_closed(executor)
    assert sessions.failed == failed


@pytest.mark.parametrize(
    ("process", "error"),
    [
        ({"status": "SUCCESS", "exitcode": 0}, None),
        ({"status": "FAILED", "exitcode": 3, "killed": False}, "the job's process ended with exit code 3"),
        ({"status": "FAILED", "exitcode": -11, "killed": False}, "the job's process ended with signal 11"),
        (
            {"status": "FAILED", "exitcode": -9, "killed": False},
            "the job's process was killed (SIGKILL), by the kernel for lack of memory or by somebody",
        ),
        # By the library itself, which then has said why.
        ({"status": "FAILED", "exitcode": -9, "killed": True}, "the job's process ended with signal 9"),
        ({"status": "FAILED"}, "the job ended by a failure"),  # a thread
    ],
)
def test_how_a_job_ended_is_told(sessions: Sessions, process: dict[str, Any], error: str | None) -> None:
    sessions.on_closed(ended("AJ_1", **process))
    (told,) = sessions.ended
    assert told.pop("endedAt").endswith("Z")
    assert told == {
        "cut": False,
        "seconds": None,
        "id": "AJ_1",
        "dispatchId": "AD_AJ_1",
        "room": "support-42",
        "failed": error is not None,
        "error": error,
    }


async def test_an_entrypoint_that_raises_is_told_with_the_end_of_its_traceback(sessions: Sessions) -> None:
    with pytest.raises(LookupError):
        await run("AJ_1", LookupError("no such tool\nin any list"))
    sessions.on_closed(ended("AJ_1"))
    assert sessions.ended[0]["error"] == "LookupError: no such tool in any list"


@pytest.mark.parametrize(("limit", "most"), [("134217728", "the container's limit of 128Mi"), ("max", "the node has")])
def test_a_job_that_was_killed_for_lack_of_memory_is_told_with_the_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, most: str
) -> None:
    (tmp_path / "memory.events").write_text("oom_kill 0\n")
    (tmp_path / "memory.max").write_text(limit)
    sessions = Sessions()
    sessions._memory = Memory(tmp_path)
    (tmp_path / "memory.events").write_text("oom_kill 1\n")
    for _ in range(2):
        sessions.on_closed(ended("AJ_1", "FAILED", exitcode=-9, killed=False))
    short, other = sessions.ended
    assert (
        short["error"]
        == f"OOMKilled: the job's process needed more memory than {most}; raise spec.resources.limits.memory"
    )
    assert "or by somebody" in other["error"], "one kill was counted"


def test_how_long_a_job_lasted_is_told(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    sessions.on_launched(ended("AJ_1"))
    monkeypatch.setattr("time.monotonic", lambda: 162.7)
    for _ in range(2):
        sessions.on_closed(ended("AJ_1"))
    assert [told["seconds"] for told in sessions.ended] == [62, None], "the second was not seen to begin"


def test_only_the_last_ones_are_told(sessions: Sessions) -> None:
    for number in range(MOST_ENDED + 1):
        report_failure(f"AJ_{number}", "x" * 1000)
        sessions.on_closed(ended(f"AJ_{number}"))
    assert sessions.failed == len(sessions.ended) + 1 == MOST_ENDED + 1
    assert sessions.ended[0]["id"] == "AJ_1"
    assert len(sessions.ended[0]["error"]) == 300


def test_a_report_that_nobody_asked_for_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    report_failure("AJ_1", "why")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "gone"))
    report_failure("AJ_1", "why")
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
    report_failure("../AJ_1", "why")
    assert [path.name for path in tmp_path.iterdir()] == [".._AJ_1"]


@pytest.mark.parametrize(
    ("reasons", "error"),
    [
        ([rtc.DisconnectReason.CLIENT_INITIATED], None),
        ([rtc.DisconnectReason.ROOM_DELETED], None),
        ([rtc.DisconnectReason.SERVER_SHUTDOWN], "its connection to the server broke (SERVER_SHUTDOWN)"),
        ([rtc.DisconnectReason.UNKNOWN_REASON], "its connection to the server broke (UNKNOWN_REASON)"),
        ([], None),  # an older library says no reason
        ([9999], None),
    ],
)
async def test_a_session_whose_connection_broke_needs_another_and_is_no_failure_of_the_agent(
    sessions: Sessions, reasons: list[Any], error: str | None
) -> None:
    handlers: dict[str, Any] = {}
    room = SimpleNamespace(on=handlers.__setitem__)

    async def entrypoint(_: Any) -> None:
        handlers["disconnected"](*reasons)

    await ReportingEntrypoint(entrypoint)(SimpleNamespace(job=SimpleNamespace(id="AJ_1"), room=room))
    sessions.on_closed(ended("AJ_1"))
    told = sessions.ended[0]
    assert (told["failed"], told["error"], sessions.failed) == (error is not None, error, 0)
    assert told["cut"] is (error is not None)


def test_a_call_that_is_cut_by_the_end_of_its_worker_needs_another_agent(sessions: Sessions) -> None:
    sessions.cutting = True
    sessions.on_closed(ended("AJ_1"))
    told = sessions.ended[0]
    assert (told["failed"], told["cut"], sessions.failed) == (True, True, 0)
    assert "its worker was stopped" in told["error"]
