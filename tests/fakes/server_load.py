"""Servers' metrics in memory."""

from livekit_operator.views import ServerLoad


class FakeServerLoads:
    """Implements the Protocol `ServerLoads`: an address answers with what tests gave it, others with `otherwise`."""

    def __init__(self, otherwise: ServerLoad | None = None) -> None:
        self.otherwise = otherwise
        self.answers: dict[str, ServerLoad | None] = {}
        self.asked: list[tuple[str, int]] = []
        self.credentials: list[tuple[str, str] | None] = []
        self.closed = False

    async def load(self, address: str, port: int, credentials: tuple[str, str] | None) -> ServerLoad | None:
        """Return rooms and participants of the server at an IP address."""
        self.asked.append((address, port))
        self.credentials.append(credentials)
        return self.answers.get(address, self.otherwise)

    async def close(self) -> None:
        """Close all connections."""
        self.closed = True
