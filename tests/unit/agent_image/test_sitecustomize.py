"""Whoever else customizes Python in an image still does."""

from .injection import folders as folders  # a fixture
from .injection import python


def test_another_sitecustomize_is_not_displaced(folders: list[str]) -> None:
    shown = python(folders, "import sys, sitecustomize; print(sys.other, sitecustomize.__file__)")
    assert shown.split() == [f"{folders[1]}/sitecustomize.py"] * 2
