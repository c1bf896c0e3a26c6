"""Every module can be read in one sitting: none is long, and none is so many things that it needs banners."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MOST_LINES = 400
BANNER = re.compile(r"^\s*#\s*[-=*#─━]{3,}", re.MULTILINE)
PACKAGES = (ROOT / "operator" / "livekit_operator", ROOT / "agent_image" / "voice_agent", ROOT / "tests")
# Tests of an API server and stories share what is in the harness, and take nothing from each other or from the fakes.
FOREIGN = {
    "e2e": ("unit", "fakes", "integration", "wire"),
    "harness": ("unit", "fakes", "integration", "wire", "e2e"),
    "integration": ("unit", "wire", "e2e"),
    "wire": ("fakes", "integration", "e2e"),
    "fakes": ("unit", "integration", "wire", "e2e"),
}
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_modules_of_a_package_are_found(package: Path) -> None:
    assert sum(package in module.parents for module in MODULES) > 5


def test_no_module_is_long() -> None:
    lines = {str(module.relative_to(ROOT)): len(module.read_text().splitlines()) for module in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_module_has_banners() -> None:
    assert [str(module.relative_to(ROOT)) for module in MODULES if BANNER.search(module.read_text())] == []


@pytest.mark.parametrize("folder", FOREIGN)
def test_the_tests_house_has_its_order(folder: str) -> None:
    pattern = re.compile(rf"^\s*(?:from|import) tests(?:\.| import )({'|'.join(FOREIGN[folder])})\b", re.MULTILINE)
    modules = [module for module in MODULES if ROOT / "tests" / folder in module.parents]
    assert len(modules) > 5
    assert [str(module.relative_to(ROOT)) for module in modules if pattern.search(module.read_text())] == []


def test_what_a_banner_is() -> None:
    assert BANNER.search("x = 1\n# --- Servers ----\n")
    assert not BANNER.search("x = 1  # --- no line of its own\n#!/usr/bin/env python\n# - an item\n")
