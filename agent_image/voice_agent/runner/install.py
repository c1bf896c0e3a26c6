"""`python -m voice_agent.runner.install DIR`: put what any other agent's image needs into a folder.

The folder then holds the runner as a package whose name clashes with nothing, and what loads it: a `sitecustomize`, and
a namesake of livekit-agents that is found before it. Named in PYTHONPATH it supervises the workers of livekit-agents in
every Python process that runs one. The runner for Node.js is in its folder `node`: `--require DIR/node/preload.cjs` in
NODE_OPTIONS does the same for @livekit/agents.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PACKAGE = "livekit_operator_runner"
NODE = "node"
_HERE = Path(__file__).resolve().parent
# Where each has to lie to be found.
_LOADERS = {"sitecustomize.py": "sitecustomize.py", "namesake.py": "livekit/agents/__init__.py"}


def install(folder: Path) -> None:
    """Write the runner; what an earlier one left is replaced. Raises OSError.

    Whoever runs the agent may read it, as another user than who writes it.
    """
    for name in (PACKAGE, NODE):
        shutil.rmtree(folder / name, ignore_errors=True)
    for source in (*_HERE.glob("*.py"), *(_HERE / NODE).glob("*.[cm]js")):
        if source.name == "install.py":
            continue
        python = _LOADERS.get(source.name, f"{PACKAGE}/{source.name}")
        target = folder / (python if source.suffix == ".py" else f"{NODE}/{source.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o644)
        for parent in target.relative_to(folder).parents:
            if parent.name:
                (folder / parent).chmod(0o755)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m voice_agent.runner.install DIR", file=sys.stderr)
        return 2
    install(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
