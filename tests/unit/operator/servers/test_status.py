"""What a server says of itself."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.livekitserver import KeyStatus, LiveKitServer, LiveKitServerStatus
from livekit_operator.errors import CutOff, Problem
from livekit_operator.reconciling.decisions.brakes import PodHistory
from livekit_operator.reconciling.status import Outcome
from livekit_operator.servers import status as module
from livekit_operator.servers.apply import Done
from livekit_operator.servers.decisions.configuration_check import Check
from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState
from livekit_operator.servers.decisions.plan import Plan
from livekit_operator.servers.decisions.rollout import ServerPod
from livekit_operator.servers.keys import ServerKeyring
from livekit_operator.servers.list_rooms import Listed
from livekit_operator.servers.manifests.signalling import build_signal_service
from livekit_operator.servers.observe import Observation
from livekit_operator.servers.pods import Replica, Replicas
from livekit_operator.servers.reach import Reach
from livekit_operator.servers.surroundings import Surroundings
from livekit_operator.views import ServerLoad
from tests.fakes import manifests, models
from tests.unit.operator.servers.replicas import SHARED

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = ApiKey("id", "secret")
URL = "wss://voice.example.com"
IN_AN_HOUR = datetime(2026, 3, 1, 13, tzinfo=UTC)
UP: dict[str, Any] = {"ready": True, "serving": True, "current": True}
WRONG = Problem(reasons.KEYS_INVALID, "They are wrong.", retry_after=7.0)
ON_ITS_WAY = Problem(reasons.PROGRESSING, "Waiting for Service voice-livekit-0.")
UNSCHEDULABLE = Problem(reasons.UNSCHEDULABLE, "No node.")
MANAGED: dict[str, Any] = {"replicas": 2, "redis": {"managed": {}}}


def replica(slot: int = 0, *, node: str | None = "node-1", load: ServerLoad | None = None, **fields: Any) -> Replica:
    """Return a server that serves, but for what is said otherwise."""
    name, own = f"voice-livekit-{slot}", {key: fields.pop(key) for key in ("told", "trouble") if key in fields}
    pod = {"metadata": {"name": name}, "spec": {"nodeName": node} if node else {}}
    load = load or ServerLoad(0, 0)
    return Replica(pod, ServerPod(name, slot, NOW, **{**UP, **fields}), load, **{"told": load, **own})


def told(
    server: LiveKitServer, *replicas: Replica, plan: Plan | None = None, last: str | None = "Ready", **fields: Any
) -> Outcome:
    """Return the status of a server after a pass; `last` is the reason of the condition Ready before it."""
    names = ("problems", "refused", "settling", "still_long", "keys")
    seen = {key: fields.pop(key) for key in names if key in fields}
    status = {"conditions": [ready_because(last)]} if last else {}
    server = server.model_copy(update={"status": status})
    keys = ServerKeyring(KeyState(KEY, (KEY,)), KeyStatus(phase=seen.pop("keys", "Stable"), accepted=1))
    observed = Observation(NOW, keys, None, Replicas(replicas), seen.pop("problems", ()), Check(), PodHistory(), **seen)
    around = Surroundings(build_signal_service(server), {}, [], fields.pop("slot_problems", {}))
    listed = fields.pop("listed", Listed(rooms=0, participants=0, seconds=5.0))
    done = Done(around, fields.pop("made", ()), fields.pop("reach", Reach(URL)), listed, **fields)
    return module.status(server, observed, plan or Plan(), done)


def ready_because(reason: str) -> dict[str, str]:
    status = "True" if reason == "Ready" else "False"
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": "As before.",
        "lastTransitionTime": "2026-03-01T11:00:00Z",
    }


def said(outcome: Outcome, kind: str) -> tuple[str, str]:
    """Return reason and message of a condition."""
    (found,) = (one for one in outcome.conditions if one.type == kind)
    return found.reason, found.message


def fields_of(outcome: Outcome) -> LiveKitServerStatus:
    assert isinstance(outcome.fields, LiveKitServerStatus)
    return outcome.fields


UNLISTED = Listed(unlisted="refused", seconds=5.0)


@pytest.mark.parametrize(
    ("spec", "replicas", "fields", "ready", "degraded"),
    [
        pytest.param({}, [replica()], {}, "Ready", "AsExpected", id="it serves"),
        pytest.param({}, [], {}, "Progressing", "AsExpected", id="no server yet"),
        pytest.param({"replicas": 0}, [], {}, "ScaledToZero", "AsExpected", id="none is wanted"),
        pytest.param({"replicas": 0}, [replica()], {}, "Ready", "AsExpected", id="none is wanted and one serves"),
        pytest.param({}, [], {"problems": [WRONG]}, "KeysInvalid", "KeysInvalid", id="something is wrong"),
        pytest.param({}, [replica()], {"problems": [WRONG]}, "Ready", "KeysInvalid", id="and a server serves"),
        pytest.param({}, [replica()], {"made": [WRONG]}, "Ready", "KeysInvalid", id="what was made is wrong"),
        pytest.param(
            {},
            [replica()],
            {"made": [CutOff(reasons.NOT_ALLOWED, "No.")]},
            "NotAllowed",
            "NotAllowed",
            id="clients cannot come in",
        ),
        pytest.param({}, [], {"slot_problems": {0: ON_ITS_WAY}}, "Progressing", "AsExpected", id="on its way"),
        pytest.param({}, [], {"slot_problems": {1: WRONG, 0: ON_ITS_WAY}}, "KeysInvalid", "KeysInvalid", id="one slot"),
        pytest.param(
            {},
            [replica(ready=False, trouble=UNSCHEDULABLE)],
            {},
            "Unschedulable",
            "Unschedulable",
            id="it does not start",
        ),
        pytest.param(
            {},
            [replica(ready=False, trouble=UNSCHEDULABLE), replica(1, leaving=True)],
            {},
            "Progressing",
            "AsExpected",
            id="it waits for the place of one that leaves",
        ),
        pytest.param(
            {},
            [replica(ready=False, trouble=UNSCHEDULABLE), replica(1)],
            {"plan": Plan(waits_for=("voice-livekit-1",))},
            "Ready",
            "AsExpected",
            id="or of one with calls",
        ),
        pytest.param(
            {},
            [replica(ready=False, trouble=WRONG), replica(1, leaving=True)],
            {},
            "KeysInvalid",
            "KeysInvalid",
            id="it waits for no place",
        ),
        pytest.param({}, [replica(trouble=WRONG)], {}, "Ready", "AsExpected", id="a trouble that is over"),
        pytest.param({}, [replica()], {"refused": WRONG}, "KeysInvalid", "KeysInvalid", id="Redis refuses it"),
        pytest.param({}, [replica()], {"reach": Reach(None)}, "Progressing", "AsExpected", id="no URL yet"),
        pytest.param(
            {},
            [replica()],
            {"reach": Reach(None, [Problem(reasons.NO_EXTERNAL_ADDRESS, "None.")])},
            "NoExternalAddress",
            "NoExternalAddress",
            id="and none comes",
        ),
        pytest.param(
            {}, [replica()], {"reach": Reach(URL, (), ON_ITS_WAY)}, "Progressing", "AsExpected", id="not led to yet"
        ),
        pytest.param(
            {},
            [replica()],
            {"reach": Reach(URL, [Problem(reasons.NODE_IP_SHARED, "One.")])},
            "Ready",
            "NodeIpShared",
            id="not all come in",
        ),
        pytest.param(
            {}, [replica()], {"listed": UNLISTED}, "ServerUnreachable", "ServerUnreachable", id="it does not answer"
        ),
        pytest.param(
            {}, [replica()], {"listed": UNLISTED, "last": None}, "Progressing", "AsExpected", id="nor has it ever"
        ),
        pytest.param(
            {},
            [replica(unreachable=True)],
            {"listed": UNLISTED},
            "ServerUnreachable",
            "ServerUnreachable",
            id="nor does its pod",
        ),
        pytest.param({}, [replica()], {"hangs": True}, "Ready", "ServerUnreachable", id="it lists and hangs"),
        pytest.param(
            SHARED, [replica(), replica(1, unreachable=True)], {}, "Ready", "ServerUnreachable", id="one of two is lost"
        ),
        pytest.param(SHARED, [replica(ready=False)], {}, "RedisUnreachable", "RedisUnreachable", id="Redis is silent"),
        pytest.param(
            SHARED, [replica(ready=False)], {"last": None}, "Progressing", "AsExpected", id="or it only starts"
        ),
        pytest.param(
            SHARED,
            [replica(ready=False)],
            {"last": None, "still_long": True},
            "RedisUnreachable",
            "RedisUnreachable",
            id="for long",
        ),
        pytest.param(SHARED, [replica(ready=False, node=None)], {}, "Progressing", "AsExpected", id="without a node"),
        pytest.param(SHARED, [replica()], {"settling": True}, "Ready", "AsExpected", id="ready just now, as before"),
        pytest.param(
            SHARED, [replica()], {"settling": True, "last": None}, "Progressing", "AsExpected", id="ready just now"
        ),
        pytest.param(
            SHARED,
            [replica()],
            {"settling": True, "last": "RedisUnreachable"},
            "RedisUnreachable",
            "RedisUnreachable",
            id="ready just now, after Redis was silent",
        ),
    ],
)
def test_what_is_wrong(
    spec: dict[str, Any], replicas: list[Replica], fields: dict[str, Any], ready: str, degraded: str
) -> None:
    outcome = told(models.server(**spec), *replicas, **fields)
    assert (said(outcome, "Ready")[0], said(outcome, "Degraded")[0]) == (ready, degraded)


def test_a_secret_that_cert_manager_would_write_is_missing_for_want_of_it() -> None:
    missing = Problem(reasons.SECRET_NOT_FOUND, "It is not there.")
    outcome = told(models.server(), problems=[missing], made=[Problem(reasons.CERT_MANAGER_MISSING, "Install it.")])
    assert said(outcome, "Ready") == ("CertManagerMissing", "Install it.")


def test_a_managed_redis_under_several_servers_is_said_to_be_for_trying_out() -> None:
    assert "managed Redis is one pod" in said(told(models.server(**MANAGED), replica(), replica(1)), "Degraded")[1]
    alone = models.server(**{**MANAGED, "replicas": 1})
    assert said(told(alone, replica()), "Degraded")[1] == "Nothing is wrong."


CALLS = ServerLoad(2, 3, ("a", "b"))


@pytest.mark.parametrize(
    ("replicas", "fields", "reason", "message"),
    [
        pytest.param([replica()], {}, "UpToDate", "Every server is as wanted.", id="at rest"),
        pytest.param([], {}, "Starting", "0 of 1 servers answer.", id="none yet"),
        pytest.param([replica(current=False)], {}, "RollingOut", "0 of 1 servers are as wanted.", id="an older one"),
        pytest.param([replica(cordoned=True)], {}, "RollingOut", "1 of 1 servers are as wanted.", id="to be moved"),
        pytest.param([replica(), replica(1)], {}, "ScalingDown", "1 servers are to leave.", id="one too many"),
        pytest.param(
            [replica(), replica(1, leaving=True, load=CALLS)],
            {},
            "Draining",
            "1 servers leave when their rooms are empty: voice-livekit-1: a, b.",
            id="one leaves",
        ),
        pytest.param([replica()], {"keys": "Moving"}, "RotatingKeys", "Keys: Moving, see status.keys.", id="keys"),
        pytest.param(
            [replica(current=False, load=CALLS), replica(1, serving=False)],
            {"plan": Plan(waits_for=("voice-livekit-0",), deadline=IN_AN_HOUR)},
            "WaitingForRooms",
            "Changes when these rooms are empty, at the latest at 2026-03-01T13:00:00Z: voice-livekit-0: a, b.",
            id="rooms are waited for",
        ),
        pytest.param(
            [replica(current=False, load=CALLS)],
            {"plan": Plan(waits_for=("voice-livekit-0",))},
            "WaitingForRooms",
            "Changes when these rooms are empty: voice-livekit-0: a, b.",
            id="for as long as they take",
        ),
    ],
)
def test_how_far_it_is(replicas: list[Replica], fields: dict[str, Any], reason: str, message: str) -> None:
    assert said(told(models.server(), *replicas, **fields), "Progressing") == (reason, message)


@pytest.mark.parametrize(
    ("spec", "replicas", "fields", "seconds"),
    [
        pytest.param({}, [replica()], {}, 5.0, id="the next listing"),
        pytest.param({}, [replica()], {"again": 2.0}, 2.0, id="what is on its way"),
        pytest.param({}, [replica()], {"problems": [replace(WRONG, retry_after=3.0)]}, 3.0, id="what was observed"),
        pytest.param({}, [replica()], {"made": [replace(WRONG, retry_after=3.0)]}, 3.0, id="what was made"),
        pytest.param({}, [replica()], {"made": [replace(WRONG, retry_after=None)]}, 5.0, id="a watch will tell"),
        pytest.param(
            {},
            [replica()],
            {"reach": Reach(URL, (), replace(ON_ITS_WAY, retry_after=0.5))},
            0.5,
            id="whether clients are led to it",
        ),
        pytest.param(SHARED, [replica(), replica(1)], {}, 3.0, id="one of several may be lost"),
        pytest.param(SHARED, [replica()], {}, 5.0, id="one alone"),
        pytest.param({}, [replica(), replica(1)], {}, 5.0, id="two that share nothing"),
        pytest.param(SHARED, [replica()], {"listed": UNLISTED}, 1.0, id="they share rooms and list none"),
        pytest.param({}, [replica()], {"listed": UNLISTED}, 5.0, id="it lists none"),
        pytest.param({}, [replica()], {"listed": replace(UNLISTED, unverified=True)}, 1.0, id="one was lost"),
        pytest.param({}, [], {"listed": replace(UNLISTED, unverified=True)}, 5.0, id="and none serves"),
    ],
)
def test_when_the_next_pass_is_due(
    spec: dict[str, Any], replicas: list[Replica], fields: dict[str, Any], seconds: float
) -> None:
    assert told(models.server(**spec), *replicas, **fields).again == seconds


def test_a_silent_server_is_looked_at_soon() -> None:
    silent = replace(replica(), load=None)
    assert told(models.server(), silent).again == 1.0


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (replica(), "Serving"),
        (replica(serving=False), "Standby"),
        (replica(leaving=True, finished=True), "Draining"),
        (replica(ready=False, finished=True), "Failed"),
        (replica(ready=False, stuck=True), "Failed"),
        (replica(unreachable=True), "Unreachable"),
        (replica(ready=False), "Starting"),
        (replica(ready=False, node=None), "Pending"),
        (replica(ready=False, stuck=True, unschedulable=True), "Pending"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_state_of_each_server(one: Replica, state: str) -> None:
    assert module.describe(one, Plan()).state == state


@pytest.mark.parametrize(
    ("leaving", "plan", "leaves_by", "waits_for"),
    [
        pytest.param(False, Plan(), None, None, id="it stays"),
        pytest.param(True, Plan(), "2026-03-01T14:00:00Z", ["a", "b"], id="it leaves"),
        pytest.param(
            False, Plan(waits_for=("voice-livekit-0",)), None, ["a", "b"], id="it is waited for as long as it takes"
        ),
        pytest.param(
            False,
            Plan(waits_for=("voice-livekit-0",), deadline=IN_AN_HOUR),
            "2026-03-01T13:00:00Z",
            ["a", "b"],
            id="it is waited for",
        ),
    ],
)
def test_until_when_a_server_stays_and_for_whom(
    leaving: bool, plan: Plan, leaves_by: str | None, waits_for: list[str] | None
) -> None:
    one = replica(leaving=leaving, load=CALLS)
    one.pod["metadata"]["deletionTimestamp"] = "2026-03-01T14:00:00Z"
    line = module.describe(one, plan)
    assert (line.leaves_by, line.waits_for, line.rooms, line.participants) == (leaves_by, waits_for, 2, 3)


def test_only_some_rooms_are_named() -> None:
    many = ServerLoad(30, 30, tuple(f"room-{n}" for n in range(30)))
    line = module.describe(replica(leaving=True, load=many), Plan())
    assert (line.waits_for, line.rooms) == ([f"room-{n}" for n in range(10)], 30)
    unnamed = replica(load=ServerLoad(2, 3))
    assert module.shown_rooms(unnamed) == "voice-livekit-0: 3 participants in 2 rooms"
    assert module.shown_rooms(replace(unnamed, told=None)) == "voice-livekit-0"


def test_servers_are_counted() -> None:
    servers = [
        replica(0),
        replica(1, current=False),
        replica(2, ready=False, serving=False),
        replica(3, leaving=True),
        replica(4, ready=False, finished=True),
    ]
    fields = fields_of(told(models.server(**SHARED), *servers))
    counts = (fields.replicas, fields.ready_replicas, fields.updated_replicas, fields.draining_replicas)
    assert counts == (3, 2, 1, 1)
    assert [line.name for line in fields.servers] == [f"voice-livekit-{slot}" for slot in range(5)]


def test_what_nobody_answers_for_is_not_told_from_memory() -> None:
    remembered = replace(replica(), load=None, told=CALLS)
    assert fields_of(told(models.server(), remembered)).servers[0].rooms == 2
    assert fields_of(told(models.server(), remembered, listed=UNLISTED)).servers[0].rooms is None


def test_when_a_deleted_servers_calls_end_at_the_latest() -> None:
    manifest = manifests.stored(manifests.server(drainTimeoutSeconds=90))
    manifest["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert module.deletion_deadline(LiveKitServer.model_validate(manifest)) == datetime(
        2026, 3, 1, 12, 1, 30, tzinfo=UTC
    )
