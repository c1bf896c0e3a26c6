"""The verbs of a slice mean what they say: observing writes nothing, deciding and describing are pure.

Every scenario of the fake world is held to the first (tests/unit/operator/conftest.py); here are some of each kind, and
that a slice which does otherwise is found.
"""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from livekit_operator.clients.kubernetes import Kubernetes
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.pools import reconcile as pools_reconcile
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.reconciling import children
from livekit_operator.reconciling.braking import remember_pods
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.decisions.brakes import PodHistory
from livekit_operator.rooms import reconcile as rooms_reconcile
from livekit_operator.rooms.claims import remember_claim
from livekit_operator.servers.memory import ServerAccess
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.verbs import guard_observing, module_of, observers, slices
from tests.fakes.world import World

SLICES = [f"livekit_operator.{name}" for name in ("pools", "rooms", "servers")]
PURE = ("decide", "status")
# By which a pool is observed whose server cannot be used.
WITHOUT_SERVER = {"livekit_operator.pools.observe_pods"}


def parts_of(package: str, verb: str) -> list[ModuleType]:
    """Return the modules of a slice, named after a verb, that have a part of it."""
    names = [found.name for found in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    return [module_of(package, name) for name in sorted(names) if name.startswith(f"{verb}_")]


def functions(module: ModuleType) -> list[Callable[..., Any]]:
    """Return the functions that a module defines."""
    return [f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__]


def impurities(function: Callable[..., Any]) -> list[str]:
    """Return by what a function could reach beyond its values."""
    found = ["it is a coroutine"] if inspect.iscoroutinefunction(function) else []
    for name, hint in typing.get_type_hints(function).items():
        kinds = [kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type)]
        if any(issubclass(kind, Context) or kind in (Kubernetes, LiveKit) for kind in kinds):
            found.append(f"it takes {name}")
    return found


def test_the_slices_are_those_of_the_table() -> None:
    assert slices() == SLICES


@pytest.mark.parametrize("package", slices())
@pytest.mark.parametrize("verb", PURE)
def test_deciding_and_describing_are_pure(package: str, verb: str) -> None:
    module = module_of(package, verb)
    assert getattr(module, verb) in functions(module)
    for part in (module, *parts_of(package, verb)):
        assert {f.__name__: found for f in functions(part) if (found := impurities(f))} == {}


def test_what_a_room_decides_about_tokens_is_part_of_its_verb() -> None:
    parts = parts_of("livekit_operator.rooms", "decide")
    assert [part.__name__ for part in parts] == ["livekit_operator.rooms.decide_tokens"]


@pytest.mark.parametrize("package", slices())
def test_a_pass_is_made_of_its_verbs(package: str) -> None:
    passes = vars(module_of(package, "reconcile"))
    for verb in ("observe", "decide", "apply", "status"):
        assert passes[verb].__module__ == f"{package}.{verb}"
        assert getattr(module_of(package, verb), verb) is passes[verb]
    assert "observe" in observers(package)


async def scenarios(world: World) -> None:
    """Have resources of all kinds come, change, fail and go."""
    await world.with_server()
    await world.with_pool(replicas=2, rollout={"canary": {"weight": 50}})
    room = manifests.room(agents=[{"poolRef": {"name": "front-desk"}}], tokens=[{"identity": "alice"}])
    world.kubernetes.put(room)
    await world.settle()
    world.livekit.join("support-42", "alice")
    await world.settle()
    world.livekit.take("support-42", "AJ_1")
    world.say(world.agent_pods()[0], sessions=1)
    await world.settle()
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"sessionsPerPod": 3}})
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"version": "v1.13.4"}})
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"maxParticipants": 3}})
    await world.settle()
    world.run_pods()
    await world.settle()
    world.kubernetes.vanish("Secret", NAMESPACE, "providers")
    world.stop_server()
    await world.settle()
    for kind, name in (("MeetingRoom", "support-42"), ("VoiceAgentPool", "front-desk"), ("LiveKitServer", "voice")):
        world.kubernetes.ask_to_delete(kind, NAMESPACE, name)
    await world.settle()


async def test_observing_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    observed: list[str] = []
    guard_observing(monkeypatch, observed)
    world = World()
    await scenarios(world)
    assert len(world.kubernetes.writes) > 30
    assert len(world.livekit.writes) > 1
    assert (
        set(observed) == {f"{package}.{name}" for package in slices() for name in observers(package)} - WITHOUT_SERVER
    )


async def test_a_pool_without_a_server_is_only_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    observed: list[str] = []
    guard_observing(monkeypatch, observed)
    world = World()
    world.kubernetes.put(manifests.pool())
    await world.settle()
    assert set(observed) == WITHOUT_SERVER


async def test_a_slice_that_writes_to_the_api_server_while_it_observes_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def observe(context: Any, pool: Any, *_: Any) -> None:
        await children.remove_secrets(context, pool)

    monkeypatch.setattr(pools_reconcile, "observe", observe)
    guard_observing(monkeypatch)
    world = World()
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    secret = manifests.secret("front-desk-agent")
    owner = world.get("VoiceAgentPool", "front-desk")
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
    secret["metadata"]["ownerReferences"] = [{**reference, "name": "front-desk", "uid": owner["metadata"]["uid"]}]
    secret["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "livekit-operator"}
    world.kubernetes.put(secret)
    with pytest.raises(AssertionError, match=r"pools\.observe writes: delete Secret"):
        await world.reconcile("VoiceAgentPool", "front-desk")


async def test_a_slice_that_writes_to_a_livekit_server_while_it_observes_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def observe(_context: Any, room: Any, _server: Any, access: ServerAccess) -> None:
        await access.client.delete_room(room.metadata.name)

    monkeypatch.setattr(rooms_reconcile, "observe", observe)
    guard_observing(monkeypatch)
    world = World()
    await world.with_server()
    world.kubernetes.put(manifests.room())
    with pytest.raises(AssertionError, match=r"rooms\.observe writes: delete_room support-42"):
        await world.reconcile("MeetingRoom", "support-42")


@dataclass(frozen=True)
class Given:
    """What a room's pass is given to observe with."""

    context: Any
    room: Any
    access: ServerAccess


REMEMBERED: dict[str, Callable[[Given], object]] = {
    "RoomListing.dirty": lambda given: given.access.rooms.dirty.add("support-42"),
    "RoomListing._rooms": lambda given: given.access.rooms.forget(),
    "RoomListing._touched": lambda given: given.access.rooms.start_listing(),
    "Context.claims": lambda given: remember_claim(given.context, given.room),
    "Context.kept_tokens": lambda given: given.context.kept_tokens.update({given.room.key: None}),
    "Context.pools": lambda given: given.context.pool_memory((NAMESPACE, "front-desk")),
    "Connection.answered": lambda given: setattr(given.context.servers[NAMESPACE, "voice"], "answered", None),
    "Brakes.pods": lambda given: remember_pods(given.context, given.room, "agent", PodHistory()),
}


@pytest.mark.parametrize("what", REMEMBERED)
async def test_a_slice_that_remembers_while_it_observes_is_found(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    async def observe(context: Any, room: Any, _server: Any, access: ServerAccess) -> None:
        REMEMBERED[what](Given(context, room, access))

    monkeypatch.setattr(rooms_reconcile, "observe", observe)
    guard_observing(monkeypatch)
    world = World()
    await world.with_server()
    world.kubernetes.put(manifests.room())
    with pytest.raises(AssertionError, match=rf"rooms\.observe writes: {what}"):
        await world.reconcile("MeetingRoom", "support-42")


async def test_a_pool_that_takes_in_what_its_pods_report_while_it_observes_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def observe(context: Any, _pool: Any, memory: PoolMemory, _prepared: Any) -> None:
        memory.see({}, context.now())

    monkeypatch.setattr(pools_reconcile, "observe", observe)
    guard_observing(monkeypatch)
    world = World()
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    with pytest.raises(AssertionError, match=r"pools\.observe writes: PoolMemory\.ended"):
        await world.reconcile("VoiceAgentPool", "front-desk")


def test_what_is_not_pure_is_found() -> None:
    async def waits() -> None: ...

    def reads(context: Context) -> None: ...

    def may_read(room: str, context: Context | None) -> None: ...

    def is_pure(room: str) -> str:
        return room

    assert [impurities(f) for f in (waits, reads, may_read, is_pure)] == [
        ["it is a coroutine"],
        ["it takes context"],
        ["it takes context"],
        [],
    ]
