"""What decides an image's content: its Dockerfile and the files that it copies."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

# Never part of an image, whatever a Dockerfile copies.
_LITTER = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".git", ".venv", ".cluster", "node_modules"}


def copied_sources(dockerfile: str) -> list[str]:
    """The paths and patterns that a Dockerfile copies from its build context."""
    sources: list[str] = []
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        match = re.match(r"\s*(?:COPY|ADD)\s+(.*)", line, re.IGNORECASE)
        if not match:
            continue
        words = match[1].strip()
        arguments = re.findall(r'"([^"]*)"', words) if "[" in words else shlex.split(words)
        flags = [word for word in arguments if word.startswith("--")]
        if not any(flag.startswith("--from") for flag in flags):
            sources += [word for word in arguments if not word.startswith("--")][:-1]
    return sources


def files(context: Path, dockerfile: str) -> list[tuple[str, bytes]]:
    """Every file that the Dockerfile copies: its path with its mode, and its content."""
    found = {
        path for source in copied_sources(dockerfile) for match in _matches(context, source) for path in _walk(match)
    }
    return [(_described(path, context), _content(path)) for path in sorted(found)]


def _matches(context: Path, source: str) -> Iterator[Path]:
    relative = source.strip("/")
    if relative in ("", "."):
        return iter([context])
    return context.glob(relative)


def _walk(path: Path) -> Iterator[Path]:
    if not path.is_dir() or path.is_symlink():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name not in _LITTER]
        yield from (Path(folder) / name for name in names if not name.endswith(".pyc"))


def _described(path: Path, context: Path) -> str:
    return f"{path.relative_to(context)} {'x' if os.access(path, os.X_OK) else '-'}"


def _content(path: Path) -> bytes:
    return str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
