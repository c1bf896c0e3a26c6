"""Runs the stand-ins: `python -m tests.providers --port 8090`."""

import os

# One small product of matrices is all the linear algebra there is; a pool of threads only makes it wait for cores.
# Set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json

from aiohttp import web

from .control import Control
from .keys import Keys
from .server import application


def main() -> None:
    """Read options and environment, then serve until told to stop."""
    parser = argparse.ArgumentParser(prog="providers", description=__doc__)
    parser.add_argument("--host", default=os.environ.get("PROVIDERS_HOST", "0.0.0.0"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("PROVIDERS_PORT", "8090")))
    parser.add_argument(
        "--control",
        type=json.loads,
        default=json.loads(os.environ.get("PROVIDERS_CONTROL", "{}")),
        metavar="JSON",
        help='delays and faults to start with, as for PUT /control: {"delays": {"llm_first_token_ms": 300}}',
    )
    parser.add_argument("--line", action="append", default=[], help="one more caller's line to recognise")
    options = parser.parse_args()
    control = Control()
    control.change(options.control)
    # Keys come from the environment only: an argument list is readable by everyone on the machine.
    keys = Keys(
        deepgram=os.environ.get("PROVIDERS_DEEPGRAM_KEY", Keys.deepgram),
        openai=os.environ.get("PROVIDERS_OPENAI_KEY", Keys.openai),
    )
    web.run_app(application(control, keys, options.line), host=options.host, port=options.port, access_log=None)


if __name__ == "__main__":
    main()
