"""`python -m tests.e2e`: the stories, on a cluster that is up. A part that fails does not keep the next from it."""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from tests.cluster import layout
from tests.harness.parts import NONE_CHOSEN, add_options, choice_of, environment


def main(words: Sequence[str] | None = None) -> int:
    """Run all parts; return the exit code of the first that failed, or pytest's for no story at all."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e", description=__doc__)
    add_options(parser)
    variables = environment()
    codes = [
        subprocess.run(command, check=False, env=variables).returncode
        for command, _ in choice_of(parser.parse_args(words)).commands(layout.STATE)
    ]
    ran = [code for code in codes if code != NONE_CHOSEN]
    return next((code for code in ran if code), 0 if ran else NONE_CHOSEN)


if __name__ == "__main__":
    sys.exit(main())
