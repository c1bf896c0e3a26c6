"""What a webhook of a LiveKit server has looked at, and which are refused."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit import api

from livekit_operator.servers.links import by_name
from livekit_operator.views import RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import API_KEY, API_SECRET, NAMESPACE
from tests.fakes.waiting import eventually
from tests.unit.operator.web.door import Door, joined, signature


async def test_a_signed_webhook_has_the_room_looked_at(door: Door) -> None:
    door.world.livekit.join("support-42", "alice")
    assert await door.send(joined()) == 200
    assert door.counted("accepted") == 1

    def participants() -> int:
        return int(door.world.get("MeetingRoom", "support-42")["status"].get("participants", 0))

    await eventually(lambda: participants() == 1, "the caller in the status")


async def test_a_server_that_waits_for_its_rooms_is_looked_at_when_somebody_leaves(door: Door) -> None:
    left = {**joined(), "event": "participant_left"}
    woken: list[tuple[str, tuple[str, str]]] = []
    door.runtime.context.wake = lambda kind, key: woken.append((kind, key))
    assert await door.send(left) == 200
    assert ("LiveKitServer", (NAMESPACE, "voice")) not in woken, "nothing waits"
    door.world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "warn"}}})
    rolling = ("True", "RollingOut")
    await eventually(lambda: door.world.condition("LiveKitServer", "voice", "Progressing") == rolling, "a rollout")
    assert await door.send(joined()) == 200
    assert ("LiveKitServer", (NAMESPACE, "voice")) not in woken, "who comes changes nothing"
    assert await door.send(left) == 200
    assert ("LiveKitServer", (NAMESPACE, "voice")) in woken


async def test_a_server_that_is_not_understood_any_more_is_heard(door: Door) -> None:
    wrong = {"spec": {"replicas": "many"}}
    door.world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", wrong, checked=False)
    not_understood = ("False", "NotUnderstood")
    await eventually(lambda: door.world.ready("LiveKitServer", "voice") == not_understood, "the operator to see it")
    assert await door.send(joined()) == 200


async def test_a_bearer_prefix_and_an_unknown_field_are_fine(door: Door) -> None:
    body = json.dumps({**joined(), "fromTheFuture": {"a": 1}}).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    token = api.AccessToken(API_KEY, API_SECRET).with_sha256(digest).to_jwt()
    assert await door.send_raw(body, {"Authorization": f"Bearer {token}"}) == 200


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"secret": "another-secret-of-thirty-two-characters"}, id="another secret"),
        pytest.param({"key": "APIother"}, id="another key"),
        pytest.param({"signed": b"another body"}, id="another body"),
        pytest.param({"path": "team/unknown"}, id="unknown server"),
        pytest.param({"path": "guests/voice"}, id="unknown namespace"),
        pytest.param({"headers": {"Authorization": ""}}, id="no signature"),
        pytest.param({"headers": {"Authorization": "Bearer x.y.z"}}, id="no token"),
    ],
)
async def test_a_webhook_that_is_not_the_servers_is_refused(door: Door, how: dict[str, Any]) -> None:
    asked = len(door.world.livekit.requests)
    finished = {"event": "room_finished", "room": {"name": "support-42", "sid": door.sid}}
    assert await door.send(finished, **how) == 401
    assert (door.counted("refused"), door.counted("accepted")) == (1, 0)
    access = door.runtime.context.servers[NAMESPACE, "voice"]
    assert access.rooms.get("support-42") is not None
    assert len(door.world.livekit.requests) == asked


async def test_a_guests_token_is_no_signature(door: Door) -> None:
    """It is signed with the same key, but says nothing of a body."""
    token = api.AccessToken(API_KEY, API_SECRET).with_identity("alice").to_jwt()
    assert await door.send_raw(json.dumps(joined()).encode(), {"Authorization": token}) == 401


@pytest.mark.parametrize("body", [b"", b"not json", b"7", b"\xff\xfe", b"null"])
async def test_a_signed_body_that_is_no_event_is_refused(door: Door, body: bytes) -> None:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    token = api.AccessToken(API_KEY, API_SECRET).with_sha256(digest).to_jwt()
    assert await door.send_raw(body, {"Authorization": token}) == 401


async def test_bytes_that_are_no_text_are_refused_and_not_an_error(door: Door) -> None:
    headers = {"Authorization": "x", "Content-Type": "application/json; charset=nonsense"}
    assert await door.send_raw(b"\xff\xfe\xff", headers) == 401


async def test_a_body_too_large_is_refused(door: Door) -> None:
    body = b"x" * (2 * 1024 * 1024 + 1)
    assert await door.send_raw(body, {"Authorization": signature(body)}) == 413
    assert door.counted("refused") == 1


async def test_a_body_too_large_that_does_not_say_so_is_refused(door: Door) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    headers = {"Authorization": signature()}
    url = f"{door.url}/webhooks/team/voice"
    async with door.session.post(url, data=endless(), headers=headers) as response:
        assert response.status == 413


async def test_the_end_of_the_room_makes_it_anew(door: Door) -> None:
    sid = door.sid
    door.world.livekit.close_room("support-42")
    assert await door.send({"event": "room_finished", "room": {"name": "support-42", "sid": sid}}) == 200
    await eventually(lambda: "support-42" in door.world.livekit.rooms, "the room made anew")
    assert door.sid != sid


async def test_the_end_of_an_older_room_of_that_name_changes_nothing(door: Door) -> None:
    access = door.runtime.context.servers[NAMESPACE, "voice"]
    assert await door.send({"event": "room_finished", "room": {"name": "support-42", "sid": "RM_older"}}) == 200
    known = access.rooms.get("support-42")
    assert known is not None
    assert known.sid == door.sid
    assert door.world.livekit.asked("create_room") == 1


@pytest.mark.parametrize("event", [{"event": "egress_ended"}, {"event": "room_started", "room": {"name": "unknown"}}])
async def test_an_event_of_no_room_of_ours_is_accepted(door: Door, event: dict[str, Any]) -> None:
    assert await door.send(event) == 200


async def test_a_room_that_a_pool_serves_for_its_name_is_looked_at_before_it_is_listed(door: Door) -> None:
    world = door.world
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(roomPrefix="voice-"))
    await eventually(lambda: world.agent_pods(), "the pool's pod")
    world.run_pods()
    await eventually(lambda: world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready"), "the pool to be ready")
    for name in ("voice-1", "unknown"):
        world.livekit.start_room(RoomSettings(name, 0, 300, 20, ""))
        world.livekit.join(name, "alice")
        assert await door.send(joined(name)) == 200
    await eventually(lambda: world.livekit.dispatched("voice-1") == ["front-desk"], "the agent to be asked for")
    world.livekit.close_room("voice-1")
    access = door.runtime.context.servers[NAMESPACE, "voice"]
    finished = {"event": "room_finished", "room": {"name": "voice-1", "sid": joined()["room"].get("sid", "")}}
    assert await door.send(finished) == 200
    await eventually(lambda: access.rooms.get("voice-1") is None, "the room to be forgotten")
    assert world.livekit.dispatched("unknown") == []


async def test_webhooks_of_rooms_that_nobody_knows_fill_no_memory(door: Door) -> None:
    world = door.world
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(roomPrefix="voice-"))
    access = door.runtime.context.servers[NAMESPACE, "voice"]
    await eventually(lambda: door.runtime.context.users.of(by_name((NAMESPACE, "voice"))), "the prefix to be known")
    known = len(access.rooms)
    assert await door.send(joined("voice-" + "x" * 5000)) == 200, "a name that no room has"
    for n in range(5):
        assert await door.send({**joined(f"voice-{n}"), "event": "participant_left"}) == 200
    assert len(access.rooms) == known
    assert not {name for name in access.rooms.dirty if name.startswith("voice-")}
