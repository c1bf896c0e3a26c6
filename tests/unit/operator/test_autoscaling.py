"""A pool has pods for its sessions and its buffer, within its limits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.api.voiceagentpool import VoiceAgentPoolSpec
from livekit_operator.autoscaling import desired_replicas
from tests.fakes import manifests


def pool_spec(**values: Any) -> VoiceAgentPoolSpec:
    return VoiceAgentPoolSpec.model_validate(manifests.pool(**values)["spec"])


AUTOSCALED = {"sessionsPerPod": 4, "autoscaling": {"minReplicas": 1, "maxReplicas": 10, "bufferSessions": 4}}


@pytest.mark.parametrize(
    ("values", "active", "expected"),
    [
        pytest.param({}, 100, 1, id="nothing said means one"),
        pytest.param({"replicas": 0}, 100, 0, id="a fixed number, even none"),
        pytest.param({"replicas": 7}, 0, 7, id="a fixed number"),
        pytest.param(AUTOSCALED, 0, 1, id="the buffer fits into the least"),
        pytest.param(AUTOSCALED, 1, 2, id="one call takes a place of the buffer"),
        pytest.param(AUTOSCALED, 4, 2, id="full pod and buffer"),
        pytest.param(AUTOSCALED, 5, 3, id="one more than fits"),
        pytest.param(AUTOSCALED, 36, 10, id="exactly the most"),
        pytest.param(AUTOSCALED, 1000, 10, id="never above the most"),
        pytest.param({"autoscaling": {"minReplicas": 3, "maxReplicas": 9, "bufferSessions": 0}}, 0, 3, id="the least"),
        pytest.param({"autoscaling": {"bufferSessions": 0}}, 4, 1, id="no buffer: full is enough"),
    ],
)
def test_desired_replicas(values: dict[str, Any], active: int, expected: int) -> None:
    assert desired_replicas(pool_spec(**values), active_sessions=active) == expected


scaling = st.builds(
    lambda least, more, buffer, size: pool_spec(
        sessionsPerPod=size,
        autoscaling={"minReplicas": least, "maxReplicas": least + more, "bufferSessions": buffer},
    ),
    st.integers(1, 50),
    st.integers(0, 200),
    st.integers(0, 500),
    st.integers(1, 20),
)
sessions = st.integers(0, 5000)


@given(scaling, sessions)
def test_stays_within_the_limits(spec: VoiceAgentPoolSpec, active: int) -> None:
    assert spec.autoscaling is not None
    desired = desired_replicas(spec, active_sessions=active)
    assert spec.autoscaling.min_replicas <= desired <= spec.autoscaling.max_replicas


@given(scaling, sessions, sessions)
def test_more_calls_never_mean_fewer_pods(spec: VoiceAgentPoolSpec, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert desired_replicas(spec, active_sessions=few) <= desired_replicas(spec, active_sessions=many)


@given(scaling, sessions)
def test_there_is_room_for_every_call_and_the_buffer_and_no_pod_too_many(spec: VoiceAgentPoolSpec, active: int) -> None:
    assert spec.autoscaling is not None
    desired = desired_replicas(spec, active_sessions=active)
    needed = active + spec.autoscaling.buffer_sessions
    assert desired * spec.sessions_per_pod >= needed or desired == spec.autoscaling.max_replicas
    assert (desired - 1) * spec.sessions_per_pod < needed or desired == spec.autoscaling.min_replicas
