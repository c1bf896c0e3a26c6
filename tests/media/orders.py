"""What a talker's process is told by standard input."""

from dataclasses import dataclass

from tests.caller.secret import CallerSecret

LOOK = "look"


@dataclass(frozen=True)
class Orders:
    """What a talker is told: who it is, its own tone and the one it listens for, in hertz."""

    url: str
    room: str
    identity: str
    token: str
    sends: int
    hears: int
    relay_only: bool = False

    @property
    def secret(self) -> CallerSecret:
        """Who it is."""
        return CallerSecret(self.url, self.room, self.identity, self.token)
