"""What can go wrong here, in words for the person who ran the command."""

from pathlib import Path


class ClusterError(Exception):
    """The cluster could not be brought to the wanted state."""


def log_tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, headed by its name; empty when there is none."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return f"\n--- end of {path}\n" + "\n".join(text.splitlines()[-lines:])
