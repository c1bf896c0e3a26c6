"""The client against the bytes of an API server: what it sends, and what it makes of each answer."""

import pytest

from livekit_operator.errors import KubernetesError
from tests.fakes import manifests
from tests.unit.operator.clients.api_server import ApiServer, named

ROOM = manifests.room()


async def test_get(api: ApiServer) -> None:
    api.answer(ROOM)
    assert await api.client.get("MeetingRoom", "team", "support-42") == ROOM
    [request] = api.seen
    assert request.method == "GET"
    assert request.path == "/apis/livekit-operator.dev/v1alpha1/namespaces/team/meetingrooms/support-42"
    assert request.headers["Authorization"] == "Bearer operator-token"
    assert request.headers["Accept"] == "application/json"
    assert api.requests_counted("GET", "meetingrooms", "200") == 1


async def test_create(api: ApiServer) -> None:
    api.answer(ROOM, 201)
    await api.client.create(ROOM)
    [request] = api.seen
    assert (request.method, request.path) == (
        "POST",
        "/apis/livekit-operator.dev/v1alpha1/namespaces/team/meetingrooms",
    )
    assert request.query == {"fieldManager": "livekit-operator"}
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == ROOM


async def test_apply_is_server_side_and_takes_fields_over(api: ApiServer) -> None:
    secret = manifests.secret("s", a="b")
    api.answer(secret)
    assert await api.client.apply(secret) == secret
    [request] = api.seen
    assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/team/secrets/s")
    assert request.query == {"fieldManager": "livekit-operator", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert request.body == secret


async def test_merge_of_a_status(api: ApiServer) -> None:
    api.answer(ROOM)
    await api.client.merge("MeetingRoom", "team", "support-42", {"status": {"sid": None}}, subresource="status")
    [request] = api.seen
    assert request.method == "PATCH"
    assert request.path.endswith("/meetingrooms/support-42/status")
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert request.body == {"status": {"sid": None}}


async def test_delete_names_the_very_object(api: ApiServer) -> None:
    api.answer({})
    await api.client.delete("Pod", "team", "p", uid="u-1")
    [request] = api.seen
    assert (request.method, request.path) == ("DELETE", "/api/v1/namespaces/team/pods/p")
    assert request.body == {"propagationPolicy": "Background", "preconditions": {"uid": "u-1"}}


@pytest.mark.parametrize(("status", "reason"), [(404, "NotFound"), (409, "Conflict")])
async def test_deleting_what_is_gone_or_another_is_fine(api: ApiServer, status: int, reason: str) -> None:
    api.refuse(status, reason)
    await api.client.delete("Pod", "team", "p", uid="u-1")


async def test_an_answer_that_is_no_json_is_an_error(api: ApiServer) -> None:
    api.raw(b"<html>")
    with pytest.raises(KubernetesError, match="GET /api/v1/namespaces/team/pods/p"):
        await api.client.get("Pod", "team", "p")


async def test_the_newest_version_of_a_kind(api: ApiServer) -> None:
    api.answer({"metadata": {"resourceVersion": "77", "continue": "more"}, "items": named("a")})
    assert await api.client.newest("Secret") == "77"
    assert api.seen[0].query == {"limit": "1"}
