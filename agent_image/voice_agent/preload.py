"""Imported once by the fork server, never by the worker: what every job process then has without paying for it.

Everything here must be safe to fork: imports, cached values, the VAD model (its session has no threads); no thread
and no event loop left behind.
"""

import importlib
import signal

from livekit.agents import tokenize
from livekit.agents.utils import http_context

from . import config, providers, session, tools  # noqa: F401  the agent and every plugin
from .rehearsal import rehearse
from .runner import stacks

# What libraries import only at first use, found as the difference of sys.modules over a whole call. Left to that
# moment they block the event loop of a live call for 100-300 ms each.
LATE_IMPORTS = (
    "anyio._backends._asyncio",
    "livekit.agents.llm.async_toolset",
    "livekit.agents.voice.report",
    "numpy.fft",
    "openai.lib.streaming.chat",
    "openai.pagination",
    "openai.resources.audio.audio",
    "openai.resources.chat.chat",
    "openai.resources.models",
)
for _module in LATE_IMPORTS:
    importlib.import_module(_module)

# A call must not end because a signal meant for the worker reached its whole process group. The library sets this
# in a job process at import, which comes too late for one that inherits its imports; children inherit this instead.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

stacks.protect()

# the first TLS context of a process costs 100-476 ms; job processes find it in this cache
http_context._create_ssl_context()

# builds the hyphenation table that pacing the transcript to the speech needs
tokenize.basic.hyphenate_word("warm")

# the worker has just read the same file; a job process given another configuration builds its own
_config = config.load()
providers.preload(_config)
tools.preload(_config.tools)

rehearse()
