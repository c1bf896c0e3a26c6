"""What is unusual and right is accepted by the API server, by the CRDs alone."""

from typing import Any

import pytest

from tests.fakes.agent_pods import EVERYTHING
from tests.harness.api import Api
from tests.integration.changes import (
    MUX,
    NODE_PORTS,
    OWN_AGENT,
    PLACE,
    POOL,
    ROOM,
    SCHEDULE,
    SERVER,
    TURN_TLS,
    Change,
    changed,
    schedules,
    token,
    variables,
)

TEAM = {name: part for name, part in POOL["spec"]["agent"].items() if name not in ("instructions", "greeting")}
AGENTS = [
    {"name": "desk", "instructions": "x", "greeting": "Hello.", "handoffTo": ["billing", "lab"]},
    {"name": "billing", "description": "Invoices.", "instructions": "x", "handoffTo": ["desk"]},
    {"name": "lab", "instructions": "x"},
]
TOOLS = {
    "builtIn": ["EndCall", "SendData", "SendDtmf", "TransferCall"],
    "transferTo": [
        {"name": "reception", "description": "A person.", "to": "tel:+15550100"},
        {"name": "lab", "to": "sip:lab.1%2B@[2001:db8::1]:5060"},
    ],
    "http": [
        {
            "name": "find_slots",
            "description": "Finds slots.",
            "url": "http://[::1]:8080/slots/{day}?all={all}",
            "method": "DELETE",
            "parameters": {
                "type": "object",
                "properties": {"day": {"type": "string"}, "all": {"type": "boolean"}},
                "required": ["day", "all"],
            },
            "headers": [{"name": "Authorization", "scheme": "Bearer", "secretKeyRef": {"name": "x", "key": "y"}}],
            "timeoutSeconds": 60,
        }
    ],
}


@pytest.mark.parametrize(
    ("manifest", "change"),
    [
        pytest.param(SERVER, {MUX: {"start": 7882, "end": 7882}}, id="shared ports stand in for the range"),
        pytest.param(SERVER, {"spec.media.exposure": "NodePort", "spec.turn": {}}, id="TURN on a node port"),
        pytest.param(
            SERVER,
            {"spec.media": NODE_PORTS, "spec.turn": {"relayRange": {"start": 3000, "end": 4000}}},
            id="TURN's relays beside node ports, and about the port it has elsewhere",
        ),
        pytest.param(SERVER, {"spec.media": {"exposure": "LoadBalancer", "loadBalancer": {}}}, id="load balancer"),
        pytest.param(
            SERVER,
            {"spec.media": {"discoverExternalIp": True, "advertiseInternalIp": True, "stunServers": ["[::1]:65535"]}},
            id="behind a NAT",
        ),
        pytest.param(
            SERVER,
            {"spec.media.ips": {"includes": ["2001:db8::/32", "10.0.0.0/8"]}, "spec.media.nodeIp": "2001:db8::1"},
            id="addresses of both families",
        ),
        pytest.param(SERVER, {"spec.turn": {**TURN_TLS, "udp": False}}, id="TURN over TLS alone"),
        pytest.param(SERVER, {"spec.replicas": 3, "spec.redis": {"managed": {}}}, id="three servers"),
        pytest.param(
            SERVER,
            {"spec.signal.port": 6789, "spec.redis": {"address": "r:6379"}, "spec.prometheus": {"port": 9000}},
            id="metrics elsewhere",
        ),
        pytest.param(
            SERVER, {"spec.redis": {"managed": {}}, "spec.media.tcpPort": 6789}, id="metrics that nobody asked for"
        ),
        pytest.param(
            SERVER,
            {"spec.media": {"exposure": "NodePort", "discoverExternalIp": True, "advertiseInternalIp": True}},
            id="addresses of nodes found",
        ),
        pytest.param(
            SERVER,
            {
                "spec.media": {
                    "turnServers": [{"host": "203.0.113.60", "port": 3478, "credentialsSecretRef": {"name": "turn"}}]
                }
            },
            id="another's TURN",
        ),
        pytest.param(SERVER, {"spec.signal.service": {"type": "LoadBalancer", "port": 443}}, id="a Service's port"),
        pytest.param(
            SERVER,
            {"spec.region": "here", "spec.nodeSelection": {"kind": "regionaware", "regions": [PLACE]}},
            id="a region",
        ),
        pytest.param(SERVER, {"spec.image": "host:5000/x@sha256:" + "a" * 64}, id="a digest"),
        pytest.param(SERVER, {"spec.signal.externalUrl": "wss://[2001:db8::1]:443/x?y"}, id="URL with an address"),
        pytest.param(
            SERVER,
            {"spec.resources": {"requests": {"cpu": 0.5}, "limits": {"cpu": 1, "memory": "1.5Gi"}}},
            id="quantities",
        ),
        pytest.param(SERVER, {"spec.allowedNamespaces": ["*", "a-b"]}, id="all namespaces"),
        pytest.param(SERVER, {"spec.allowedPoolNamespaces": ["*", "a-b"]}, id="pools of all namespaces"),
        pytest.param(POOL, {"spec.allowedNamespaces": ["*", "a-b"]}, id="rooms of all namespaces"),
        pytest.param(SERVER, {"metadata.name": "a" * 50}, id="the longest name"),
        pytest.param(POOL, {"spec.autoscaling": {}}, id="scaled by the defaults"),
        pytest.param(POOL, {"spec.autoscaling": {"minReplicas": 0, "bufferSessions": "25%"}}, id="to zero and back"),
        pytest.param(POOL, {"spec.replicas": 0, "spec.autoscaling": {"mode": "External"}}, id="scaled by others"),
        pytest.param(
            POOL,
            schedules(
                start="22:00", end="06:30", days=["Friday", "Saturday"], timeZone="America/Argentina/Buenos_Aires"
            ),
            id="over midnight",
        ),
        pytest.param(
            POOL,
            {"spec.autoscaling": {"schedules": [SCHEDULE] * 32}, "spec.rollout": {"maxSurge": "100%"}},
            id="many schedules",
        ),
        pytest.param(
            POOL,
            {"spec.rollout": {"maxSurge": 1, "rollbackTo": "0123456789", "canary": {"weight": 99, "analysis": {}}}},
            id="a canary",
        ),
        pytest.param(
            POOL,
            {
                "spec.agent.stt": {"provider": "openai", "baseUrl": "http://speaches/v1", "model": "whisper"},
                "spec.agent.llm": {"baseUrl": "http://ollama/v1", "model": "qwen3:8b"},
                "spec.agent.tts": {
                    "provider": "openai",
                    "baseUrl": "http://kokoro/v1",
                    "model": "kokoro",
                    "voice": "af_heart",
                    "responseFormat": "wav",
                },
            },
            id="no cloud",
        ),
        pytest.param(
            POOL,
            {
                "spec.agent.stt.fallbacks": [{"provider": "openai", "baseUrl": "http://speaches/v1", "model": "w"}],
                "spec.agent.tts.fallbacks": [{"provider": "openai", "apiKeySecretRef": {"name": "p", "key": "k"}}] * 3,
            },
            id="fallbacks",
        ),
        pytest.param(
            POOL,
            {
                "spec.agent.tts": {
                    "provider": "plugin",
                    "plugin": {
                        "package": "livekit.plugins.elevenlabs",
                        "options": {"voice_settings": {"stability": 0.5}},
                        "secretOptions": [{"name": "api_key", "secretKeyRef": {"name": "x", "key": "y"}}],
                    },
                }
            },
            id="a plugin",
        ),
        pytest.param(
            POOL,
            {"spec.agent": {"instructions": "x", "realtime": {"apiKeySecretRef": {"name": "x", "key": "y"}}}},
            id="a realtime model",
        ),
        pytest.param(POOL, {"spec.agent.tools": TOOLS}, id="tools"),
        pytest.param(POOL, {"spec.agent": {**TEAM, "agents": AGENTS}}, id="agents who hand over"),
        pytest.param(POOL, {"spec.roomPrefix": "Café agent: "}, id="a prefix of rooms' names"),
        pytest.param(POOL, {"spec.roomPrefix": ""}, id="every room"),
        pytest.param(POOL, {"spec.agent": OWN_AGENT, "spec.metricsPort": 9091}, id="an agent of one's own"),
        pytest.param(
            POOL,
            {"spec.agent": {**OWN_AGENT, "runtime": "Node", "env": variables("NODE_OPTIONS")}},
            id="an agent of one's own for Node.js",
        ),
        pytest.param(
            POOL,
            {"spec.agent": {**OWN_AGENT, "runner": "None", "args": ["-v"], "runAsUser": 10001}},
            id="an agent of one's own, with nothing put in",
        ),
        pytest.param(
            POOL,
            {
                "spec.agent": {
                    **OWN_AGENT,
                    "env": [
                        {"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}},
                        *variables("PYTHONPATH", "LLM_API_KEY", *(f"V{n}" for n in range(61))),
                    ],
                    "proxy": {"noProxy": ["10.0.0.0/8", ".example.com"]},
                }
            },
            id="many variables, and a proxy with a password",
        ),
        pytest.param(
            POOL,
            {"spec.agent.proxy": {"httpsProxy": "http://[2001:db8::1]:3128", "httpProxy": "http://proxy.example/"}},
            id="proxies",
        ),
        pytest.param(POOL, {"spec.agent.image": "mirror.example.com/agent@sha256:" + "a" * 64}, id="a mirrored agent"),
        pytest.param(
            POOL,
            {
                "spec.agent.vad": {
                    "minSpeechDurationMs": 0,
                    "minSilenceDurationMs": 10000,
                    "activationThreshold": 0.01,
                },
                "spec.agent.audioOnly": False,
                "spec.agent.noiseSuppression": True,
            },
            id="a detector of voices, and video",
        ),
        *(
            pytest.param(
                POOL, {"spec.agent.preset": preset, "spec.agent.stt.endpointingMs": 500}, id=f"{preset} agents"
            )
            for preset in ("Fast", "Balanced", "Thorough")
        ),
        pytest.param(
            POOL,
            {
                "spec.agent.preset": "Fast",
                "spec.agent.vad": {"minSilenceDurationMs": 250},
                "spec.agent.turnHandling": {"detection": "semantic", "preemptiveSpeech": False},
            },
            id="a model that ends turns",
        ),
        pytest.param(POOL, {"spec.agent.turnHandling": {"minEndpointingDelayMs": 4000}}, id="one delay of two"),
        pytest.param(
            POOL,
            {"spec.agent.limits": {"maxCallSeconds": 900, "warnBeforeSeconds": 60, "maxSilenceSeconds": 30}},
            id="calls that end",
        ),
        pytest.param(
            POOL, {"spec.agent.neverSay": ["x" * 64, "Acme Corp", "C++", "敏感词"] * 16}, id="words never said"
        ),
        pytest.param(POOL, {"spec.podTemplate": {"nodeSelector": {"pool": "voice"}}}, id="placed"),
        pytest.param(
            POOL, {f"spec.{part}": value for part, value in EVERYTHING.items()}, id="all that a Deployment could say"
        ),
        pytest.param(
            POOL,
            {
                "spec.agent": {**OWN_AGENT, "envFrom": [{"secretRef": {"name": "a"}}] * 16},
                "spec.podTemplate": {
                    "containers": [{"name": f"c{n}", "image": f"a:{n}"} for n in range(16)],
                    "initContainers": [{"name": f"i{n}", "image": f"a:{n}"} for n in range(16)],
                    "hostAliases": [{"ip": "::1", "hostnames": ["a"] * 32}] * 64,
                },
            },
            id="as much as there may be beside an agent",
        ),
        pytest.param(POOL, {"spec.replicas": 0}, id="none"),
        pytest.param(
            POOL,
            {
                "spec.startupTimeoutSeconds": 1200,
                "spec.initializeTimeoutSeconds": 3600,
                "spec.rollout": {"progressDeadlineSeconds": 3600},
            },
            id="a model of many gigabytes",
        ),
        pytest.param(POOL, {"spec.drainTimeoutSeconds": 5, "spec.terminationGracePeriodSeconds": 5}, id="grace"),
        pytest.param(ROOM, {"spec.tokens": token(identity="Éve B. <eve@example.com>")}, id="any identity"),
        pytest.param(
            ROOM, {"spec.tokens": [{"identity": f"i{n}", "secretName": f"s{n}"} for n in range(100)]}, id="100 tokens"
        ),
        pytest.param(ROOM, {"spec.metadata": "x" * 65536}, id="much metadata"),
        pytest.param(
            ROOM,
            {"spec.agents": [{"poolRef": {"name": "a"}, "dispatch": "Never", "attributes": {}}]},
            id="an agent that others call",
        ),
        pytest.param(
            ROOM,
            {
                "spec.generateTokens": {"count": 500, "identityPrefix": "Gast ", "role": "Guest"},
                "spec.tokens": token(identity="Gast 1a") + token(identity="Gast"),
            },
            id="many guests beside listed ones of like names",
        ),
        pytest.param(
            ROOM,
            {
                "spec.kind": "LiveStream",
                "spec.persistent": False,
                "spec.expiresAt": "2026-03-01T12:00:00.5+01:00",
                "spec.tokens": token(
                    role="Moderator",
                    notBefore="2026-03-01T10:59:59Z",
                    grants={"canPublishSources": [], "roomCreate": True},
                    sip={"call": True},
                    secret={"keys": {"token": "T", "url": "U"}, "labels": {"a": ""}, "annotations": {"b": "c d"}},
                    roomConfiguration={"agents": [{"agentName": "x", "attributes": {"k": "v"}}]},
                ),
            },
            id="everything",
        ),
    ],
)
async def test_what_is_unusual_but_right(api: Api, namespace: str, manifest: dict[str, Any], change: Change) -> None:
    (await api.try_create(changed(manifest, namespace, change), dryRun="All")).accepted()
