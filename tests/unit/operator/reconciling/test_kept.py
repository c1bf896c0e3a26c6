"""What strangers write costs the operator a stated memory, and costs their own namespace first."""

from pathlib import Path
from typing import Any

import pytest

from livekit_operator.clients.decoding import UNREAD
from livekit_operator.constants import API_VERSION, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY
from livekit_operator.engine.cache import ObjectCache
from livekit_operator.reconciling.kept import (
    MOST_STRANGERS,
    NO_SPACE,
    ChildKeeper,
    Keeper,
    Space,
    Strangers,
    memory_bytes,
    weight,
)
from tests.fakes.remains import left, sizes

MIB = 2**20


def child(
    name: str = "a",
    owner: tuple[str, str, str] | None = None,
    instance: str = "",
    namespace: str = "team",
    size: int = 0,
) -> dict[str, Any]:
    labels = {LABEL_MANAGED_BY: MANAGED_BY, **({LABEL_INSTANCE: instance} if instance else {})}
    metadata: dict[str, Any] = {"namespace": namespace, "name": name, "resourceVersion": "1", "labels": labels}
    if owner:
        version, kind, of = owner
        reference = {"apiVersion": version, "kind": kind, "name": of, "uid": "u", "controller": True}
        metadata["ownerReferences"] = [reference]
    return {"kind": "ConfigMap", "metadata": metadata, "data": {"text": "x" * size}}


def resources(*names: str) -> dict[str, ObjectCache]:
    found = {kind: ObjectCache() for kind in ("LiveKitServer", "MeetingRoom")}
    for name in names:
        found["MeetingRoom"].put({"metadata": {"namespace": "team", "name": name, "resourceVersion": "1"}})
    return found


ROOM = (API_VERSION, "MeetingRoom", "room")
DEPLOYED = {"redis": "LiveKitServer"}


@pytest.mark.parametrize(
    ("manifest", "belongs"),
    [
        (child(owner=ROOM), True),
        (child(instance="room"), True),
        (child(), False),
        (child(instance="other"), False),
        (child(owner=(API_VERSION, "MeetingRoom", "other"), instance="room"), False),
        (child(owner=(API_VERSION, "LiveKitServer", "room")), False),
        (child(owner=("apps/v1", "MeetingRoom", "room")), False),
        (child(owner=("apps/v1", "Deployment", "room"), instance="room"), False),
        (child(owner=ROOM, namespace="mallory"), False),
    ],
)
def test_what_belongs_to_a_resource_is_kept(manifest: dict[str, Any], belongs: bool) -> None:
    cache = ObjectCache(keep=ChildKeeper("ConfigMap", Space(512 * MIB), Strangers(resources("room"), {})).keep)
    assert cache.put(manifest) is belongs
    assert len(cache) == belongs


def test_a_resource_that_comes_later_finds_what_names_it() -> None:
    known = resources("room")
    strangers = Strangers(known, DEPLOYED)
    keeper = ChildKeeper("ConfigMap", Space(512 * MIB), strangers)
    for manifest in (
        child("a", owner=(API_VERSION, "MeetingRoom", "later")),
        child("b", instance="later"),
        child("c", owner=(API_VERSION, "MeetingRoom", "later"), namespace="mallory"),
        child("d", owner=("apps/v1", "Deployment", "later")),
        child("e", instance="other"),
    ):
        assert keeper.keep(manifest) is None
    assert strangers.pop(("team", "later")) == [("ConfigMap", ("team", "a")), ("ConfigMap", ("team", "b"))]
    assert strangers.pop(("team", "later")) == []


def test_a_stranger_that_is_gone_is_forgotten() -> None:
    strangers = Strangers(resources(), {})
    before = sizes(strangers)
    keeper = ChildKeeper("ConfigMap", Space(MIB), strangers)
    cache = ObjectCache(keep=keeper.keep, forget=keeper.forget, left_out=keeper)
    for name in ("a", "b", "c"):
        cache.put(child(name, instance="later"))
    strangers.add("Secret", child("a", instance="later"))
    cache.remove(("team", "a"), "whatever")
    cache.retain({("team", "b")}, "9")
    assert strangers.pop(("team", "later")) == [("ConfigMap", ("team", "b")), ("Secret", ("team", "a"))]
    cache.put(child("d", instance="other"))
    cache.remove(("team", "d"))
    assert left(before, strangers) == []


def test_names_of_strangers_are_as_many_as_stated() -> None:
    strangers = Strangers(resources(), {})
    for number in range(MOST_STRANGERS + 100):
        strangers.add("ConfigMap", child(f"n-{number}", instance="x"))
    found = strangers.pop(("team", "x"))
    assert len(found) == MOST_STRANGERS
    assert found[-1] == ("ConfigMap", ("team", f"n-{MOST_STRANGERS + 99}"))


def test_a_namespace_takes_no_more_than_its_share(caplog: pytest.LogCaptureFixture) -> None:
    space = Space(512 * MIB)
    taken = 0
    while space.take("mallory", MIB):
        taken += 1
    assert taken == 192
    assert space.take("team", 32 * MIB), "what is sure to each namespace"
    assert space.take("team", 32 * MIB), "and some of the rest"
    assert not space.take("team", MIB), "all have 256 MiB"
    assert space.take("third", 32 * MIB)
    space.give_back("mallory", 192 * MIB)
    assert space.take("team", MIB)
    assert caplog.text.count("namespace mallory: ") == 1


def test_space_is_given_back_when_an_object_goes_or_shrinks() -> None:
    space = Space(4 * MIB)
    keeper = Keeper("MeetingRoom", space)
    cache = ObjectCache(keep=keeper.keep, forget=keeper.forget)
    for version in range(1, 50):
        manifest = child(size=MIB)
        manifest["metadata"]["resourceVersion"] = str(version)
        cache.put(manifest)
        found = cache.get(("team", "a"))
        assert found is not None
        assert UNREAD not in found
    cache.put(child("b", size=MIB))
    stub = cache.get(("team", "b"))
    assert stub == {
        "kind": "ConfigMap",
        "metadata": {"namespace": "team", "name": "b", "resourceVersion": "1"},
        UNREAD: NO_SPACE,
    }
    cache.remove(("team", "a"))
    cache.doubt()
    cache.put(child("b", size=MIB))
    assert UNREAD not in (cache.get(("team", "b")) or {UNREAD: ""})


def test_a_child_that_there_is_no_space_for_is_not_kept() -> None:
    keeper = ChildKeeper("ConfigMap", Space(4 * MIB), Strangers(resources("room"), {}))
    assert keeper.keep(child("a", owner=ROOM, size=MIB))
    assert keeper.keep(child("b", owner=ROOM, size=MIB)) is None
    assert keeper.keep({**child("c", owner=ROOM), UNREAD: "deep"}) is None


def test_weights() -> None:
    assert weight({"a": "x" * 1000}) == pytest.approx(1000, rel=0.1)
    assert weight({"a": [[]] * 1000}) > 64_000
    deep: dict[str, Any] = {}
    for _ in range(1000):
        deep = {"a": deep}
    assert weight(deep) == float("inf")


@pytest.mark.parametrize(
    ("text", "expected"), [("536870912\n", 512 * MIB), ("max\n", float("inf")), (None, float("inf"))]
)
def test_the_memory_that_there_is(tmp_path: Path, text: str | None, expected: float) -> None:
    path = tmp_path / "memory.max"
    if text is not None:
        path.write_text(text)
    assert memory_bytes(path) == expected


@pytest.mark.parametrize(
    ("component", "instance", "namespace", "kept"),
    [
        ("redis", "voice", "team", True),
        ("redis", "other", "team", False),
        ("redis", "voice", "elsewhere", False),
        ("server", "voice", "team", False),
    ],
)
def test_pods_of_a_deployment_are_kept_though_a_replica_set_makes_them(
    component: str, instance: str, namespace: str, kept: bool
) -> None:
    known = resources()
    known["LiveKitServer"].put({"metadata": {"namespace": "team", "name": "voice", "resourceVersion": "1"}})
    pod = child("voice-redis-1", ("apps/v1", "ReplicaSet", "voice-redis"), instance=instance, namespace=namespace)
    pod["metadata"]["labels"][LABEL_COMPONENT] = component
    assert (ChildKeeper("Pod", Space(MIB), Strangers(known, DEPLOYED)).keep(pod) is pod) is kept
