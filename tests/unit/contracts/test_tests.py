"""Tests live where the code lives: a module has a file of its name at the same path, where its tests are found."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE, TESTS = ROOT / "operator" / "livekit_operator", ROOT / "tests" / "unit" / "operator"
# The agent's tests are in one folder, whichever of its folders a module is in.
AGENT, AGENT_TESTS = ROOT / "agent_image" / "voice_agent", ROOT / "tests" / "unit" / "agent_image"
# A shorter one has little to decide: it is tested with those that use it.
FEWEST_LINES = 40
PACKAGES = (
    "api",
    "clients",
    "engine",
    "manifests",
    "pools",
    "process",
    "reasons",
    "reconciling",
    "rooms",
    "servers",
    "web",
)
_RULES = "fields and rules alone, which are the API server's to check: tests/integration/test_crds_of_servers.py"
_TABLE = "a table, held to the code and the docs by test_reasons.py and api/writers/test_reasons.py"
EXEMPT = {
    "__main__.py": "it starts a process, which the stories do",
    "api/server/redis.py": _RULES,
    "api/server/turn.py": _RULES,
    "constants.py": "names",
    "reasons/of_pools.py": _TABLE,
    "reasons/of_rooms.py": _TABLE,
    "reasons/of_servers.py": _TABLE,
    "reasons/of_several.py": _TABLE,
}
"""Module -> why there is nothing to look for in a file of its own."""
AGENT_EXEMPT = {"preload.py": "it is the fork server's, with the real libraries: tests/wire/agent_image"}


def modules() -> list[str]:
    """Return the modules of the packages and those beside them, by their paths."""
    found = [*CODE.glob("*.py"), *(path for package in PACKAGES for path in (CODE / package).rglob("*.py"))]
    return sorted(str(path.relative_to(CODE)) for path in found if path.name != "__init__.py")


def is_long(module: str) -> bool:
    return len((CODE / module).read_text().splitlines()) > FEWEST_LINES


def files_of(module: str) -> list[str]:
    """Return the names of the files of a module's tests: of its name, or of its name and what of it they are about.

    `test_redis_sharing.py` is that of the module `redis_sharing`, where there is one, and none of `redis`.
    """
    path = Path(module)
    others = {p.stem for p in (CODE / path.parent).glob(f"{path.stem}_*.py")}
    found = [file for file in (TESTS / path.parent).glob(f"test_{path.stem}*.py") if _is_about(path.stem, others, file)]
    return sorted(file.name for file in found)


def _is_about(stem: str, others: set[str], file: Path) -> bool:
    name = file.stem.removeprefix("test_")
    return name == stem or (name.startswith(f"{stem}_") and not any(f"{name}_".startswith(f"{o}_") for o in others))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_modules_of_a_package_are_found(package: str) -> None:
    assert [module for module in modules() if module.startswith(f"{package}/")]


def test_every_module_has_files_of_its_name() -> None:
    assert [m for m in modules() if is_long(m) and m not in EXEMPT and not files_of(m)] == []


def test_no_exemption_outlives_its_reason() -> None:
    """Each is of a long module that there is, and that has no tests of its name."""
    assert [m for m in EXEMPT if m not in modules() or not is_long(m) or files_of(m)] == []
    assert all(EXEMPT.values())


def test_every_module_of_the_agent_has_a_file_of_its_name() -> None:
    long = [path for path in AGENT.rglob("*.py") if len(path.read_text().splitlines()) > FEWEST_LINES]
    without = {path.name for path in long if not (AGENT_TESTS / f"test_{path.stem.strip('_')}.py").is_file()}
    assert len(long) > 10
    assert without == AGENT_EXEMPT.keys()


def test_which_files_are_a_modules() -> None:
    assert files_of("reconciling/children.py") == ["test_children.py"]
    assert files_of("clients/kubernetes.py") == ["test_kubernetes.py", "test_kubernetes_watch.py"]
    assert files_of("servers/manifests/config.py") == ["test_config.py", "test_config_redis.py"]
    assert "test_room_listing.py" not in files_of("servers/room.py")
    assert files_of("reconciling/nothing.py") == []
