"""Imported once by the fork server, never by the worker: what every job process then has without paying for it.

Everything here must be safe to fork: imports, a cached TLS context, no thread and no event loop.
"""

import signal

from livekit.agents.utils import http_context

from . import session  # noqa: F401  the agent and every plugin

# A call must not end because a signal meant for the worker reached its whole process group. The library sets this
# in a job process at import, which comes too late for one that inherits its imports; children inherit this instead.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

# the first TLS context of a process costs 100-476 ms; job processes find it in this cache
http_context._create_ssl_context()
