"""A pytest plugin by which stories of one `xdist_group` run in one process, one after the other.

pytest-xdist 3.8 appends the group to `_nodeid` (xdist/remote.py), which pytest 9.2 no longer reads (_pytest/nodes.py):
by itself it runs a group's stories side by side, without a word.
"""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append each story's group to its id, by which the scheduler tells who goes together."""
    if not getattr(config.option, "loadgroup", False):  # set by pytest-xdist in the processes that run stories
        return
    for item in items:
        groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
        end = f"@{'_'.join(groups)}"
        if groups and not item.nodeid.endswith(end):
            item._id = type(item.id).parse(item.nodeid + end)
