"""A call of two people, without any agent: each sends a tone of their own and listens for the other's.

Each is a process of its own, in a network namespace if asked to be, and knows when the other's tone stopped and for how
long, how often the connection was lost, and which way the media travels.
"""

from .report import Gap, Heard, Relay
from .talk import Party, Talk, TalkError

__all__ = ["Gap", "Heard", "Party", "Relay", "Talk", "TalkError"]
