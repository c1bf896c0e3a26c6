"""The worker's own HTTP endpoints: /healthz, /readyz and /status on port 8082."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from .readiness import WorkerState, reasons_not_ready
from .worker import SupervisedWorker

STATUS_PORT = 8082

ProviderErrors = Callable[[], list[dict[str, Any]]]


@dataclass
class WorkerStatus:
    """The worker as seen from outside."""

    worker: SupervisedWorker
    # what providers refused; only an agent that looks can tell
    provider_errors: ProviderErrors = list
    stopping: bool = False
    failure: str | None = None

    @property
    def state(self) -> WorkerState:
        return WorkerState(
            warmed_up=self.worker.warmed_up,
            registered=self.worker.registered,
            draining=self.stopping or self.worker.draining,
            failure=self.failure,
            warm_up_problem=self.worker.warmups.problem,
        )

    def document(self) -> dict[str, Any]:
        """Every field is always present, also when it is zero, empty or null."""
        state, worker = self.state, self.worker
        not_ready = reasons_not_ready(state)
        return {
            "ready": not not_ready,
            "notReady": not_ready,
            "registered": state.registered,
            "draining": state.draining,
            "workerId": worker.worker_id,
            "agentName": worker.agent_name,
            "deployment": worker.deployment,
            "jobType": worker.job_type,
            "warmProcesses": worker.warm_processes,
            # includes jobs accepted and about to run: a pod that has one is not idle
            "activeSessions": worker.guard.occupied,
            "capacity": worker.guard.capacity,
            "jobs": [{**job, **worker.sessions.activity(job["id"])} for job in worker.guard.document()],
            "endedJobs": list(worker.sessions.ended),
            "sessions": {"started": worker.sessions.started, "failed": worker.sessions.failed},
            "providerErrors": self.provider_errors(),
            "applied": list(worker.applied),
            "notApplied": [{"setting": setting, "reason": reason} for setting, reason in worker.not_applied.items()],
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
