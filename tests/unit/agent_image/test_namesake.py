"""The runner finds its worker also where another program's sitecustomize is found first."""

import pytest

from .injection import folders as folders  # a fixture
from .injection import python, run

PATCHED = """
import sys, livekit.agents
original = livekit.agents.AgentServer.run.__wrapped__
print(original.__qualname__, hasattr(original, "__wrapped__"), getattr(sys, "other", "none"))
print(livekit.agents.__file__, sys.modules["livekit"].agents is livekit.agents)
"""


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)], ids=["the runner's first", "another's first"])
def test_a_worker_is_patched_once_whoever_customizes_the_process(folders: list[str], order: tuple[int, ...]) -> None:
    _, other, library = folders
    assert python([folders[number] for number in order], PATCHED).splitlines() == [
        f"AgentServer.run False {other}/sitecustomize.py",
        f"{library}/livekit/agents/__init__.py True",
    ]


def test_where_there_is_no_library_importing_it_fails_as_ever(folders: list[str]) -> None:
    code = """
import sys
sys.path[:] = [folder for folder in sys.path if "site-packages" not in folder]
try:
    import livekit.agents
except ModuleNotFoundError as error:
    print(error, error.name)
"""
    assert run(folders[:1], code).stdout.strip() == "No module named 'livekit.agents' livekit.agents"
