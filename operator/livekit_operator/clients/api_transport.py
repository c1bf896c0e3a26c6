"""Requests to the API server over one session: credentials and TLS of `kubernetes.aio`, bounds of our own.

Its own session is left out because it writes JSON by the standard library.
"""

import asyncio
import socket
from http import HTTPStatus
from typing import Any, NoReturn

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient, Configuration

from livekit_operator.clients.decoding import MOST_BYTES
from livekit_operator.errors import Conflict, KubernetesError, NamespaceTerminating, NotFound
from livekit_operator.metrics import Metrics

_MOST_ERROR_BYTES = 256 * 1024
_CONNECTIONS = 64
_LIMITS = aiohttp.ClientTimeout(total=30)
# A server that is overloaded or going says how long to wait; it is heeded so often, and so long, for one request.
_MOST_WAITS = 3
_MOST_WAIT_SECONDS = 10.0
# A peer that has disappeared is noticed after 20 + 3 * 10 s.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 50_000),
)


class WatchExpired(Exception):
    """The watch, or a listing by pages, cannot go on from its resource version; list again.

    `continue_token` is what the API server offers to list the rest of the pages with.
    """

    def __init__(self, message: str, continue_token: str = "") -> None:
        super().__init__(message)
        self.continue_token = continue_token


class Transport:
    """One session with the API server."""

    def __init__(self, configuration: Configuration, metrics: Metrics) -> None:
        self._configuration = configuration
        self._client = ApiClient(configuration)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._client.rest_client.ssl_context, limit=_CONNECTIONS, socket_factory=_socket
            ),
            proxy=configuration.proxy,
            # Without this aiohttp reads netrc in a thread for every request.
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_LIMITS,
        )
        self._metrics = metrics

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._client.close()

    async def request(
        self,
        verb: str,
        plural: str,
        path: str,
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
        limits: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """Return an answer whose body is still to be read; raises KubernetesError, WatchExpired."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, verb, body)
        data = None if body is None else orjson.dumps(body)
        for waits in range(_MOST_WAITS + 1):
            try:
                response = await self._session.request(
                    verb,
                    self._configuration.host + path,
                    headers=headers,
                    data=data,
                    server_hostname=self._configuration.tls_server_name,
                    timeout=limits or _LIMITS,
                )
            except (aiohttp.ClientError, TimeoutError) as error:
                self._metrics.api_requests.labels(verb, plural, "none").inc()
                raise KubernetesError(0, type(error).__name__, f"{verb} {path.partition('?')[0]}: {error}") from error
            self._metrics.api_requests.labels(verb, plural, str(response.status)).inc()
            seconds = _asks_to_wait(response)
            if seconds is None or waits == _MOST_WAITS:
                break
            response.close()
            await asyncio.sleep(seconds)
        if response.status >= 400:
            await _raise(response)
        return response

    async def body(
        self,
        verb: str,
        plural: str,
        path: str,
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
        most: int = MOST_BYTES,
    ) -> tuple[bytes, bool]:
        """Return the body of an answer, up to `most` bytes, and whether that is all of it."""
        response = await self.request(verb, plural, path, body, content_type)
        try:
            return await _read(response, most)
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"answer to {verb} {path.partition('?')[0]}: {error}"
            raise KubernetesError(0, type(error).__name__, message) from error


def _socket(address: Any) -> socket.socket:
    """Return a socket that notices when its peer has disappeared."""
    made = socket.socket(*address[:3])
    for option in _KEEP_ALIVE:
        made.setsockopt(*option)
    return made


def _asks_to_wait(response: aiohttp.ClientResponse) -> float | None:
    """Return for how many seconds the API server asks clients to wait, None when it does not."""
    asked = response.headers.get("Retry-After", "")
    if response.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) or not asked.isdigit():
        return None
    return min(float(asked), _MOST_WAIT_SECONDS)


async def _read(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """Return up to `most` bytes of a body, and whether that is all of it."""
    body = bytearray()
    async with response:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                response.close()
                return bytes(body[:most]), False
    return bytes(body), True


async def _raise(response: aiohttp.ClientResponse) -> NoReturn:
    raw = b""
    try:
        raw, _ = await _read(response, _MOST_ERROR_BYTES)
        status = orjson.loads(raw)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        status = None
    if not isinstance(status, dict):  # not from the API server itself: a proxy in front of it
        status = {"reason": response.reason, "message": raw[:500].decode(errors="replace")}
    raise_status(response.status, status)


def raise_status(code: int, status: dict[str, Any]) -> NoReturn:
    """Raise the error of a `Status` object."""
    reason, message = status.get("reason") or "", status.get("message") or ""
    if code == HTTPStatus.GONE:
        raise WatchExpired(message, (status.get("metadata") or {}).get("continue") or "")
    causes = [cause.get("reason") for cause in (status.get("details") or {}).get("causes") or ()]
    if "NamespaceTerminating" in causes:  # k8s.io/api core/v1 NamespaceTerminatingCause
        raise NamespaceTerminating(code, reason, message)
    error = {404: NotFound, 409: Conflict}.get(code, KubernetesError)
    raise error(code, reason, message)
