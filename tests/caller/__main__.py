"""Calls from the command line: `python -m tests.caller --secret-file secret.json --say "Goodbye."`."""

import argparse
import asyncio
import sys
from pathlib import Path

from .call import CallError, place_call
from .report import CallReport
from .secret import SecretError, decode


def main() -> int:
    """Place one call and show it; the status is 1 when the call did not go as it should."""
    parser = argparse.ArgumentParser(prog="caller", description=__doc__)
    # The token is never an argument: an argument list is readable by everyone on the machine.
    parser.add_argument("--secret-file", type=Path, required=True, help="the token Secret's data as JSON ('-': stdin)")
    parser.add_argument("--url-key", default="url", help="the Secret's key for the server: url or internalUrl")
    parser.add_argument("--say", action="append", help="a question; may be repeated")
    parser.add_argument("--interrupt", action="store_true", help="then interrupt a long answer")
    parser.add_argument("--wav", type=Path, help="where to write the recording (caller left, agent right)")
    parser.add_argument("--patience", type=float, default=20, help="seconds to wait for each thing (default 20)")
    parser.add_argument("--json", action="store_true", help="show the report as JSON")
    options = parser.parse_args()
    try:
        document = sys.stdin.read() if str(options.secret_file) == "-" else options.secret_file.read_text()
        report = asyncio.run(
            place_call(
                decode(document),
                say=options.say or ["What are your opening hours?"],
                interrupt=options.interrupt,
                wav=options.wav,
                url_key=options.url_key,
                patience=options.patience,
            )
        )
    except CallError as error:
        if error.report is not None:
            _show(error.report, as_json=options.json)
        print(f"the call failed: {error}", file=sys.stderr)
        return 1
    except (SecretError, OSError) as error:
        print(f"cannot read the Secret: {error}", file=sys.stderr)
        return 2
    _show(report, as_json=options.json)
    return 0


def _show(report: CallReport, *, as_json: bool) -> None:
    print(report.to_json() if as_json else report.to_text())


if __name__ == "__main__":
    sys.exit(main())
