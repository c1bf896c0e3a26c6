"""The worker's own HTTP endpoints: /healthz, /readyz and /status on port 8082."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from .provider_errors import ProviderErrorBoard
from .readiness import WorkerState, reasons_not_ready
from .server import RunnerServer

STATUS_PORT = 8082


@dataclass
class WorkerStatus:
    """The worker as seen from outside."""

    server: RunnerServer
    board: ProviderErrorBoard
    stopping: bool = False
    failure: str | None = None

    @property
    def state(self) -> WorkerState:
        return WorkerState(
            warmed_up=self.server.warmed_up,
            registered=self.server.registered,
            draining=self.stopping or self.server.draining,
            failure=self.failure,
        )

    def document(self) -> dict[str, Any]:
        """Every field is always present, also when it is zero, empty or null."""
        state = self.state
        return {
            "ready": not reasons_not_ready(state),
            "registered": state.registered,
            "draining": state.draining,
            "workerId": self.server.worker_id,
            "warmProcesses": self.server.warm_processes,
            # includes jobs accepted and about to run: a pod that has one is not idle
            "activeSessions": self.server.guard.occupied,
            "capacity": self.server.guard.capacity,
            "providerErrors": [asdict(error) for error in self.board.current()],
        }


def _text(reasons: list[str]) -> web.Response:
    return web.Response(status=503 if reasons else 200, text="\n".join(reasons) or "ok")


def application(status: WorkerStatus) -> web.Application:
    """The three routes."""

    def handler(answer: Callable[[], web.Response]) -> Callable[[web.Request], Any]:
        async def handle(_: web.Request) -> web.Response:
            return answer()

        return handle

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", handler(lambda: _text([status.failure] if status.failure else []))),
            web.get("/readyz", handler(lambda: _text(reasons_not_ready(status.state)))),
            web.get("/status", handler(lambda: web.json_response(status.document()))),
        ]
    )
    return app
