"""Stands for `openai`, which livekit-agents imports: no light agent calls it, and it is a quarter of their start.

Whatever is imported from it or below it is an empty class.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Anything(type):
    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing


class Nothing(metaclass=_Anything):
    """What any name of it is."""


class Empty(ModuleType):
    """A module in which every name is found."""

    __path__: list[str] = []  # noqa: RUF012  a package's

    def __getattr__(self, name: str) -> type:
        """Return the same for every name but Python's own."""
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing


class Finder(MetaPathFinder, Loader):
    """Finds every module below."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a module's spec, None where it is another package's."""
        del path, target
        return ModuleSpec(name, self, is_package=True) if name.startswith(f"{__name__}.") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return an empty module."""
        return Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


sys.meta_path.insert(0, Finder())
sys.modules[__name__].__class__ = Empty
