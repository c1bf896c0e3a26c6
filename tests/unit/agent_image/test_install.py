"""What is put into the folder that any other agent's image is given."""

import ast
import os
import re
import sys
from pathlib import Path

import pytest

from voice_agent.runner.install import main

RUNNER = Path(__file__).parents[3] / "agent_image" / "voice_agent" / "runner"


def test_installing_again_replaces_what_was_there(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    stale = [tmp_path / "livekit_operator_runner" / "stale.py", tmp_path / "node" / "stale.mjs"]
    for path in stale:
        path.touch()
    assert main([str(tmp_path)]) == 0
    assert not any(path.exists() for path in stale)
    assert {path.name for path in tmp_path.iterdir()} == {
        "livekit",
        "livekit_operator_runner",
        "node",
        "sitecustomize.py",
    }
    assert main([]) == 2


def test_any_user_may_read_what_is_installed(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert main([str(tmp_path)]) == 0
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert {path: oct(mode) for path, mode in modes.items() if mode not in (0o644, 0o755)} == {}
    assert modes[Path("livekit/agents")] == 0o755


def test_the_runner_for_node_is_all_there(tmp_path: Path) -> None:
    main([str(tmp_path)])
    there = {path.name for path in (RUNNER / "node").iterdir()}
    assert {path.name for path in (tmp_path / "node").iterdir()} == there
    assert "preload.cjs" in there


@pytest.mark.parametrize("module", sorted((RUNNER / "node").glob("*.*")), ids=lambda path: path.name)
def test_the_runner_for_node_is_self_contained(module: Path) -> None:
    imported = re.findall(r"(?:^import .*?from|require\(|\bload\()\s*'([^']+)'", module.read_text(), re.MULTILINE)
    outside = [name for name in imported if not name.startswith("node:")]
    assert [name for name in outside if not (RUNNER / "node" / name).is_file()] == []
    assert len(module.read_text().splitlines()) <= 400


@pytest.mark.parametrize("module", sorted(RUNNER.glob("*.py")), ids=lambda path: path.name)
def test_the_runner_is_self_contained_and_old_pythons_understand_it(module: Path) -> None:
    tree = ast.parse(module.read_text(), feature_version=(3, 9))
    allowed = {*sys.stdlib_module_names, "aiohttp", "livekit_operator_runner"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.module or "").split(".")[0] in allowed
            assert "UTC" not in [alias.name for alias in node.names], "new in Python 3.11"
