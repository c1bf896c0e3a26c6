"""The rules about statuses find what they are for, and nothing in a status that is as it should be."""

import copy
from typing import Any

import pytest

from tests.harness.invariants import violations

Manifest = dict[str, Any]


def resource(spec: Manifest, conditions: dict[str, str], **status: Any) -> Manifest:
    """Return a resource; `conditions` are type -> "status reason"."""
    told = [
        {
            "type": kind,
            "status": text.split()[0],
            "reason": text.split()[1],
            "message": "In words.",
            "observedGeneration": 1,
        }
        for kind, text in conditions.items()
    ]
    return {
        "metadata": {"name": "it", "namespace": "team", "generation": 1, "uid": "u-it"},
        "spec": spec,
        "status": {"observedGeneration": 1, "conditions": told, **status},
    }


SERVER = resource(
    {"replicas": 1},
    {"Ready": "True Ready", "Progressing": "False UpToDate", "Degraded": "False AsExpected"},
    replicas=1,
    readyReplicas=1,
    updatedReplicas=1,
    drainingReplicas=0,
    rooms=0,
    externalUrl="wss://voice.example.com",
)
POOL = resource(
    {"serverRef": {"name": "voice"}},
    {
        "Ready": "True Ready",
        "Progressing": "False UpToDate",
        "AgentsAvailable": "True Available",
        "ProvidersAccepted": "True Accepted",
    },
    replicas=1,
    readyReplicas=1,
    updatedReplicas=1,
    desiredReplicas=1,
    drainingReplicas=0,
    idleReplicas=1,
    freeSessions=4,
    revision="r1",
    versions=[{"revision": "r1", "sessions": 1}],
)
ROOM = resource(
    {"serverRef": {"name": "voice"}, "agents": [{"poolRef": {"name": "front-desk"}}]},
    {"Ready": "True Ready", "AgentsReady": "True PoolsReady"},
    sid="RM_1",
    roomName="it",
    agents=[{"pool": "front-desk", "agentName": "front-desk", "state": "Waiting"}],
    agentsJoined=0,
)
GOOD = {"LiveKitServer": SERVER, "VoiceAgentPool": POOL, "MeetingRoom": ROOM}


def changed(kind: str, *, spec: Manifest | None = None, **changes: Any) -> Manifest:
    """Return a good resource with other conditions ("status reason", "" for none) and other fields of the status."""
    manifest = copy.deepcopy(GOOD[kind])
    manifest["spec"] |= spec or {}
    conditions = {c["type"]: c for c in manifest["status"]["conditions"]}
    for name, value in changes.items():
        if not name[0].isupper():
            manifest["status"][name] = value
        elif not value:
            del conditions[name]
        else:
            status, reason = value.split()
            conditions[name] = {**conditions["Ready"], "type": name, "status": status, "reason": reason}
    manifest["status"]["conditions"] = list(conditions.values())
    return manifest


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_as_it_should_be(kind: str) -> None:
    assert violations(kind, GOOD[kind]) == []
    assert violations(kind, {**GOOD[kind], "status": {}}) == [], "nothing was told yet"


EMPTY: dict[str, Any] = {"replicas": 0, "readyReplicas": 0, "updatedReplicas": 0, "idleReplicas": 0, "freeSessions": 0}
STARTING: dict[str, Any] = {
    "Ready": "False Progressing",
    "Progressing": "True Starting",
    "ProvidersAccepted": "Unknown NotAsked",
}


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        pytest.param("LiveKitServer", {"Degraded": ""}, "Degraded is missing", id="a condition left out"),
        pytest.param("LiveKitServer", {"Ready": "False Ready"}, "reason of another status", id="reason"),
        pytest.param("LiveKitServer", {"Ready": "False RedisUnreachable"}, "nothing is wrong", id="not degraded"),
        pytest.param("LiveKitServer", {"readyReplicas": 0}, "no server is", id="ready without a server"),
        pytest.param("LiveKitServer", {"externalUrl": ""}, "has no URL", id="ready without a URL"),
        pytest.param("LiveKitServer", {"drainingReplicas": 1}, "some are leaving", id="up to date and leaving"),
        pytest.param("LiveKitServer", {"updatedReplicas": 0}, "these differ", id="up to date and older"),
        pytest.param("LiveKitServer", {"readyReplicas": 2}, "more than replicas", id="counts"),
        pytest.param("LiveKitServer", {"spec": {"replicas": 3}}, "and 3 are wanted", id="fewer than wanted"),
        pytest.param(
            "VoiceAgentPool",
            {**EMPTY, **STARTING, "Ready": "False KubernetesRefused"},
            "none of the pods that are wanted",
            id="agents available without any pod",
        ),
        pytest.param(
            "VoiceAgentPool",
            {**EMPTY, "desiredReplicas": 0, "Ready": "False ScaledToZero", "ProvidersAccepted": "Unknown NotAsked"},
            "nothing makes more pods",
            id="agents available and none will come",
        ),
        pytest.param(
            "VoiceAgentPool",
            {"spec": {"autoscaling": {"maxReplicas": 1}}, "freeSessions": 0},
            "no more pods may come",
            id="agents available and all are taken",
        ),
        pytest.param(
            "VoiceAgentPool",
            {**EMPTY, **STARTING, "Progressing": "False UpToDate", "AgentsAvailable": "False NoWorkerRegistered"},
            "1 are wanted",
            id="up to date with nothing running",
        ),
        pytest.param("VoiceAgentPool", {"drainingReplicas": 1}, "some are leaving", id="as wanted and leaving"),
        pytest.param("VoiceAgentPool", {"Ready": "True Ready", **EMPTY}, "no pod is", id="ready without pods"),
        pytest.param("VoiceAgentPool", {"ProvidersAccepted": "False ProviderRejected"}, "a provider is not", id="key"),
        pytest.param(
            "VoiceAgentPool", {"AgentsAvailable": "False AgentNameMismatch"}, "none of its agents can", id="name"
        ),
        pytest.param("VoiceAgentPool", {"Progressing": "False RolledBack"}, "goes nowhere", id="stuck and ready"),
        pytest.param("VoiceAgentPool", EMPTY, "every provider answers", id="providers without agents"),
        pytest.param(
            "MeetingRoom", {"AgentsReady": "False PodsFailing"}, "its agents are not ready", id="room's agents"
        ),
        pytest.param("MeetingRoom", {"AgentsReady": "Unknown Deleting"}, "nothing is known", id="not known"),
        pytest.param("MeetingRoom", {"AgentsReady": ""}, "nothing is said of its agents", id="nothing said"),
        pytest.param("MeetingRoom", {"sid": ""}, "has no id", id="open without a room"),
        pytest.param("MeetingRoom", {"agentsJoined": 1}, "1 agents have joined, and 0", id="joined"),
        pytest.param(
            "MeetingRoom",
            {"agents": [{"pool": "front-desk", "agentName": "a", "state": "Unavailable"}]},
            "one is Unavailable",
            id="unavailable",
        ),
    ],
)
def test_what_contradicts_itself(kind: str, changes: dict[str, Any], told: str) -> None:
    found = violations(kind, changed(kind, **changes))
    assert any(told in sentence for sentence in found), found


def pod(component: str, *, ready: bool = True, revision: str = "r1", owner: str = "u-it") -> Manifest:
    """Return a pod of a resource."""
    labels = {"app.kubernetes.io/component": component, "livekit-operator.dev/revision": revision}
    metadata = {"name": "p", "namespace": "team", "labels": labels, "ownerReferences": [{"uid": owner}]}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"phase": "Running", "conditions": conditions}}


def named(manifest: Manifest, name: str) -> Manifest:
    """Return a resource by another name."""
    return {**manifest, "metadata": {**manifest["metadata"], "name": name}}


VOICE, FRONT_DESK = named(SERVER, "voice"), named(POOL, "front-desk")
UNREADY_SERVER = named(changed("LiveKitServer", Ready="False Progressing"), "voice")
del UNREADY_SERVER["status"]["rooms"]
UNBORN = named(
    changed(
        "VoiceAgentPool",
        **{**EMPTY, **STARTING, "AgentsAvailable": "False NoWorkerRegistered"},
        versions=[{"revision": "r1", "sessions": 0}],
    ),
    "front-desk",
)
STUCK = named(
    changed(
        "VoiceAgentPool",
        **{**EMPTY, **STARTING, "Ready": "False PodsFailing", "AgentsAvailable": "False NoWorkerRegistered"},
    ),
    "front-desk",
)


@pytest.mark.parametrize(
    ("kind", "world", "told"),
    [
        pytest.param("LiveKitServer", {"Pod": [pod("server")]}, None, id="a server's pod is ready"),
        pytest.param("LiveKitServer", {"Pod": [pod("server", ready=False)]}, "fewer pods are ready", id="it is not"),
        pytest.param("LiveKitServer", {"Pod": [pod("server", owner="u-other")]}, "there are 0 pods", id="another's"),
        pytest.param("VoiceAgentPool", {"Pod": [pod("agent")], "LiveKitServer": [VOICE]}, None, id="an agent's pod is"),
        pytest.param("VoiceAgentPool", {"LiveKitServer": [VOICE]}, "there are 0 pods", id="an agent's pod is gone"),
        pytest.param("VoiceAgentPool", {"Pod": [pod("agent")]}, "does not exist", id="a pool's server is gone"),
        pytest.param(
            "VoiceAgentPool",
            {"Pod": [pod("agent", revision="r0")], "LiveKitServer": [VOICE]},
            "some are of r0",
            id="an older version",
        ),
        pytest.param("MeetingRoom", {"LiveKitServer": [VOICE], "VoiceAgentPool": [FRONT_DESK]}, None, id="a room is"),
        pytest.param("MeetingRoom", {"VoiceAgentPool": [FRONT_DESK]}, "does not exist", id="a room's server is gone"),
        pytest.param(
            "MeetingRoom",
            {"LiveKitServer": [UNREADY_SERVER], "VoiceAgentPool": [FRONT_DESK]},
            "LiveKitServer is not ready",
            id="a room's server is not ready",
        ),
        pytest.param(
            "MeetingRoom", {"LiveKitServer": [VOICE]}, "front-desk does not exist", id="a room's pool is gone"
        ),
        pytest.param(
            "MeetingRoom",
            {"LiveKitServer": [VOICE], "VoiceAgentPool": [UNBORN]},
            "front-desk has none",
            id="a room's pool never had a pod",
        ),
        pytest.param(
            "MeetingRoom",
            {"LiveKitServer": [VOICE], "VoiceAgentPool": [STUCK]},
            "front-desk has none",
            id="a room's pool cannot start",
        ),
    ],
)
def test_what_contradicts_the_world(kind: str, world: dict[str, list[Manifest]], told: str | None) -> None:
    found = violations(kind, GOOD[kind], world)
    assert (found == []) if told is None else any(told in sentence for sentence in found), found
