"""A LiveKit server as far as a worker sees one: it registers workers, offers them jobs and ends jobs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from livekit.protocol import agent, models

WORKER_ID = "AW_wire"


@dataclass
class Dispatcher:
    """Speaks livekit.protocol.agent over the websocket `/agent`."""

    url: str = ""
    registrations: list[agent.RegisterWorkerRequest] = field(default_factory=list)
    statuses: list[agent.UpdateWorkerStatus] = field(default_factory=list)
    _socket: web.WebSocketResponse | None = None
    _answers: dict[str, asyncio.Future[agent.AvailabilityResponse]] = field(default_factory=dict)
    _jobs: dict[str, agent.Job] = field(default_factory=dict)
    _told: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def offer(self, job_id: str, metadata: str = "") -> "asyncio.Future[agent.AvailabilityResponse]":
        """Offer a job and return its answer to come; the job is assigned as soon as the worker accepts it."""
        room = models.Room(name=f"room of {job_id}", sid=f"RM_{job_id}")
        job = self._jobs[job_id] = agent.Job(
            id=job_id, dispatch_id=f"AD_{job_id}", type=agent.JobType.JT_ROOM, room=room, metadata=metadata
        )
        answer = self._answers[job_id] = asyncio.get_running_loop().create_future()
        await self._send(agent.ServerMessage(availability=agent.AvailabilityRequest(job=job)))
        return answer

    async def until(self, condition: Callable[[agent.UpdateWorkerStatus], bool], seconds: float = 20) -> None:
        """Wait for the worker's last status to fulfil a condition; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._told:
            await self._told.wait_for(lambda: bool(self.statuses) and condition(self.statuses[-1]))

    async def end(self, job_id: str) -> None:
        """End a job as a server does whose room was deleted."""
        await self._send(agent.ServerMessage(termination=agent.JobTermination(job_id=job_id)))

    async def disconnect(self) -> None:
        """Close the worker's connection."""
        assert self._socket is not None
        await self._socket.close()

    async def _send(self, message: agent.ServerMessage) -> None:
        assert self._socket is not None, "no worker is connected"
        await self._socket.send_bytes(message.SerializeToString())

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """One worker's connection."""
        self._socket = socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for received in socket:
            if received.type is WSMsgType.BINARY:
                await self._on_message(agent.WorkerMessage.FromString(received.data))
        return socket

    async def _on_message(self, message: agent.WorkerMessage) -> None:
        match message.WhichOneof("message"):
            case "register":
                self.registrations.append(message.register)
                await self._send(agent.ServerMessage(register=agent.RegisterWorkerResponse(worker_id=WORKER_ID)))
            case "availability":
                answer = message.availability
                if answer.available:
                    job = self._jobs[answer.job_id]
                    await self._send(agent.ServerMessage(assignment=agent.JobAssignment(job=job, token="token")))
                self._answers[answer.job_id].set_result(answer)
            case "update_worker":
                async with self._told:
                    self.statuses.append(message.update_worker)
                    self._told.notify_all()


@asynccontextmanager
async def dispatcher() -> AsyncIterator[Dispatcher]:
    """A dispatcher on loopback."""
    served = Dispatcher()
    app = web.Application()
    app.add_routes([web.get("/agent", served.handle)])
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    served.url = str(server.make_url("")).replace("http", "ws", 1)
    yield served
    await server.close()
