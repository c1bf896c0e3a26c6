"""A talk from the command line: `python -m tests.media --secret-file alice.json --secret-file bob.json`."""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.caller.secret import SecretError, decode

from .report import Heard
from .talk import Party, Talk, TalkError


def main() -> int:
    """Let two talk and show what they heard; the status is 1 when they did not hear each other all the time."""
    parser = argparse.ArgumentParser(prog="media", description=__doc__)
    # The tokens are never arguments: an argument list is readable by everyone on the machine.
    parser.add_argument(
        "--secret-file", type=Path, action="append", required=True, help="a token Secret's data as JSON; given twice"
    )
    parser.add_argument("--url-key", default="url", help="the Secrets' key for the server: url or internalUrl")
    parser.add_argument("--relay-only", action="store_true", help="use nothing but TURN")
    parser.add_argument(
        "--namespace", type=Path, action="append", default=[], help="network namespace (file) of the first, the second"
    )
    parser.add_argument("--seconds", type=float, default=10, help="how long to talk (default 10)")
    parser.add_argument("--patience", type=float, default=20, help="seconds to wait for the first sound (default 20)")
    parser.add_argument("--longest-gap-ms", type=float, default=500, help="what still counts as unbroken (default 500)")
    parser.add_argument("--json", action="store_true", help="show the report as JSON")
    options = parser.parse_args()
    if len(options.secret_file) != 2:
        parser.error("two --secret-file are needed")
    namespaces = [*options.namespace, None, None]
    try:
        first, second = (
            Party.of(decode(file.read_text()), options.url_key, relay_only=options.relay_only, namespace=namespace)
            for file, namespace in zip(options.secret_file, namespaces, strict=False)
        )
        heard = asyncio.run(_talk(first, second, options.seconds, options.patience))
    except (SecretError, OSError) as error:
        print(f"cannot read the Secrets: {error}", file=sys.stderr)
        return 2
    except TalkError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        json.dumps([asdict(side) for side in heard], indent=2) if options.json else "\n".join(map(Heard.to_text, heard))
    )
    return int(max(side.longest_gap_ms() for side in heard) > options.longest_gap_ms)


async def _talk(first: Party, second: Party, seconds: float, patience: float) -> tuple[Heard, Heard]:
    async with Talk(first, second) as talk:
        await talk.both_hear(patience)
        await asyncio.sleep(seconds)
        return await talk.look()


if __name__ == "__main__":
    sys.exit(main())
