"""The runner reaches an agent that does not know it, and nothing else."""

from .injection import folders as folders  # a fixture
from .injection import python


def test_a_process_without_an_agent_imports_nothing_more(folders: list[str]) -> None:
    code = "import sys; print(*sorted(name for name in sys.modules if 'runner' in name or name == 'asyncio'))"
    assert python(folders, code) == "livekit_operator_runner livekit_operator_runner.hook"
