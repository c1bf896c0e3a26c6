"""Agent pods' status servers in memory."""

from livekit_operator.views import WorkerStatus


class FakeWorker:
    """Implements the Protocol `Worker`: an address that tests gave a status answers, others do not."""

    def __init__(self) -> None:
        self.answers: dict[str, WorkerStatus] = {}
        self.plain_answers: dict[str, WorkerStatus] = {}
        self.asked: list[str] = []
        self.closed = False

    async def status(self, address: str, namespace: str = "") -> WorkerStatus | None:  # noqa: ARG002
        """Return what the pod at an IP address says."""
        self.asked.append(address)
        return self.answers.get(address)

    async def plain_status(self, address: str, namespace: str = "") -> WorkerStatus | None:  # noqa: ARG002
        """Return what the worker of a pod without the runner says."""
        return self.plain_answers.get(address)

    async def close(self) -> None:
        """Close all connections."""
        self.closed = True
