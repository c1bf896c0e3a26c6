"""What a pass of a server is to do, from what was observed alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.livekitserver import KeyStatus
from livekit_operator.errors import Problem
from livekit_operator.reconciling.decisions.brakes import PodHistory
from livekit_operator.servers.decide import decide
from livekit_operator.servers.decisions.configuration_check import Check
from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState
from livekit_operator.servers.decisions.rollout import FORCED_GRACE_SECONDS, Leave, ServerPod
from livekit_operator.servers.keys import ServerKeyring
from livekit_operator.servers.manifests.pod import ServerInputs
from livekit_operator.servers.observe import Observation
from livekit_operator.servers.pods import Replica, Replicas
from tests.fakes import models

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = ApiKey("id", "secret")
KEYS = ServerKeyring(KeyState(KEY, (KEY,)), KeyStatus(phase="Stable", accepted=1))
INPUTS = ServerInputs("image", {}, "keys", "secrets")
SHARED: dict[str, Any] = {"replicas": 2, "redis": {"address": "redis:6379"}}
NODE_PORT: dict[str, Any] = {"media": {"exposure": "NodePort"}}


def observed(
    *views: ServerPod, inputs: ServerInputs | None = INPUTS, problem: str | None = None, **seen: Any
) -> Observation:
    """Return what was observed of a server with these pods."""
    problems = [Problem(reasons.Reason(problem), "It is so.")] if problem else []
    replicas = Replicas([Replica({}, view) for view in views])
    check, brake = seen.pop("check", Check()), seen.pop("brake", PodHistory())
    return Observation(NOW, KEYS, inputs, replicas, problems, check, brake, **seen)


def up(slot: int, **view: Any) -> ServerPod:
    fields = {"ready": True, "serving": True, "participants": 0, **view}
    return ServerPod(f"voice-livekit-{slot}", slot, NOW, **fields)


@pytest.mark.parametrize(
    ("spec", "seen", "start"),
    [
        pytest.param({}, observed(), (0,), id="the first one"),
        pytest.param(SHARED, observed(), (0, 1), id="as many as are wanted"),
        pytest.param({}, observed(inputs=None), (), id="not while something is missing"),
        pytest.param({}, observed(pods_allowed=False), (), id="nor what is not allowed"),
        pytest.param({}, observed(problem="PortConflict"), (), id="nor while another has its ports"),
        pytest.param({}, observed(problem="RedisShared"), (), id="nor while another has its Redis"),
        pytest.param({}, observed(problem="RedisUnreachable"), (0,), id="others do not keep it"),
    ],
)
def test_which_servers_start(spec: dict[str, Any], seen: Observation, start: tuple[int, ...]) -> None:
    assert decide(models.server(**spec), seen).start == start


@pytest.mark.parametrize(
    ("spec", "slots"),
    [
        pytest.param(NODE_PORT, {0, 1}, id="one more than there are servers"),
        pytest.param({**NODE_PORT, "replicas": 0}, set(), id="none where no server is wanted"),
        pytest.param({"media": {"exposure": "LoadBalancer"}}, {0}, id="a load balancer costs money"),
        pytest.param({}, {0}, id="nodes have their ports"),
    ],
)
def test_which_slots_are_kept(spec: dict[str, Any], slots: set[int]) -> None:
    assert decide(models.server(**spec), observed()).slots == slots


def test_what_hangs_with_nobody_on_it_leaves() -> None:
    hanging = up(0, ready=False)
    assert decide(models.server(**SHARED), observed(hanging, up(1))).leave == ()
    assert (
        decide(models.server(**SHARED), observed(hanging, up(1), hung=["voice-livekit-0"])).leave[0].name
        == hanging.name
    )


@pytest.mark.parametrize(
    ("seconds", "waits_for", "leave"),
    [
        (89, (), (Leave("voice-livekit-0", FORCED_GRACE_SECONDS),)),
        (91, ("voice-livekit-0",), ()),
    ],
)
def test_calls_are_waited_for_as_long_as_the_spec_says(
    seconds: int, waits_for: tuple[str, ...], leave: tuple[Leave, ...]
) -> None:
    successor = replace(up(1, serving=False), created=NOW - timedelta(seconds=90))
    seen = observed(up(0, current=False, participants=2), successor)
    plan = decide(models.server(drainTimeoutSeconds=seconds), seen)
    assert (plan.waits_for, plan.leave) == (waits_for, leave)


@pytest.mark.parametrize(("since", "yields"), [(None, ()), (timedelta(minutes=5), (Leave("voice-livekit-0"),))])
def test_an_older_server_gives_its_address_to_one_that_waits_for_one(
    since: timedelta | None, yields: tuple[Leave, ...]
) -> None:
    waits = {1: NOW - since} if since else {}
    seen = observed(up(0, current=False), unaddressed=waits, check=Check(accepted=True))
    assert decide(models.server(media={"exposure": "LoadBalancer"}), seen).yields == yields


@pytest.mark.parametrize(("check", "start"), [(Check(), ()), (Check(accepted=True), (1,))])
def test_a_new_configuration_starts_nothing_before_it_is_accepted(check: Check, start: tuple[int, ...]) -> None:
    assert decide(models.server(), observed(up(0, current=False), check=check)).start == start


def test_servers_that_end_soon_are_made_again_more_slowly() -> None:
    brake = PodHistory()
    for number in range(3):
        brake.fail(f"uid-{number}", "evicted", NOW)
    plan = decide(models.server(), observed(brake=brake))
    assert plan.start == ()
    assert plan.held is not None
