"""Whether the kernel killed a process for lack of memory, by what its control group counts."""

from pathlib import Path

import pytest

from voice_agent.runner.memory import Memory


def second(folder: Path, kills: int, limit: str = "536870912") -> None:
    (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax 7\noom 2\noom_kill {kills}\noom_group_kill 0\n")
    (folder / "memory.max").write_text(f"{limit}\n")


def first(folder: Path, kills: int, limit: str = "536870912") -> None:
    (folder / "memory").mkdir(exist_ok=True)
    (folder / "memory/memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")
    (folder / "memory/memory.limit_in_bytes").write_text(f"{limit}\n")


@pytest.mark.parametrize("write", [first, second])
def test_each_kill_counts_once(tmp_path: Path, write: object) -> None:
    assert callable(write)
    write(tmp_path, 3)
    memory = Memory(tmp_path)
    assert not memory.was_short(), "what was before the worker is not its own"
    write(tmp_path, 5)
    assert [memory.was_short() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("write", "limit", "shown"),
    [
        (second, "536870912", "512Mi"),
        (second, "2147483648", "2Gi"),
        (second, "500000000", "477Mi"),
        (second, "max", None),
        (first, "134217728", "128Mi"),
        (first, "9223372036854771712", None),
    ],
)
def test_the_limit_is_told_as_kubernetes_writes_it(
    tmp_path: Path, write: object, limit: str, shown: str | None
) -> None:
    assert callable(write)
    write(tmp_path, 0, limit)
    assert Memory(tmp_path).limit() == shown


@pytest.mark.parametrize("text", [None, "", "oom_kill", "oom_kill many", "oom_kill_disable 0"])
def test_where_nothing_is_counted_nothing_is_said(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "memory.events").write_text(text)
        (tmp_path / "memory.max").write_text(text)
    memory = Memory(tmp_path)
    assert (memory.was_short(), memory.limit()) == (False, None)
