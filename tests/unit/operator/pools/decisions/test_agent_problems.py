"""Whoever waits for an agent learns the cause and what to do, and the cause before its consequences."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.pools.decisions.agent_problems import AgentFacts, diagnose

FINE = AgentFacts(
    pods=2,
    ready_pods=2,
    registered=2,
    free_sessions=8,
    wanted_name="front-desk",
    names=("front-desk",),
    deployments=("",),
)
REJECTED = "deepgram refuses the key for stt (HTTP 401): check the Secret of spec.agent.stt.apiKeySecretRef."
CRASH = "Pod front-desk-1a2b3c: CrashLoopBackOff: ModuleNotFoundError: No module named 'agent'"
QUOTA = "The API server refused: exceeded quota. Change the spec, or the quota: see `kubectl describe quota`."
OLDER_CANARY = {"wanted_deployments": ("", "canary-new"), "deployments": ("", "canary-old")}

# From the most specific cause to the least.
CAUSES: dict[str, dict[str, Any]] = {
    "ProviderRejected": {"provider_problem": REJECTED},
    "WorkerCrashed": {"crash": CRASH, "free_sessions": 0},
    "AgentNameMismatch": {"names": ("assistant",)},
    "DeploymentMismatch": {"deployments": ("blue",)},
    "TargetLoadTooLow": {"target_load": 0.7, "loads": (0.75, 0.9)},
    "NoWorkerRegistered": {"registered": 0},
    "AgentNotConnected": {"unconnected": 1},
    "AllWorkersFull": {"free_sessions": 0, "waiting": 1},
    "DispatchPending": {"dispatch_age": 7.2},
}


@pytest.mark.parametrize(
    ("changes", "reason", "told"),
    [
        pytest.param(CAUSES["ProviderRejected"], "ProviderRejected", "spec.agent.stt.apiKeySecretRef", id="key"),
        pytest.param(
            {"crash": CRASH, "registered": 0, "free_sessions": 0},
            "WorkerCrashed",
            "kubectl logs --previous",
            id="crash",
        ),
        pytest.param(
            {"crash": CRASH, "free_sessions": 0}, "WorkerCrashed", "No module named 'agent'", id="crash of the last one"
        ),
        pytest.param(CAUSES["AgentNameMismatch"], "AgentNameMismatch", "spec.agentName", id="name"),
        pytest.param(
            CAUSES["AgentNameMismatch"],
            "AgentNameMismatch",
            "ask for the agent 'front-desk', and the workers registered as 'assistant'",
            id="both names",
        ),
        pytest.param(
            {"names": ("",)},
            "AgentNameMismatch",
            "registered without a name: have your code register by it",
            id="no name at all",
        ),
        pytest.param(
            {"names": ("", "assistant")}, "AgentNameMismatch", "registered as none, 'assistant'", id="one without"
        ),
        pytest.param(
            CAUSES["DeploymentMismatch"], "DeploymentMismatch", "LIVEKIT_AGENT_DEPLOYMENT", id="deployment in the image"
        ),
        pytest.param(
            CAUSES["DeploymentMismatch"],
            "DeploymentMismatch",
            "ask for the deployment none, and the workers registered with 'blue'",
            id="both deployments",
        ),
        pytest.param(OLDER_CANARY, "DeploymentMismatch", "the deployment 'canary-new'", id="of several one is missing"),
        pytest.param(CAUSES["TargetLoadTooLow"], "TargetLoadTooLow", "load_fnc", id="load"),
        pytest.param(
            {"target_load": 3.0, "loads": (1.0,)}, "TargetLoadTooLow", "spec.agent.runner", id="at the very load"
        ),
        pytest.param(
            {"registered": 0, "ready_pods": 0}, "NoWorkerRegistered", "kubectl describe pod", id="pods are starting"
        ),
        pytest.param({"registered": 0}, "NoWorkerRegistered", "NetworkPolicy", id="pods cannot reach the server"),
        pytest.param(
            {"registered": 0, "ready_pods": 0, "pods": 0, "waiting": 1},
            "NoWorkerRegistered",
            "1 room waits for the first pod: keep one by spec.autoscaling.minReplicas",
            id="scaled to zero and somebody waits",
        ),
        pytest.param(CAUSES["AgentNotConnected"], "AgentNotConnected", "join 1 room and get no", id="no connection"),
        pytest.param({"unconnected": 2}, "AgentNotConnected", "spec.media.nodeIp", id="an address for others"),
        pytest.param({"unconnected": 2}, "AgentNotConnected", "Without spec.media.iceLite", id="no way back"),
        pytest.param({"unconnected": 2}, "AgentNotConnected", "spec.media.advertiseInternalIp", id="behind a NAT"),
        pytest.param(
            {"free_sessions": 0, "waiting": 3, "at_limit": True},
            "AllWorkersFull",
            "no more pods may come: raise spec.autoscaling.maxReplicas",
            id="full, and no more may come",
        ),
        pytest.param(
            {"free_sessions": 0, "waiting": 1}, "AllWorkersFull", "spec.autoscaling.bufferSessions", id="full for now"
        ),
        pytest.param(
            {"registered": 0, "ready_pods": 0, "pods": 0, "waiting": 1, "held_back": QUOTA},
            "NoWorkerRegistered",
            f"No pod is there, and none comes: {QUOTA}",
            id="scaled to zero, and a quota refuses the first pod",
        ),
        pytest.param(
            {"free_sessions": 0, "waiting": 1, "at_limit": True, "held_back": QUOTA},
            "AllWorkersFull",
            f"Every agent is taken until a call ends, and no other pod comes: {QUOTA}",
            id="full, and a quota refuses more",
        ),
        pytest.param(
            {"free_sessions": 0, "held_back": QUOTA}, "AllWorkersFull", QUOTA, id="the same, though nobody waits"
        ),
        pytest.param(CAUSES["DispatchPending"], "DispatchPending", "asked for more than once", id="on its way"),
        pytest.param(CAUSES["DispatchPending"], "DispatchPending", "kubectl logs", id="what to read"),
    ],
)
def test_each_cause_is_named_with_what_to_do(changes: dict[str, Any], reason: str, told: str) -> None:
    problem = diagnose(replace(FINE, **changes))
    assert problem is not None
    assert problem.reason == reason
    assert told in problem.message


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="all is well"),
        pytest.param({"crash": CRASH}, id="one crashed, others have places"),
        pytest.param({"names": ()}, id="workers that do not tell their name"),
        pytest.param({"deployments": ()}, id="workers that do not tell their deployment"),
        pytest.param({"names": ("front-desk", "former-name")}, id="former pods have another name still"),
        pytest.param({"target_load": 0.7, "loads": (0.9, 0.69)}, id="one worker is below the load"),
        pytest.param(
            {"pods": 0, "ready_pods": 0, "registered": 0, "free_sessions": 0}, id="scaled to zero, nobody waits"
        ),
        pytest.param({"waiting": 2}, id="places are free again"),
    ],
)
def test_what_is_no_problem(changes: dict[str, Any]) -> None:
    assert diagnose(replace(FINE, **changes)) is None


@pytest.mark.parametrize("first", range(len(CAUSES)))
def test_of_several_causes_the_most_specific_one_is_told(first: int) -> None:
    reasons = list(CAUSES)
    together: dict[str, Any] = {}
    for reason in reversed(reasons[first:]):
        together |= CAUSES[reason]
    problem = diagnose(replace(FINE, **together))
    assert problem is not None
    assert problem.reason == reasons[first]


facts = st.builds(
    AgentFacts,
    pods=st.integers(0, 3),
    ready_pods=st.integers(0, 3),
    registered=st.integers(0, 3),
    free_sessions=st.integers(0, 5),
    wanted_name=st.sampled_from(["front-desk", "other"]),
    names=st.sampled_from([(), ("front-desk",), ("",)]),
    wanted_deployments=st.sampled_from([("",), ("", "canary-1")]),
    deployments=st.sampled_from([(), ("",), ("canary-1",), ("", "canary-1")]),
    crash=st.sampled_from([None, CRASH]),
    provider_problem=st.sampled_from([None, REJECTED]),
    target_load=st.sampled_from([0.7, 1.0]),
    loads=st.lists(st.floats(0, 2), max_size=2).map(tuple),
    at_limit=st.booleans(),
    held_back=st.sampled_from([None, QUOTA]),
    waiting=st.integers(0, 3),
    dispatch_age=st.none() | st.floats(0, 100),
)


@given(facts)
def test_a_message_is_one_line_that_names_a_field_or_a_command(known: AgentFacts) -> None:
    problem = diagnose(known)
    if problem is not None:
        assert problem.reason in CAUSES
        assert any(word in problem.message for word in ("spec.", "status.", "kubectl "))
        assert problem.message.endswith(".")
        assert ".." not in problem.message
        assert "\n" not in problem.message


@given(facts)
def test_what_is_refused_is_not_to_be_raised(known: AgentFacts) -> None:
    problem = diagnose(replace(known, held_back=QUOTA))
    assert problem is None or not any(field in problem.message for field in ("minReplicas", "maxReplicas", "replicas,"))


@given(facts)
def test_who_waits_for_nothing_has_only_problems_of_the_pool(known: AgentFacts) -> None:
    problem = diagnose(replace(known, free_sessions=1, dispatch_age=None))
    assert problem is None or problem.reason not in ("AllWorkersFull", "DispatchPending")
