"""Python imports this by its name at the start of every process; `install` puts it on top of PYTHONPATH.

Of all modules with this name only the first is imported, so it hands over to the next.
"""

import importlib.machinery
import os
import signal
import sys
import types

from livekit_operator_runner import hook  # type: ignore[import-not-found]

if os.getpid() == 1:
    # The kernel drops signals to a container's first process that it has no handler for: one that comes before the
    # worker sets its own would be lost, and only one is sent. Nothing has begun yet, so there is nothing to end.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

hook.install()

# os.path, because pathlib would be imported by every process there is
_here = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120
_others = [folder for folder in sys.path if os.path.realpath(folder) != _here]
_next = importlib.machinery.PathFinder.find_spec(__name__, _others)
if _next is not None and _next.loader is not None:
    _module = sys.modules[__name__] = types.ModuleType(__name__)
    _module.__spec__, _module.__file__, _module.__loader__ = _next, _next.origin, _next.loader
    _next.loader.exec_module(_module)
