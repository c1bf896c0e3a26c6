"""A cache knows objects by name and by owner, and never goes back to an older version."""

from typing import Any

import pytest

from livekit_operator.engine.cache import ObjectCache, Owner, key_of, newer, owner_of


def manifest(
    name: str, version: int | str = 1, *, uid: str = "", owner: str | None = None, controller: bool = True
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "team", "name": name, "uid": uid or name, "resourceVersion": str(version)}
    if owner:
        reference = {"apiVersion": "livekit-operator.dev/v1alpha1", "kind": "MeetingRoom", "name": owner, "uid": owner}
        metadata["ownerReferences"] = [{**reference, "controller": controller}]
    return {"metadata": metadata}


def owner(name: str, uid: str = "", namespace: str = "team") -> Owner:
    return Owner(namespace, "livekit-operator.dev", "MeetingRoom", name, uid or name)


def names(manifests: list[dict[str, Any]]) -> list[str]:
    return [m["metadata"]["name"] for m in manifests]


@pytest.mark.parametrize(
    ("candidate", "known", "expected"),
    [("10", "9", True), ("9", "10", False), ("9", "9", False), ("b", "a", True), ("a", "a", False), ("5", "", True)],
)
def test_newer(candidate: str, known: str, expected: bool) -> None:
    assert newer(manifest("a", candidate), manifest("a", known)) is expected


def test_a_write_and_its_event_are_one_piece_of_news() -> None:
    cache = ObjectCache()
    assert cache.put(manifest("a", 5))
    assert not cache.put(manifest("a", 5))
    assert not cache.put(manifest("a", 4)), "a late event of the past"
    assert cache.put(manifest("a", 6))
    assert len(cache) == 1


def test_an_object_made_anew_replaces_the_old_one() -> None:
    cache = ObjectCache()
    cache.put(manifest("a", 8, uid="first"))
    assert cache.put(manifest("a", 9, uid="second"))
    assert not cache.put(manifest("a", 7, uid="first")), "a late answer speaks of the former one"
    assert cache.remove(("team", "a"), "first") is None
    found = cache.get(("team", "a"))
    assert found is not None
    assert found["metadata"]["uid"] == "second"


def test_children_are_found_by_their_controller() -> None:
    cache = ObjectCache()
    for child in (manifest("b", owner="room"), manifest("a", owner="room"), manifest("c", owner="other")):
        cache.put(child)
    cache.put(manifest("d", owner="room", controller=False))
    assert names(cache.owned_by(owner("room"))) == ["a", "b"]
    assert cache.owned_by(owner("nobody")) == []


def test_an_owner_is_more_than_a_uid() -> None:
    cache = ObjectCache()
    cache.put(manifest("a", owner="room"))
    stolen = manifest("b", owner="room")
    stolen["metadata"]["namespace"] = "mallory"
    cache.put(stolen)
    for kind, group in (("VoiceAgentPool", "livekit-operator.dev"), ("MeetingRoom", "elsewhere.dev/v1")):
        other = manifest(f"c-{kind}", owner="room")
        other["metadata"]["ownerReferences"][0] |= {"kind": kind, "apiVersion": f"{group}/v1alpha1"}
        cache.put(other)
    assert names(cache.owned_by(owner("room"))) == ["a"]
    assert names(cache.owned_by(owner("room", namespace="mallory"))) == ["b"]
    assert cache.owned_by(owner("another", "room")) == cache.owned_by(owner("room", "another")) == []


def test_what_a_former_owner_left_is_found_by_its_name() -> None:
    cache = ObjectCache()
    orphan = manifest("orphan")
    orphan["metadata"]["labels"] = {"app.kubernetes.io/instance": "room"}
    for child in (manifest("ours", owner="room"), manifest("plain"), orphan):
        cache.put(child)
    assert names(cache.left_by(owner("room"))) == ["orphan"]
    assert names(cache.left_by(owner("room", "a-later-uid"))) == ["ours", "orphan"]
    assert cache.left_by(owner("room", namespace="mallory")) == []
    cache.remove(("team", "orphan"))
    assert cache.left_by(owner("room")) == []


def test_a_child_that_changes_its_owner_or_goes_is_found_no_more() -> None:
    cache = ObjectCache()
    cache.put(manifest("a", 1, owner="room"))
    cache.put(manifest("a", 2, owner="other"))
    assert cache.owned_by(owner("room")) == []
    assert names(cache.owned_by(owner("other"))) == ["a"]
    assert cache.remove(("team", "a")) is not None
    assert cache.owned_by(owner("other")) == []
    assert cache.remove(("team", "a")) is None


def listed(*found: str) -> set[tuple[str, str]]:
    return {("team", name) for name in found}


def test_a_listing_tells_what_is_gone() -> None:
    cache = ObjectCache()
    for known in (manifest("stays", 1), manifest("gone", 1, owner="room")):
        cache.put(known)
    assert names(cache.retain(listed("stays", "new"), "10")) == ["gone"]
    assert names(list(cache)) == ["stays"]
    assert cache.owned_by(owner("room")) == []


def test_an_old_listing_does_not_undo_what_is_newer() -> None:
    cache = ObjectCache()
    cache.put(manifest("a", 12))
    cache.put(manifest("made-meanwhile", 11))
    assert not cache.put(manifest("a", 9))
    assert cache.retain(listed("a"), "10") == []
    assert sorted(names(list(cache))) == ["a", "made-meanwhile"]


def test_what_is_doubted_gives_way_to_any_version_once() -> None:
    cache = ObjectCache()
    for name in ("back", "gone", "written"):
        cache.put(manifest(name, 100))
    cache.doubt()
    assert cache.put(manifest("written", 60)), "the answer of our own write"
    assert not cache.put(manifest("written", 40)), "the listing, which was on its way"
    assert cache.put(manifest("back", 40))
    assert not cache.put(manifest("back", 39))
    assert cache.put(manifest("made-meanwhile", 61))
    assert names(cache.retain(listed("back", "written"), "50")) == ["gone"]
    assert sorted(names(list(cache))) == ["back", "made-meanwhile", "written"]


@pytest.mark.parametrize(
    ("known", "listed", "taken"),
    [
        pytest.param(manifest("a", 9), manifest("a", 8), True, id="an older version"),
        pytest.param(manifest("a", 10), manifest("a", 8), True, id="an older version than the listing's own"),
        pytest.param(manifest("a", 9), manifest("a", 9, uid="other"), True, id="another object of that version"),
        pytest.param(manifest("a", 9), manifest("a", 9), False, id="the same"),
        pytest.param(manifest("a", 11), manifest("a", 8), False, id="a write since the listing"),
        pytest.param(manifest("a", 11), manifest("a", 12), True, id="a later page"),
        pytest.param(manifest("b", 9), manifest("a", 8), True, id="unknown"),
    ],
)
def test_a_listing_is_right_about_all_that_is_not_newer(
    known: dict[str, Any], listed: dict[str, Any], taken: bool
) -> None:
    cache = ObjectCache()
    cache.put(known)
    cache.doubt_against(listed, "10")
    assert cache.put(listed) is taken


def test_what_is_not_to_be_kept_is_not() -> None:
    cache = ObjectCache(keep=lambda m: m if m["metadata"]["uid"] == "ours" else None)
    assert not cache.put(manifest("a", 1, uid="theirs"))
    assert cache.put(manifest("a", 2, uid="ours"))
    assert cache.put(manifest("a", 3, uid="theirs")), "ours is gone"
    assert len(cache) == 0


def test_managed_fields_are_not_kept() -> None:
    cache = ObjectCache()
    cache.put({"metadata": {**manifest("a")["metadata"], "managedFields": [{"manager": "kubectl"}]}})
    found = cache.get(("team", "a"))
    assert found is not None
    assert "managedFields" not in found["metadata"]


def test_keys_and_owners() -> None:
    assert key_of(manifest("a")) == ("team", "a")
    assert owner_of(manifest("a")) is None
    assert owner_of(manifest("a", owner="x", controller=False)) is None
    assert owner_of({"metadata": {"ownerReferences": None}}) is None
