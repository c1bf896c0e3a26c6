"""What takes connections in the world of tests: everything, but what refuses them."""


class FakeDoors:
    """Answers for `clients.tcp.refuses`."""

    def __init__(self) -> None:
        self.refusing: set[tuple[str, int]] = set()
        self.tried: list[tuple[str, int]] = []

    async def refuses(self, address: str, port: int) -> bool:
        """Return whether connections are refused there."""
        self.tried.append((address, port))
        return (address, port) in self.refusing
