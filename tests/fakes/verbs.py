"""Holds observing to its word: while a slice observes, nothing is written to the API server, to a LiveKit server, or
into what passes tell each other."""

import importlib
import inspect
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest

from livekit_operator.pools.memory import PoolMemory, PoolsMemory
from livekit_operator.process.wiring import TABLE
from livekit_operator.reconciling.decisions.brakes import Brakes
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.memory import RoomsMemory
from livekit_operator.servers.memory import Connection, ServersMemory
from livekit_operator.servers.room_listing import RoomListing
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.livekit import READS, FakeLiveKit

# What was asked and read, so that the same is not read again at once.
MAY_REMEMBER = frozenset({"checked", "credentials", "stored_keys"})
MEMORIES = (ServersMemory, PoolsMemory, RoomsMemory)
# What is in these memories, and changes by itself.
HELD = (Brakes, Connection, PoolMemory, RoomListing)
# Of the pass that runs now: others may run beside it.
_observing: ContextVar[str] = ContextVar("observing", default="")


def slices() -> list[str]:
    """Return the packages of the kinds that are resources."""
    modules = [row.reconcile.__module__ for row in TABLE.values() if row.resource]
    return sorted(module.rpartition(".")[0] for module in modules)


def module_of(package: str, verb: str) -> ModuleType:
    """Return the module of a slice's verb."""
    return importlib.import_module(f"{package}.{verb}")


def observers(package: str) -> list[str]:
    """Return the names of the functions by which a slice's pass observes."""
    passes = vars(module_of(package, "reconcile"))
    return [name for name, value in passes.items() if name.startswith("observe") and inspect.iscoroutinefunction(value)]


def guard_observing(monkeypatch: pytest.MonkeyPatch, observed: list[str] | None = None) -> None:
    """Have every write fail that a fake gets from a pass while that observes; `observed` gets the name of each."""
    for package in slices():
        module = module_of(package, "reconcile")
        for name in observers(package):
            guarded = _guarded(f"{package}.{name}", getattr(module, name), observed)
            monkeypatch.setattr(module, name, guarded)
    record, begin = FakeKubernetes._record, FakeLiveKit._begin

    def recorded(fake: FakeKubernetes, verb: str, kind: str, *rest: Any) -> None:
        _refuse(f"{verb} {kind}")
        record(fake, verb, kind, *rest)

    def begun(fake: FakeLiveKit, *request: str) -> None:
        if request[0] not in READS:
            _refuse(" ".join(request))
        begin(fake, *request)

    monkeypatch.setattr(FakeKubernetes, "_record", recorded)
    monkeypatch.setattr(FakeLiveKit, "_begin", begun)
    names = {field.name for memory in MEMORIES for field in fields(memory)} - MAY_REMEMBER
    _guard_attributes(monkeypatch, Context, {*names, "brakes"})
    for held in HELD:
        _guard_attributes(monkeypatch, held)


def _guard_attributes(monkeypatch: pytest.MonkeyPatch, kind: type, names: Collection[str] | None = None) -> None:
    """Guard attributes of what is made from now on, all when none are named, and the dicts and sets that these are."""

    def assign(thing: object, name: str, value: object) -> None:
        if names is None or name in names:
            what = f"{kind.__name__}.{name}"
            if _has(thing, name):
                _refuse(what)
            value = _guarded_container(what, value)
        object.__setattr__(thing, name, value)

    monkeypatch.setattr(kind, "__setattr__", assign)


def _has(thing: object, name: str) -> bool:
    # Not what its class has, which is a default.
    return hasattr(thing, name) if not hasattr(thing, "__dict__") else name in vars(thing)


def _guarded_container(what: str, value: object) -> object:
    """Return a dict or a set whose writes are refused while a pass observes; anything else as it is."""
    kind = _GUARDED.get(type(value))  # none for one that is guarded already
    if kind is None:
        return value
    held = kind(value)
    held.what = what
    return held


def _refusing(kind: type, *writes: str) -> Any:
    """Return a kind of containers that refuse these writes while a pass observes."""

    def guarded(write: str) -> Callable[..., Any]:
        def written(held: Any, *values: Any, **named: Any) -> Any:
            # One that is there is not written by the one, one that is not there by the other.
            nothing = kind is dict and write in ("setdefault", "pop") and (values[0] in held) == (write == "setdefault")
            if not nothing:
                _refuse(held.what)
            return getattr(kind, write)(held, *values, **named)

        return written

    return type(f"Guarded_{kind.__name__}", (kind,), {"what": "", **{write: guarded(write) for write in writes}})


_GUARDED: dict[type, Any] = {
    dict: _refusing(dict, "__delitem__", "__ior__", "__setitem__", "clear", "pop", "popitem", "setdefault", "update"),
    set: _refusing(
        set, "__iand__", "__ior__", "__isub__", "__ixor__", "add", "clear", "discard", "pop", "remove", "update"
    ),
}


def _guarded(name: str, observe: Callable[..., Any], observed: list[str] | None) -> Callable[..., Any]:
    async def guarded(*values: Any, **named: Any) -> Any:
        if observed is not None:
            observed.append(name)
        token = _observing.set(name)
        try:
            return await observe(*values, **named)
        finally:
            _observing.reset(token)

    return guarded


def _refuse(what: str) -> None:
    # No error of the API server's: passes would catch those.
    assert not _observing.get(), f"{_observing.get()} writes: {what}"
