"""A caller that has nothing but a token Secret.

It joins with LiveKit's own client SDK, speaks and listens with real audio over the network, and measures what a person
on the phone would notice.
"""

from .call import Call, CallError, place_call
from .report import CallReport
from .secret import CallerSecret, SecretError

__all__ = ["Call", "CallError", "CallReport", "CallerSecret", "SecretError", "place_call"]
