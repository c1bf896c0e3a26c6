"""The client against the bytes of an agent pod's status server."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.clients.worker import WorkerClient, parse_plain_status, parse_status
from livekit_operator.views import EndedJob, ProviderError, WorkerJob, WorkerStatus

_WORDS = [
    "registered", "activeSessions", "providerErrors", "role", "provider", "code", "message", "capacity", "agentName",
    "jobs", "id", "room", "startedAt", "notApplied", "notReady", "setting", "reason", "sessions", "worker_type",
    "active_jobs", "worker_load",
]  # fmt: skip
START = datetime(2026, 1, 1, tzinfo=UTC)


class Pod:
    def __init__(self, server: TestServer, client: WorkerClient) -> None:
        self.server = server
        self.client = client
        self.status, self.body, self.hang = 200, b"{}", False
        self.path = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.path = request.path
        if self.hang:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        return web.Response(status=self.status, body=self.body, content_type="application/json")

    async def ask(self) -> WorkerStatus | None:
        return await self.client.status("127.0.0.1")


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    holder: list[Pod] = []

    async def handle(request: web.Request) -> web.Response:
        return await holder[0].handle(request)

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    server = TestServer(application, host="127.0.0.1")
    await server.start_server()
    assert server.port is not None
    client = WorkerClient(server.port, server.port)
    holder.append(Pod(server, client))
    yield holder[0]
    await client.close()
    await server.close()


async def test_a_status(pod: Pod) -> None:
    pod.body = (
        b'{"registered": true, "activeSessions": 2, "more": 1, "providerErrors": '
        b'[{"role": "stt", "provider": "deepgram", "code": 401, "message": "INVALID_AUTH", "at": "now"}, '
        b'{"role": "tts.fallbacks[0]", "provider": "openai", "code": 0, "message": "m", "covered": true}]}'
    )
    errors = (
        ProviderError("stt", "deepgram", 401, "INVALID_AUTH"),
        ProviderError("tts.fallbacks[0]", "openai", 0, "m", covered=True),
    )
    assert await pod.ask() == WorkerStatus(True, 2, errors)
    assert pod.path == "/status"


async def test_a_status_with_everything(pod: Pod) -> None:
    pod.body = (
        b'{"registered": false, "draining": true, "activeSessions": 1, "capacity": 4, '
        b'"agentName": "desk", "deployment": "", '
        b'"providerErrors": [], '
        b'"jobs": [{"id": "AJ_1", "dispatchId": "AD_1", "room": "r", "startedAt": "2026-01-01T00:00:00Z", '
        b'"state": "speaking", "lastActivityAt": "2026-01-01T00:00:09Z"}, '
        b'{"id": "AJ_2", "room": "s", "startedAt": "now", "state": null, "lastActivityAt": "2026-01-01T00:00:00"}], '
        b'"endedJobs": [{"id": "AJ_3", "room": "r", "failed": true, "error": "LookupError: no such tool"}, '
        b'{"id": "AJ_4", "dispatchId": "AD_4", "room": "s", "failed": false, "error": "none", '
        b'"endedAt": "2026-01-01T00:00:00Z"}], '
        b'"notReady": ["draining", "not warm:\\n no model"], '
        b'"notApplied": [{"setting": "idleProcesses", "reason": "unknown library"}], '
        b'"sessions": {"started": 3, "failed": 1}}'
    )
    assert await pod.ask() == WorkerStatus(
        False,
        1,
        capacity=4,
        agent_name="desk",
        deployment="",
        jobs=(
            WorkerJob("AJ_1", "r", START, "speaking", START + timedelta(seconds=9), "AD_1"),
            WorkerJob("AJ_2", "s"),
        ),
        ended=(
            EndedJob("AJ_3", "r", failed=True, error="LookupError: no such tool"),
            EndedJob("AJ_4", "s", failed=False, dispatch="AD_4", at=START),
        ),
        not_applied=("idleProcesses: unknown library",),
        started=3,
        failed=1,
        draining=True,
        not_ready=("draining", "not warm: no model"),
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"worker_type": "JT_ROOM", "sdk_version": "1.8.9"}', WorkerStatus(None, 0, agent_name="", load=0.0)),
        (
            b'{"worker_type": "JT_PUBLISHER", "agent_name": "desk", "active_jobs": 2.0, "worker_load": 0.5}',
            WorkerStatus(None, 2, agent_name="desk", load=0.5, publishers=True),
        ),
        (b"OK", None),
        (b"[]", None),
        (b"{}", None),
        (b'{"worker_type": "JT_ROOM", "active_jobs": null}', None),
    ],
)
async def test_a_worker_without_the_runner(pod: Pod, body: bytes, expected: WorkerStatus | None) -> None:
    pod.body = body
    assert await pod.client.plain_status("127.0.0.1") == expected
    assert pod.path == "/worker"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(503, b'{"registered": true, "activeSessions": 0}', id="not ready"),
        pytest.param(200, b"<html>", id="no JSON"),
        pytest.param(200, b"{}", id="no status"),
        pytest.param(200, b"[]", id="a list"),
        pytest.param(200, b"null", id="null"),
        pytest.param(200, b'{"registered": true, "activeSessions": "many"}', id="no number"),
        pytest.param(200, b'{"registered": true, "activeSessions": 0, "providerErrors": [1]}', id="no error"),
        pytest.param(200, b"\xff\xfe\xff", id="no text"),
        pytest.param(200, b'{"registered": true, "activeSessions": 0}' + b" " * 1_100_000, id="too long"),
        pytest.param(200, b"[" * 60_000, id="too deep"),
        pytest.param(200, b'{"registered": true, "activeSessions": 1e999}', id="endless"),
        pytest.param(200, b'{"registered": true, "activeSessions": NaN}', id="not a number"),
        pytest.param(200, b'{"registered": true, "activeSessions": ' + b"9" * 5000 + b"}", id="digits"),
        pytest.param(200, b'{"registered": true, "activeSessions": 0, "agentName": "\\ud800"}', id="half a letter"),
        pytest.param(302, b'{"registered": true, "activeSessions": 0}', id="elsewhere"),
    ],
)
async def test_what_is_no_status_is_no_answer(pod: Pod, status: int, body: bytes) -> None:
    pod.status, pod.body = status, body
    assert await pod.ask() is None


async def test_a_pod_that_is_gone_does_not_answer(pod: Pod) -> None:
    await pod.server.close()
    assert await pod.ask() is None


async def test_a_pod_that_breaks_off_does_not_answer(pod: Pod) -> None:
    pod.hang = True
    assert await pod.ask() is None


async def test_an_ipv6_address_is_put_in_brackets(pod: Pod) -> None:
    assert await pod.client.status("::1") is None  # the pod listens on IPv4 only; a wrong URL would raise


@pytest.mark.parametrize(
    "body", [{"registered": 1}, {"activeSessions": 1}, {"registered": True, "activeSessions": None}]
)
def test_parsing_refuses_what_is_not_a_status(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="status"):
        parse_status(body)


def test_a_worker_without_the_runner_may_tell_as_much_as_one_with_it() -> None:
    job = {"id": "AJ_1", "room": "r", "dispatchId": "AD_1", "state": "speaking"}
    body = {"registered": True, "activeSessions": 1, "capacity": 4, "agentName": "desk", "jobs": [job]}
    assert parse_plain_status(body) == parse_status(body)
    with pytest.raises(ValueError, match="registered"):
        parse_plain_status({"activeSessions": 1, "worker_type": "JT_ROOM"})


def test_the_documented_status_of_any_worker_is_understood() -> None:
    text = (Path(__file__).parents[4] / "docs" / "workers.md").read_text()
    short, whole = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert (parse_plain_status(short).sessions, parse_plain_status(short).load) == (2, 0.5)
    read = parse_plain_status(whole)
    assert read.jobs == (
        WorkerJob(
            "AJ_abc",
            "desk-1",
            started=datetime(2026, 3, 1, 10, tzinfo=UTC),
            state="listening",
            last_active=datetime(2026, 3, 1, 10, 0, 7, tzinfo=UTC),
            dispatch="AD_abc",
        ),
    )
    assert (read.capacity, read.started, read.failed, read.ended[0].error) == (4, 2, 1, "TypeError: no such tool")
    # each of its fields is explained
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    assert whole.keys() <= {name.strip("`") for row in rows for name in row.split(", ")}


def test_parsing_refuses_what_is_not_a_plain_status() -> None:
    with pytest.raises(ValueError, match="worker_type"):
        parse_plain_status({})


def test_numbers_and_moments_are_such_as_a_status_can_hold() -> None:
    job = {
        "id": "AJ_1",
        "room": "r",
        "startedAt": "0001-01-01T00:00:00+14:00",
        "lastActivityAt": "9999-12-31T23:59:59-14:00",
    }
    status = parse_status(
        {
            "registered": 1,
            "activeSessions": 1e300,
            "capacity": -5,
            "jobs": [job],
            "agentName": "a\nb\x00",
            "sessions": {"started": 2**80},
        }
    )
    assert (status.sessions, status.capacity, status.agent_name, status.started) == (1_000_000, 0, "a b", 1_000_000)
    assert status.jobs == (WorkerJob("AJ_1", "r"),)


def test_a_password_that_the_runner_cut_is_not_shown_in_part() -> None:
    words = ("LookupError: " + "x" * 260 + " redis://app:" + "s3cret" * 20 + "@cache")[:300]
    assert "s3cret" in words
    status = parse_status(
        {
            "registered": False,
            "activeSessions": 0,
            "notReady": [f"idle processes are not warm yet: the last one failed: {words}", "draining"],
            "endedJobs": [{"id": "AJ_1", "room": "r", "failed": True, "error": words}],
            "providerErrors": [{"role": "stt", "provider": "x", "code": 500, "message": words}],
        }
    )
    assert "s3c" not in str(status)
    assert "redis://[redacted]" in status.ended[0].error


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=6),
)


@given(_JSON)
def test_whatever_a_pod_says_is_a_status_or_none(body: Any) -> None:
    for parse in (parse_status, parse_plain_status):
        with suppress(ValueError):
            parse(body)


async def test_pods_that_hang_keep_only_their_neighbours_waiting(pod: Pod) -> None:
    """One team's pods are asked beside another's, however many of the first say nothing."""
    pod.body = b'{"registered": true, "activeSessions": 0}'
    with socket.create_server(("127.0.0.2", pod.server.port or 0), backlog=256):
        silent = [asyncio.create_task(pod.client.status("127.0.0.2", "mallory")) for _ in range(200)]
        await asyncio.sleep(0)
        async with asyncio.timeout(1.5):
            assert await pod.client.status("127.0.0.1", "team") is not None
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
