"""`python -m voice_agent.runner.install DIR`: put what any other agent's image needs into a folder.

The folder then holds the runner as a package whose name clashes with nothing, and a `sitecustomize` that loads it;
named first in PYTHONPATH it supervises the workers of livekit-agents in every Python process that runs one.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PACKAGE = "livekit_operator_runner"
_HERE = Path(__file__).resolve().parent
_NOT_IN_THE_PACKAGE = ("install.py", "sitecustomize.py")


def install(folder: Path) -> None:
    """Write the runner; what an earlier one left is replaced. Raises OSError."""
    package = folder / PACKAGE
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for source in _HERE.glob("*.py"):
        if source.name not in _NOT_IN_THE_PACKAGE:
            shutil.copyfile(source, package / source.name)
    shutil.copyfile(_HERE / "sitecustomize.py", folder / "sitecustomize.py")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m voice_agent.runner.install DIR", file=sys.stderr)
        return 2
    install(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
