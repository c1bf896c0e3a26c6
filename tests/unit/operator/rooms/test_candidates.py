"""Which pools are to serve a room, and why one of them cannot."""

from typing import Any

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.rooms.candidates import Candidate, agent_names, wanted_of
from livekit_operator.rooms.decisions.scene import Reported
from livekit_operator.rooms.decisions.settings import AgentNames
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

POOL = {"poolRef": {"name": "front-desk"}}
FAR_POOL = {"poolRef": {"name": "front-desk", "namespace": NAMESPACE}}
THERE: dict[str, Any] = {"serverRef": {"name": "voice", "namespace": NAMESPACE}}


def candidate(world: World, room: MeetingRoom) -> Candidate:
    """Return the one pool that is to serve a room."""
    (found,) = wanted_of(world.context, room, room.spec.agents).candidates
    return found


def told(*conditions: tuple[str, str, str], ready: int = 0) -> Manifest:
    """Return the status of a pool: type, status and reason of its conditions."""
    moment = "2026-03-01T12:00:00Z"
    found = [
        {"type": kind, "status": status, "reason": reason, "message": "It is so.", "lastTransitionTime": moment}
        for kind, status, reason in conditions
    ]
    return {"conditions": found, "readyReplicas": ready}


@pytest.mark.parametrize(
    ("status", "unborn", "reason"),
    [
        pytest.param({}, False, "NoWorkerRegistered", id="it had no pass yet"),
        pytest.param(told(("Ready", "True", "Ready")), False, None, id="nothing is said of its agents"),
        pytest.param(told(("AgentsAvailable", "True", "Available")), False, None, id="they are there"),
        pytest.param(
            told(("AgentsAvailable", "False", "WorkerCrashed")), False, "WorkerCrashed", id="what concerns every room"
        ),
        pytest.param(
            told(("AgentsAvailable", "False", "AllWorkersFull")), False, None, id="what concerns those who wait"
        ),
        pytest.param(
            told(("AgentsAvailable", "False", "NoWorkerRegistered")),
            True,
            "NoWorkerRegistered",
            id="it never had a pod",
        ),
        pytest.param(
            told(("AgentsAvailable", "False", "NoWorkerRegistered"), ready=1), True, None, id="it has one now"
        ),
        pytest.param(
            told(("AgentsAvailable", "False", "NoWorkerRegistered"), ("Ready", "False", "Progressing")),
            False,
            None,
            id="its pods are away for a moment",
        ),
        pytest.param(
            told(("AgentsAvailable", "False", "NoWorkerRegistered"), ("Ready", "False", "RollingOut")),
            False,
            None,
            id="they are replaced",
        ),
        pytest.param(
            told(("AgentsAvailable", "False", "NoWorkerRegistered"), ("Ready", "False", "ScaledToZero")),
            False,
            "NoWorkerRegistered",
            id="they stay away",
        ),
    ],
)
def test_what_a_room_says_of_its_pool(status: Manifest, unborn: bool, reason: str | None) -> None:
    world = World()
    world.kubernetes.put({**manifests.pool(), "status": status})
    world.context.pool_memory((NAMESPACE, "front-desk")).unborn = unborn
    found = candidate(world, models.room(agents=[POOL]))
    assert (found.problem.reason if found.problem else None) == reason
    assert found.memory is world.context.pools[NAMESPACE, "front-desk"]
    assert (found.agent_name, found.refused) == ("front-desk", False)


@pytest.mark.parametrize(
    ("pool", "room", "reason", "refused", "shown"),
    [
        pytest.param(None, {"agents": [POOL]}, "PoolNotFound", False, "front-desk", id="there is none"),
        pytest.param(
            {"serverRef": {"name": "other"}},
            {"agents": [POOL]},
            "PoolOnOtherServer",
            False,
            "front-desk",
            id="elsewhere",
        ),
        pytest.param({}, {"agents": [FAR_POOL]}, None, False, "front-desk", id="its own namespace, by name"),
    ],
)
def test_a_pool_that_cannot_serve(
    pool: dict[str, Any] | None, room: dict[str, Any], reason: str | None, refused: bool, shown: str
) -> None:
    world = World()
    if pool is not None:
        world.kubernetes.put({**manifests.pool(**pool), "status": told(("AgentsAvailable", "True", "Available"))})
    found = candidate(world, models.room(**room))
    assert (found.problem.reason if found.problem else None) == reason
    assert (found.refused, found.shown, found.memory is None) == (refused, shown, reason is not None)


@pytest.mark.parametrize(
    ("allowed", "reason"), [(None, "PoolNotAllowed"), ([], "PoolNotAllowed"), (["guests"], None), (["*"], None)]
)
def test_a_room_of_another_namespace_hears_the_same_whether_there_is_such_a_pool(
    allowed: list[str] | None, reason: str | None
) -> None:
    world = World()
    if allowed is not None:
        pool = manifests.pool(allowedNamespaces=allowed)
        world.kubernetes.put({**pool, "status": told(("AgentsAvailable", "True", "Available"))})
    found = candidate(world, models.room(namespace="guests", agents=[FAR_POOL], **THERE))
    assert found.shown == f"{NAMESPACE}/front-desk"
    assert (found.problem.reason if found.problem else None) == reason
    assert (found.refused, found.memory is None, found.agent_name) == (
        (True, True, "") if reason else (False, False, "front-desk")
    )
    if found.problem:
        assert (
            f"{NAMESPACE}/front-desk does not exist, or does not let rooms of namespace guests" in found.problem.message
        )


@pytest.mark.parametrize(
    ("state", "active"), [("Joined", True), ("Dispatched", True), ("Waiting", False), ("Unavailable", False)]
)
def test_what_was_told_of_agents_is_known(state: str, active: bool) -> None:
    before = {"pool": "former", "agentName": "front", "state": state, "activity": "speaking"}
    room = models.room().model_copy(update={"status": {"agents": [before]}})
    wanted = wanted_of(World().context, room, [])
    assert (wanted.key, wanted.before, wanted.active) == (
        room.key,
        {"former": Reported("front", state, "speaking")},
        active,
    )


ASKS: dict[str, Any] = {"agentDispatches": [{"agentName": "front-desk"}]}


def put_server(world: World, **spec: Any) -> LiveKitServer:
    world.kubernetes.put(manifests.server(**spec))
    return LiveKitServer.model_validate(world.get("LiveKitServer", "voice"))


@pytest.mark.parametrize(
    "spec",
    [
        ASKS,
        {"tokens": [{"identity": "a", "roomConfiguration": {"agents": []}}]},
        {"generateTokens": {"count": 1, "roomConfiguration": {"agents": []}}},
    ],
    ids=["dispatch", "token", "tokens"],
)
def test_a_room_of_another_namespace_may_call_the_agents_that_are_let_to_it(spec: dict[str, Any]) -> None:
    world = World()
    server = put_server(world, allowedPoolNamespaces=["partners"])
    for name, allowed in (("front-desk", ["guests"]), ("back-office", ["friends"])):
        world.kubernetes.put(manifests.pool(name, allowedNamespaces=allowed))
    world.kubernetes.put(manifests.pool("theirs", "partners", allowedNamespaces=["guests"], **THERE))
    world.kubernetes.put(manifests.pool("strangers", "strange", allowedNamespaces=["guests"], **THERE))
    world.kubernetes.put(manifests.pool("elsewhere", allowedNamespaces=["guests"], serverRef={"name": "other"}))
    world.kubernetes.put(manifests.pool("unread", allowedNamespaces=["guests"], replicas="many"), checked=False)
    names = agent_names(world.context, models.room(namespace="guests", **THERE, **spec), server)
    assert names == AgentNames("guests/", frozenset({"front-desk", "partners/theirs"}))


def test_a_room_that_names_no_agent_needs_no_list_of_them() -> None:
    world = World()
    server = put_server(world)
    world.kubernetes.put(manifests.pool(allowedNamespaces=["guests"]))
    assert agent_names(world.context, models.room(namespace="guests", **THERE), server) == AgentNames("guests/")


def test_a_room_of_the_servers_own_namespace_may_call_every_agent() -> None:
    world = World()
    assert agent_names(world.context, models.room(**ASKS), put_server(world)) == AgentNames()
