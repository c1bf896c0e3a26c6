"""A pytest plugin for stories side by side: those of a group in one process, and the longest first.

A group is named by `xdist_group`, or by `one_server`, whose stories use one LiveKitServer.

pytest-xdist 3.8 appends the group to `_nodeid` (xdist/remote.py), which pytest 9.2 no longer reads (_pytest/nodes.py):
by itself it runs a group's stories side by side, without a word. It hands out stories some ahead, in the order in which
they were collected (with --no-loadscope-reorder): long ones in the end would leave the other processes idle.
"""

from collections.abc import Sequence

import pytest

from tests.harness.progress import known_seconds, plain

# Of its time-out, which is generous.
_PART = 0.1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append each story's group to its id, by which the scheduler tells who goes together; put long ones first."""
    if not getattr(config.option, "loadgroup", False):  # set by pytest-xdist in the processes that run stories
        return
    for item in items:
        if (group := _group(item)) and not item.nodeid.endswith(f"@{group}"):
            item._id = type(item.id).parse(f"{item.nodeid}@{group}")
    known = known_seconds()
    taken = [known.get(plain(item.nodeid), _guess(item)) for item in items]
    order = longest_first([_group(item) or item.nodeid for item in items], taken)
    items[:] = [items[number] for number in order]


def longest_first(wholes: Sequence[str], taken: Sequence[float]) -> list[int]:
    """Return the places of stories in the order in which they are to begin.

    Of each are given its group, or a name of its own, and how long it takes. A group counts as the sum of its stories
    and stays together.
    """
    sums = dict.fromkeys(wholes, 0.0)
    for whole, seconds in zip(wholes, taken, strict=True):
        sums[whole] += seconds
    firsts = {whole: wholes.index(whole) for whole in sums}
    return sorted(range(len(wholes)), key=lambda number: (-sums[wholes[number]], firsts[wholes[number]]))


def _guess(item: pytest.Item) -> float:
    """Return how long a story may take that never ran here: a part of what it is given at most."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) * _PART if mark else 0.0


def _group(item: pytest.Item) -> str:
    marks = (*item.iter_markers("xdist_group"), item.get_closest_marker("one_server"))
    return "_".join(sorted({str(mark.args[0]) for mark in marks if mark and mark.args[0]}))
