"""Whose a child is; what a former resource of the same name left is taken over where it proves to be the operator's."""

from typing import Any

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.engine.cache import key_of
from livekit_operator.errors import Conflict
from livekit_operator.reconciling.ownership import (
    adopt_pods,
    is_orphaning,
    is_owned,
    note_orphaning,
    relabel,
    why_foreign,
)
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

LABELS = {
    "app.kubernetes.io/managed-by": "livekit-operator",
    "app.kubernetes.io/name": "livekit-server",
    "app.kubernetes.io/instance": "voice",
    "app.kubernetes.io/component": "server",
}
OWNER = {"apiVersion": "livekit-operator.dev/v1alpha1", "kind": "LiveKitServer", "name": "voice", "uid": "dead"}


OURS = {
    "apiVersion": "livekit-operator.dev/v1alpha1",
    "kind": "MeetingRoom",
    "name": "support-42",
    "uid": "uid-support-42",
    "controller": True,
}


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        ([OURS], True),
        ([{**OURS, "controller": False}], False),
        ([{**OURS, "uid": "an-earlier-one"}], False),
        ([{"uid": "x"}, OURS], True),
        ([{**OURS, "name": "another"}], False),
        ([{**OURS, "kind": "VoiceAgentPool"}], False),
        ([{**OURS, "apiVersion": "apps/v1"}], False),
        ([{**OURS, "apiVersion": "v1"}], False),
        ([{**OURS, "apiVersion": "livekit-operator.dev/v1"}], True),
        ([{"uid": "uid-support-42", "controller": True}], False),
        ([], False),
        (None, False),
    ],
)
def test_is_owned(references: Any, expected: bool) -> None:
    metadata = {"namespace": "team", "name": "s", "ownerReferences": references}
    assert is_owned(models.room(), {"metadata": metadata}) is expected
    assert not is_owned(models.room(), {"metadata": {**metadata, "namespace": "mallory"}})


CONFIG: Manifest = {
    "kind": "ConfigMap",
    "metadata": {"namespace": "team", "name": "voice-livekit", "labels": LABELS},
    "data": {"a": "1"},
}


@pytest.mark.parametrize(
    ("known", "metadata", "why"),
    [
        pytest.param({}, {}, None, id="as the operator writes it"),
        pytest.param({}, {"labels": {**LABELS, "mine": "too"}}, None, id="with another label"),
        pytest.param({}, {"ownerReferences": [{**OWNER, "controller": True}]}, None, id="of a former one"),
        pytest.param({}, {"ownerReferences": [{**OWNER, "name": "other"}]}, None, id="others who do not control it"),
        pytest.param(
            {},
            {"ownerReferences": [{**OWNER, "name": "other", "controller": True}]},
            "LiveKitServer other controls it",
            id="of another one",
        ),
        pytest.param({}, {"deletionTimestamp": "2026-03-01T12:00:00Z"}, "it is being deleted", id="leaving"),
        pytest.param({}, {"labels": None}, "it has not the labels by which the operator knows its own", id="no labels"),
        pytest.param({"data": {"a": "2"}}, {}, "its content is not what the operator wrote", id="other content"),
        pytest.param({"data": None}, {}, "its content is not what the operator wrote", id="no content"),
        pytest.param({"kind": "Secret", "data": {"a": "2"}}, {}, None, id="content that is replaced anyway"),
    ],
)
def test_why_an_object_is_not_adopted(known: Manifest, metadata: Manifest, why: str | None) -> None:
    there = {**CONFIG, **known, "metadata": {**CONFIG["metadata"], **metadata}}
    desired = {**CONFIG, "kind": there["kind"]}
    told = why_foreign(models.server(), desired, there)
    assert told == why or (why and told and told.startswith(f"{why}: app.kubernetes.io/managed-by=livekit-operator"))


def test_who_is_orphaned_is_known_until_it_is_gone() -> None:
    context, owner = World().context, models.server()
    leaving = {"uid": owner.metadata.uid, "deletionTimestamp": "2026-03-01T12:00:00Z"}
    for metadata, orphaning in (
        ({**leaving, "finalizers": ["example.com/other"]}, False),
        ({**leaving, "finalizers": ["orphan"]}, True),
        (leaving, True),  # the garbage collector is done
    ):
        note_orphaning(context, "LiveKitServer", owner.key, {"metadata": metadata})
        assert is_orphaning(context, owner) is orphaning
    assert not is_orphaning(context, models.server("others"))
    anew = owner.model_copy(update={"metadata": owner.metadata.model_copy(update={"uid": "another"})})
    assert not is_orphaning(context, anew)
    note_orphaning(context, "LiveKitServer", owner.key, None)
    assert not is_orphaning(context, owner)


def pod(world: World, name: str = "voice-livekit-0", **metadata: Any) -> Manifest:
    """Put a pod there that a former server left, unless its metadata say otherwise."""
    known = {"name": name, "namespace": NAMESPACE, "labels": LABELS, **metadata}
    return world.kubernetes.put({"kind": "Pod", "metadata": known, "spec": {"containers": [{"name": "a"}]}})


async def test_pods_are_adopted_by_their_names() -> None:
    world = World()
    owner = LiveKitServer.model_validate(world.kubernetes.put(manifests.server()))
    for name in ("voice-livekit-0", "voice-livekit-mine"):
        pod(world, name)
    await adopt_pods(world.context, owner, "server", lambda pod: pod["metadata"]["name"] == "voice-livekit-0")
    assert world.written() == ["merge Pod/voice-livekit-0"]
    assert is_owned(owner, world.get("Pod", "voice-livekit-0"))


@pytest.mark.parametrize("anew", [False, True])
async def test_a_pod_that_is_gone_meanwhile_is_not_adopted_nor_a_new_one_of_its_name(anew: bool) -> None:
    world = World()
    owner = LiveKitServer.model_validate(world.kubernetes.put(manifests.server()))
    pod(world)
    world.kubernetes.listeners.clear()  # the watch is late
    world.kubernetes.vanish("Pod", NAMESPACE, "voice-livekit-0")
    if anew:
        pod(world)
        with pytest.raises(Conflict):
            await adopt_pods(world.context, owner, "server", lambda _: True)
        assert "ownerReferences" not in world.get("Pod", "voice-livekit-0")["metadata"]
    else:
        await adopt_pods(world.context, owner, "server", lambda _: True)
        assert (NAMESPACE, "voice-livekit-0") not in world.context.children["Pod"]


@pytest.mark.parametrize(
    ("metadata", "written"),
    [
        ({"labels": LABELS}, []),
        ({"labels": {**LABELS, "mine": "too"}}, []),
        ({"labels": {}}, ["merge Pod/voice-livekit-0"]),
        ({"labels": {}, "finalizers": ["a/b"], "deletionTimestamp": "2026-03-01T12:00:00Z"}, []),
    ],
)
async def test_labels_are_put_back_on_pods_that_stay(metadata: dict[str, Any], written: list[str]) -> None:
    world = World()
    await relabel(world.context, models.server(), "server", pod(world, **metadata))
    assert world.written() == written
    if written:
        assert world.get("Pod", "voice-livekit-0")["metadata"]["labels"] == LABELS


async def test_a_pod_that_is_gone_meanwhile_gets_no_labels() -> None:
    world = World()
    known = pod(world, labels={})
    world.kubernetes.vanish("Pod", NAMESPACE, "voice-livekit-0")
    await relabel(world.context, models.server(), "server", known)
    assert world.kubernetes.names("Pod") == []


async def test_who_is_being_deleted_takes_nothing_over(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    pool = VoiceAgentPool.model_validate(world.get("VoiceAgentPool", "front-desk"))
    (serving,) = world.agent_pods()
    world.kubernetes.ask_to_orphan("VoiceAgentPool", NAMESPACE, "front-desk")
    world.kubernetes.edit("Pod", *key_of(serving), {"metadata": {"ownerReferences": None}})
    # A pass that began before knows nothing of the deletion; the pod would be deleted with the pool.
    with pytest.raises(Conflict):
        await adopt_pods(world.context, pool, "agent", lambda _: True)
    assert "ownerReferences" not in world.get("Pod", serving["metadata"]["name"])["metadata"]
