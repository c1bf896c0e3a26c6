"""A resource that no model can be made of says so, goes when it is told to, and costs nothing beside it."""

from typing import Any

import pytest

from livekit_operator.clients.decoding import UNREAD
from livekit_operator.constants import ROOM_FINALIZER, SERVER_FINALIZER
from livekit_operator.reconciling.kept import NO_SPACE
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


async def test_a_field_that_goes_too_deep_is_named(world: World) -> None:
    world.kubernetes.put(manifests.server(extraConfig={"room": nested(40)}))
    assert await world.reconcile("LiveKitServer", "voice") is None
    assert world.ready("LiveKitServer", "voice") == ("False", "NotUnderstood")
    assert world.message("LiveKitServer", "voice") == (
        "spec.extraConfig is not understood: nested deeper than 32 levels; make it flatter. Change that: nothing new "
        "is done for it until then, and what runs goes on."
    )
    world.forget()
    assert await world.reconcile("LiveKitServer", "voice") is None
    assert world.written() == [], "it is told once"


async def test_it_is_looked_at_as_soon_as_it_is_changed(world: World) -> None:
    world.kubernetes.put(manifests.server(extraConfig={"room": nested(40)}))
    await world.settle()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": None}})
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_server_that_runs_goes_on(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": {"room": nested(40)}}})
    world.forget()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "NotUnderstood")
    assert world.kubernetes.names("Pod") == ["voice-livekit-0"]
    assert [write for write in world.written() if "delete" in write] == []


async def test_a_stub_says_why_it_is_one(world: World) -> None:
    room = world.kubernetes.put(manifests.room())
    stub = {"kind": "MeetingRoom", "metadata": room["metadata"], UNREAD: "it is nested too deeply"}
    world.context.resources["MeetingRoom"].doubt()
    world.context.resources["MeetingRoom"].put(stub)
    assert await world.reconcile("MeetingRoom", "support-42") is None
    assert world.ready("MeetingRoom", "support-42") == ("False", "NotUnderstood")
    assert world.message("MeetingRoom", "support-42").startswith("This resource is not read: it is nested too deeply.")


async def test_one_that_there_was_no_room_for_is_read_when_there_is(world: World) -> None:
    await world.with_server()
    room = world.kubernetes.put(manifests.room())
    cache = world.context.resources["MeetingRoom"]
    cache.doubt()
    cache.put({"kind": "MeetingRoom", "metadata": room["metadata"], UNREAD: NO_SPACE})
    await world.reconcile("MeetingRoom", "support-42")
    assert "support-42" in world.livekit.rooms


@pytest.mark.parametrize(
    ("manifest", "finalizer"), [(manifests.server(), SERVER_FINALIZER), (manifests.room(), ROOM_FINALIZER)]
)
async def test_one_that_is_deleted_is_let_go(world: World, manifest: dict[str, Any], finalizer: str) -> None:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    manifest["metadata"]["finalizers"] = [finalizer]
    manifest["spec"] = {"extraConfig": nested(40), "serverRef": {"name": "-"}}
    world.kubernetes.put(manifest, checked=False)
    await world.reconcile(kind, name)
    world.kubernetes.ask_to_delete(kind, NAMESPACE, name)
    assert world.kubernetes.peek(kind, NAMESPACE, name)
    await world.reconcile(kind, name)
    assert world.kubernetes.peek(kind, NAMESPACE, name) is None
