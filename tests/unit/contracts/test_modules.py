"""Every module can be read in one sitting: none is long, and none is so many things that it needs banners."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MOST_LINES = 400
BANNER = re.compile(r"^\s*#\s*[-=*#─━]{3,}", re.MULTILINE)
PACKAGES = (ROOT / "operator" / "livekit_operator", ROOT / "agent_image" / "voice_agent")
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_modules_of_a_package_are_found(package: Path) -> None:
    assert sum(package in module.parents for module in MODULES) > 5


def test_no_module_is_long() -> None:
    lines = {str(module.relative_to(ROOT)): len(module.read_text().splitlines()) for module in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_module_has_banners() -> None:
    assert [str(module.relative_to(ROOT)) for module in MODULES if BANNER.search(module.read_text())] == []


def test_what_a_banner_is() -> None:
    assert BANNER.search("x = 1\n# --- Servers ----\n")
    assert not BANNER.search("x = 1  # --- no line of its own\n#!/usr/bin/env python\n# - an item\n")
