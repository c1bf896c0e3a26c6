"""What the API server fills in, keeps and shows, by the CRDs alone."""

from typing import Any

import pytest

from tests.harness.api import Api
from tests.integration.changes import OWN_AGENT, POOL, ROOM, SERVER, Change, changed, token

GROUP_PATH = "/apis/livekit-operator.dev/v1alpha1"


@pytest.mark.parametrize("manifest", [SERVER, POOL, ROOM], ids=lambda m: m["kind"])
async def test_a_right_manifest_is_accepted(api: Api, namespace: str, manifest: dict[str, Any]) -> None:
    created = await api.create(changed(manifest, namespace, {}))
    assert created["status"] == {"observedGeneration": -1}, "an empty status would be read as Ready"


async def test_defaults_are_filled_in(api: Api, namespace: str) -> None:
    server = changed(SERVER, namespace, {"spec": {}})
    assert (await api.create(server))["spec"] == {
        "version": "v1.13.5",
        "replicas": 1,
        "media": {
            "exposure": "HostNetwork",
            "discoverExternalIp": False,
            "advertiseInternalIp": False,
            "iceLite": False,
            "allowTcpFallback": True,
        },
        "signal": {"port": 7880, "service": {}},
        "keyRotation": {"id": "", "graceSeconds": 3600},
        "room": {
            "autoCreate": True,
            "emptyTimeoutSeconds": 300,
            "departureTimeoutSeconds": 20,
            "maxParticipants": 0,
            "enableRemoteUnmute": False,
            "syncStreams": False,
        },
        "limits": {},
        "nodeSelection": {
            "kind": "any",
            "sortBy": "random",
            "algorithm": "lowest",
            "cpuLoadLimit": 0.9,
            "sysloadLimit": 0.9,
        },
        "agents": {},
        "webhooks": {},
        "logging": {"level": "info", "pionLevel": "error", "json": True},
        "drainTimeoutSeconds": 3600,
        "resources": {},
        "podTemplate": {},
    }
    pool = (await api.create(changed(POOL, namespace, {"spec.autoscaling": {}})))["spec"]
    assert pool["autoscaling"] == {
        "mode": "Internal",
        "minReplicas": 1,
        "maxReplicas": 10,
        "bufferSessions": 4,
        "scaleDownStabilizationSeconds": 300,
    }
    assert pool["rollout"] == {"maxSurge": "25%", "progressDeadlineSeconds": 600, "historyLimit": 5}
    assert (pool["sessionsPerPod"], pool["idleProcesses"], pool["drainTimeoutSeconds"]) == (4, 3, 3600)
    assert pool["agent"]["stt"]["language"] == "en-US"
    assert "model" not in pool["agent"]["stt"], "it would stand beside another provider"
    assert pool["agent"]["runner"] == "Injected"
    assert not {"turnHandling", "vad"} & pool["agent"].keys(), "beside command they would count as given"
    assert "endpointingMs" not in pool["agent"]["stt"], "it would overrule a preset"
    (await api.try_create(changed(POOL, namespace, {"metadata.name": "own", "spec.agent": OWN_AGENT}))).accepted()
    assert pool["resources"]["requests"] == {"cpu": "500m", "memory": "512Mi"}
    room = (await api.create(changed(ROOM, namespace, {"spec.tokens": token()})))["spec"]
    assert (room["kind"], room["persistent"], room["adopt"]) == ("Meeting", True, False)
    assert room["tokens"] == [{"identity": "alice", "ttlSeconds": 21600, "revoke": False}]


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ({"serverRef": {"name": "voice"}}, {"serverRef": {"name": "other"}}, "serverRef"),
        ({"serverRef": {"name": "voice"}}, {"serverRef": {"name": "voice", "namespace": "x"}}, "serverRef"),
        ({"roomName": "lobby"}, {"roomName": "other"}, "roomName"),
        ({"roomName": "lobby"}, {"roomName": None}, "roomName"),
        ({}, {"roomName": "lobby"}, "roomName"),
    ],
)
async def test_what_a_room_is_cannot_change(
    api: Api, namespace: str, before: Change, after: Change, field: str
) -> None:
    room = changed(ROOM, namespace, {f"spec.{key}": value for key, value in before.items()})
    await api.create(room)
    answer = await api.try_patch("MeetingRoom", namespace, "support-42", {"spec": after})
    assert answer.status == 422
    assert f"spec.{field}" in answer.message
    assert f"{field} cannot change; make another room" in answer.message
    await api.patch("MeetingRoom", namespace, "support-42", {"spec": {"maxParticipants": 3}})


@pytest.mark.parametrize(
    ("agent", "field"),
    [
        ({"stt": {"endpointingMs": 500}}, "stt.endpointingMs"),
        ({"turnHandling": {"minEndpointingDelayMs": 500}}, "turnHandling.minEndpointingDelayMs"),
        ({"turnHandling": {"detection": "stt"}}, "turnHandling.detection"),
    ],
)
async def test_what_was_a_default_once_does_not_overrule_a_preset_in_silence(
    api: Api, namespace: str, agent: dict[str, Any], field: str
) -> None:
    part, name = field.split(".")
    await api.create(changed(POOL, namespace, {f"spec.agent.{field}": agent[part][name]}))
    answer = await api.try_patch("VoiceAgentPool", namespace, "front-desk", {"spec": {"agent": {"preset": "Fast"}}})
    assert answer.status == 422
    assert f"spec.agent.{field}" in answer.message
    assert "say null for it, or another value" in answer.message
    both = {"preset": "Fast", part: {name: None}}
    await api.patch("VoiceAgentPool", namespace, "front-desk", {"spec": {"agent": both}})
    await api.patch("VoiceAgentPool", namespace, "front-desk", {"spec": {"agent": agent}})


async def test_the_status_is_written_through_its_own_door(api: Api, namespace: str) -> None:
    await api.create(changed(ROOM, namespace, {}))
    sneaked = await api.patch("MeetingRoom", namespace, "support-42", {"status": {"sid": "RM_1"}})
    assert "sid" not in sneaked["status"]
    written = await api.patch("MeetingRoom", namespace, "support-42", {"status": {"sid": "RM_1"}}, "status")
    assert written["status"]["sid"] == "RM_1"
    assert written["metadata"]["generation"] == 1


async def test_a_pool_is_scaled_as_everything_else_is(api: Api, namespace: str) -> None:
    await api.create(changed(POOL, namespace, {"spec.replicas": 2}))
    status = {"replicas": 1, "selector": "app.kubernetes.io/name=voice-agent"}
    await api.patch("VoiceAgentPool", namespace, "front-desk", {"status": status}, "status")
    path = f"{GROUP_PATH}/namespaces/{namespace}/voiceagentpools/front-desk/scale"
    scale = (await api.request("GET", path)).accepted()
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": "app.kubernetes.io/name=voice-agent"}
    patch = {"spec": {"replicas": 5}}
    (await api.request("PATCH", path, patch, content_type="application/merge-patch+json")).accepted()
    pool = await api.get("VoiceAgentPool", namespace, "front-desk")
    assert pool is not None
    assert pool["spec"]["replicas"] == 5


async def test_names_through_discovery(api: Api) -> None:
    found = (await api.request("GET", GROUP_PATH)).accepted()["resources"]
    resources = {resource["name"]: resource for resource in found}
    for plural, short in (("livekitservers", "lks"), ("voiceagentpools", "vap"), ("meetingrooms", "mr")):
        assert resources[plural]["shortNames"] == [short]
        assert sorted(resources[plural]["categories"]) == ["all", "livekit"]
        assert resources[plural]["namespaced"] is True
        assert f"{plural}/status" in resources
    assert "voiceagentpools/scale" in resources


async def test_columns_of_kubectl_get(api: Api, namespace: str) -> None:
    await api.create(changed(ROOM, namespace, {}))
    condition = {
        "type": "Ready", "status": "False", "reason": "ServerNotFound", "message": "LiveKitServer voice is missing.",
        "lastTransitionTime": "2026-03-01T12:00:00Z", "observedGeneration": 1,
    }  # fmt: skip
    status = {"conditions": [condition], "participants": 2, "agentsJoined": 1}
    await api.patch("MeetingRoom", namespace, "support-42", {"status": status}, "status")
    path = f"{GROUP_PATH}/namespaces/{namespace}/meetingrooms"
    table = (await api.request("GET", path, accept="application/json;as=Table;g=meta.k8s.io;v=v1")).accepted()
    shown = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    assert shown == ["Name", "Ready", "Reason", "Server", "Participants", "Agents", "Age"]
    [row] = table["rows"]
    cells = dict(zip([column["name"] for column in table["columnDefinitions"]], row["cells"], strict=True))
    assert cells["Ready"] == "False"
    assert cells["Reason"] == "ServerNotFound"
    assert (cells["Server"], cells["Participants"], cells["Agents"]) == ("voice", 2, 1)
    assert cells["Message"] == "LiveKitServer voice is missing."
