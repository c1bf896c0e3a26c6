"""What becomes of a request: answered, refused, cut off, or asked for again later."""

import socket

import pytest
from aiohttp import web

from livekit_operator.clients import api_transport
from livekit_operator.clients.api_transport import WatchExpired, raise_status
from livekit_operator.errors import Conflict, KubernetesError, NamespaceTerminating, NotFound
from tests.fakes import manifests
from tests.unit.operator.clients.api_server import SECRET, Answer, ApiServer, listed

ROOM = manifests.room()


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", Conflict),
        (403, "Forbidden", KubernetesError),
        (422, "Invalid", KubernetesError),
        (429, "TooManyRequests", KubernetesError),
        (500, "InternalError", KubernetesError),
    ],
)
async def test_errors_of_the_api_server(api: ApiServer, status: int, reason: str, error: type[KubernetesError]) -> None:
    api.refuse(status, reason, "the words of the API server")
    with pytest.raises(error, match="the words of the API server") as caught:
        await api.client.create(ROOM)
    assert (type(caught.value), caught.value.status, caught.value.reason) == (error, status, reason)
    assert api.requests_counted("POST", "meetingrooms", str(status)) == 1


async def test_a_namespace_that_goes_is_told_from_other_refusals(api: ApiServer) -> None:
    causes = [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]
    refusal = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "m", "details": {"causes": causes}}
    api.answer(refusal, 403)
    with pytest.raises(NamespaceTerminating):
        await api.client.create(ROOM)


@pytest.mark.parametrize("body", [b"<html>502 Bad Gateway</html>", b"[]", b"\xff", b""])
async def test_an_answer_of_a_proxy_is_an_error(api: ApiServer, body: bytes) -> None:
    api.raw(body, 502)
    with pytest.raises(KubernetesError) as caught:
        await api.client.get("Pod", "team", "p")
    assert caught.value.status == 502


async def test_a_server_that_is_gone_is_an_error(api: ApiServer) -> None:
    await api.server.close()
    for call in (api.client.get("Pod", "team", "p"), listed(api, "Pod"), api.client.create(ROOM)):
        with pytest.raises(KubernetesError) as caught:
            await call
        assert caught.value.status == 0
    assert api.requests_counted("GET", "pods", "none") == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_asks_to_be_left_alone_is(
    api: ApiServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("livekit_operator.clients.api_transport.asyncio.sleep", sleep)

    def busy(after: str) -> Answer:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Retry-After": after}, text="busy")

        return answer

    api.answers += [busy("1"), busy("3600")]
    api.answer(SECRET)
    assert await api.client.create(ROOM) == SECRET
    assert slept == [1, 10], "an hour is too long"
    assert api.seen[0].body == api.seen[2].body == ROOM
    api.answers += [busy("1")] * 4
    with pytest.raises(KubernetesError, match="busy"):
        await api.client.create(ROOM)
    api.answers += [busy("tomorrow")]
    with pytest.raises(KubernetesError, match="busy"):
        await api.client.create(ROOM)
    assert slept == [1, 10, 1, 1, 1]


async def test_a_long_error_is_not_read_whole(api: ApiServer) -> None:
    api.raw(b"x" * 2**21, 500)
    with pytest.raises(KubernetesError) as caught:
        await api.client.get("Secret", "team", "a")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("verb", ["get", "list"])
async def test_an_answer_that_is_cut_off_is_an_error(api: ApiServer, verb: str) -> None:
    api.stream(b'{"metadata": {', drop=True)
    with pytest.raises(KubernetesError):
        await (api.client.get("Pod", "team", "p") if verb == "get" else listed(api, "Pod"))


def test_what_expired_says_where_the_rest_is() -> None:
    with pytest.raises(WatchExpired, match="too old") as caught:
        raise_status(410, {"reason": "Expired", "message": "too old", "metadata": {"continue": "later"}})
    assert caught.value.continue_token == "later"


def test_a_peer_that_has_disappeared_is_noticed() -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 1))
    with api_transport._socket(address) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count = (
            made.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + count * interval == 50
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 50_000, "of what was not acknowledged"
