"""`python -m tests.flakes`: run stories again and again beside a load on the CPUs, and tell what failed how often.

The exit code is 1 when a story failed, 2 when a round could not be run. Ctrl-C ends it after the rounds there are.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cluster import layout
from tests.flakes.table import count, table
from tests.harness.busy import busy
from tests.harness.junit import Ending, endings
from tests.harness.parts import NONE_CHOSEN, Choice, add_options, choice_of, environment

# pytest's exit codes: all passed, some failed.
_RAN = (0, 1)


class RoundError(Exception):
    """A round could not be run."""


def run_round(choice: Choice, folder: Path) -> list[Ending]:
    """Run a round and return how each story ended; raises RoundError when pytest could not run them."""
    found: list[Ending] = []
    folder.mkdir(parents=True, exist_ok=True)
    variables = environment()
    for command, report in choice.commands(folder):
        report.unlink(missing_ok=True)
        code = subprocess.run(command, check=False, env=variables).returncode
        if code == NONE_CHOSEN:
            continue
        if code not in _RAN:
            raise RoundError(f"pytest ended with {code}: {' '.join(command)}")
        found += endings(report.read_text())
    if not found:
        raise RoundError("no story was chosen")
    return found


def run_rounds(choice: Choice, rounds: int, folder: Path) -> Iterator[list[Ending]]:
    """Run rounds one after the other, until they are done or somebody presses Ctrl-C."""
    for number in range(1, rounds + 1):
        print(f"--- round {number} of {rounds}", flush=True)
        try:
            yield run_round(choice, folder / f"round-{number}")
        except KeyboardInterrupt:
            print(f"ended in round {number}")
            return


def main(words: Sequence[str] | None = None) -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.flakes", description=__doc__)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=10, help="how often (default 10)")
    parser.add_argument("--load", type=int, default=os.cpu_count(), help="cores to keep busy (default all)")
    options = parser.parse_args(words)
    try:
        with busy(options.load):
            counts = count(run_rounds(choice_of(options), options.rounds, layout.STATE / "flakes"))
    except RoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(counts))
    return 1 if any(one.failures for one in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
