"""A process is ours only while its pid and its start time are the recorded ones."""

import pytest

from tests.cluster.processes import Program, Record
from tests.cluster.stat import Stat

LINE = f"42 (kubelet) S {'1 ' * 18}900 0 0"


@pytest.mark.parametrize(
    ("now", "ours"),
    [
        (None, False),
        (Stat(42, "kubelet", "S", 900), True),
        (Stat(42, "kubelet", "R", 900), True),
        (Stat(42, "kubelet", "Z", 900), False),
        (Stat(42, "kubelet", "X", 900), False),
        (Stat(42, "kubelet", "S", 901), False),
    ],
)
def test_a_record_matches_only_the_same_living_process(now: Stat | None, ours: bool) -> None:
    assert Record.parse(f"digest\n{LINE}\n").matches(now) is ours


@pytest.mark.parametrize("text", ["", "digest\n", "digest\nnonsense\n"])
def test_a_damaged_record_is_an_error_that_the_reader_expects(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        Record.parse(text)


def test_a_program_is_restarted_when_its_arguments_or_files_change() -> None:
    program = Program("etcd", ("etcd", "--name=a"), configuration="one")
    others = [
        Program("etcd", ("etcd", "--name=b"), configuration="one"),
        Program("etcd", ("etcd", "--name=a"), configuration="two"),
    ]
    assert program.digest == Program("etcd", ("etcd", "--name=a"), configuration="one").digest
    assert program.digest not in {other.digest for other in others}
