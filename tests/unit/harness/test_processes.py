"""The memory of a process as the machine tells it."""

import pytest

from tests.harness.processes import smaps_kib

ROLLUP = """\
55e2d1a00000-7ffd3c5f1000 ---p 00000000 00:00 0    [rollup]
Rss:              900 kB
Pss:              700 kB
Pss_Dirty:        300 kB
Pss_Anon:         250 kB
"""


@pytest.mark.parametrize(
    ("text", "line", "kib"),
    [
        (ROLLUP, "Pss", 700),
        (ROLLUP, "Pss_Anon", 250),
        (ROLLUP, "Pss_File", 0),
        pytest.param("", "Pss", 0, id="a process that has ended"),
    ],
)
def test_a_line_of_a_process_memory_is_read(text: str, line: str, kib: int) -> None:
    assert smaps_kib(text, line) == kib
