"""What the API server refuses, fills in and shows, by the CRDs alone."""

import copy
from typing import Any

import pytest

from tests.fakes import manifests
from tests.integration.api import Api

GROUP_PATH = "/apis/livekit-operator.dev/v1alpha1"
Change = dict[str, Any]


def changed(manifest: dict[str, Any], namespace: str, spec: Change) -> dict[str, Any]:
    result = copy.deepcopy(manifest)
    result["metadata"]["namespace"] = namespace
    for path, value in spec.items():
        node = result
        *parents, last = path.split(".")
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    return result


SERVER, POOL, ROOM = manifests.server(), manifests.pool(), manifests.room()
RANGE = "spec.media.udp.portRange"
MUX = "spec.media.udp.muxPorts"
LONG = "a" * 51
GATEWAY = {"parentRefs": [{"name": "g"}], "host": "a.b"}
TURN_TLS = {"domain": "turn.example.com", "tls": {"external": True}}
NODE_PORTS = {"exposure": "NodePort", "nodePorts": {"start": 30000, "end": 30010}}
OWN_AGENT = manifests.own_agent()
SCHEDULE = {"start": "08:00", "end": "18:00", "minReplicas": 2}
PLACE = {"name": "here", "latitude": 1, "longitude": 2.5}


def schedules(**values: Any) -> Change:
    return {"spec.autoscaling": {"schedules": [{**SCHEDULE, **values}]}}


def variables(*names: str, **values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": "x", **values} for name in names]


def token(**values: Any) -> list[dict[str, Any]]:
    return [{"identity": "alice", **values}]


WRONG = [
    ("range reversed", SERVER, {RANGE: {"start": 50200, "end": 50100}}, RANGE, "start must not be above end"),
    ("shared ports reversed", SERVER, {MUX: {"start": 9, "end": 8}}, MUX, "start must not be above end"),
    ("range with the signalling port", SERVER, {RANGE: {"start": 7000, "end": 7880}}, "spec.media.udp",
     "must not contain the signalling port"),
    ("range with the ICE/TCP port", SERVER, {RANGE: {"start": 7881, "end": 7890}}, "spec.media.udp",
     "must not contain the ICE/TCP port"),
    ("both kinds of ports", SERVER, {RANGE: {"start": 1, "end": 2}, MUX: {"start": 1, "end": 2}}, "spec.media.udp",
     "set exactly one of portRange and muxPorts"),
    ("no kind of ports", SERVER, {"spec.media": {"udp": {}}}, "spec.media.udp", "set exactly one of"),
    ("one port for two", SERVER, {"spec.media.tcpPort": 7880}, "spec.media.tcpPort", "must differ"),
    ("no port", SERVER, {"spec.media.tcpPort": 0}, "spec.media.tcpPort", "greater than or equal to 1"),
    ("port too high", SERVER, {"spec.signal.port": 65536}, "spec.signal.port", "less than or equal to 65535"),
    ("URL that is no WebSocket", SERVER, {"spec.signal.externalUrl": "https://x"}, "spec.signal.externalUrl", "match"),
    ("URL without a host", SERVER, {"spec.signal.externalUrl": "wss://"}, "spec.signal.externalUrl", "match"),
    ("version that moves", SERVER, {"spec.version": "latest"}, "spec.version", "match"),
    ("two servers", SERVER, {"spec.replicas": 2}, "spec.replicas", "more than one replica needs redis"),
    ("too many servers", SERVER, {"spec.replicas": 101}, "spec.replicas", "less than or equal to 100"),
    ("moving image", SERVER, {"spec.image": "x/y:latest"}, "spec.image", "not the moving tag latest"),
    ("image without a tag", SERVER, {"spec.image": "host:5000/x"}, "spec.image", "name a version or a digest"),
    ("URL with a port that cannot be", SERVER, {"spec.signal.externalUrl": "wss://x:99999"},
     "spec.signal.externalUrl", "port that can be"),
    ("URL with a password", SERVER, {"spec.signal.externalUrl": "wss://u:p@x"}, "spec.signal.externalUrl", "match"),
    ("ingress and gateway", SERVER, {"spec.signal.ingress": {"host": "a.b"}, "spec.signal.gateway": GATEWAY},
     "spec.signal.gateway", "at most one of ingress and gateway"),
    ("two kinds of certificate", SERVER,
     {"spec.signal.ingress": {"host": "a.b", "tls": {"secretName": "s", "issuerRef": {"name": "i"}}}},
     "spec.signal.ingress.tls", "exactly one of secretName and issuerRef"),
    ("no kind of certificate", SERVER, {"spec.signal.ingress": {"host": "a.b", "tls": {}}},
     "spec.signal.ingress.tls", "exactly one of secretName and issuerRef"),
    ("addresses without the host network", SERVER,
     {"spec.signal.bindAddresses": ["10.0.0.1"], "spec.media.exposure": "NodePort"},
     "spec.signal.bindAddresses", "is for media.exposure HostNetwork"),
    ("address that is none", SERVER, {"spec.signal.bindAddresses": ["1.2.3"]}, "spec.signal.bindAddresses[0]", "oneOf"),
    ("chosen ports with NodePort", SERVER, {"spec.media": {"exposure": "NodePort", "tcpPort": 1}}, "spec.media.udp",
     "set nodePorts or leave the choice"),
    ("node ports on the host network", SERVER, {"spec.media.nodePorts": {"start": 1, "end": 2}},
     "spec.media.nodePorts", "is for exposure NodePort"),
    ("balancer on the host network", SERVER, {"spec.media.loadBalancer": {}}, "spec.media.loadBalancer",
     "is for exposure LoadBalancer"),
    ("balancer with a range", SERVER, {"spec.media": {"exposure": "LoadBalancer", "udp": {"portRange": {
        "start": 1, "end": 2}}}}, "spec.media.udp", "at most 16 muxPorts"),
    ("balancer with many ports", SERVER, {"spec.media": {"exposure": "LoadBalancer", "udp": {"muxPorts": {
        "start": 1, "end": 17}}}}, "spec.media.udp", "at most 16 muxPorts"),
    ("address found and given", SERVER, {"spec.media": {"discoverExternalIp": True, "nodeIp": "192.0.2.1"}},
     "spec.media.nodeIp", "at most one of"),
    ("address found for a balancer", SERVER, {"spec.media": {"discoverExternalIp": True, "exposure": "LoadBalancer"}},
     "spec.media.discoverExternalIp", "a load balancer's address is known"),
    ("a port for no ICE over TCP", SERVER,
     {"spec.media": {"exposure": "LoadBalancer", "tcpPort": 7881, "loadBalancer": {"iceTcp": False}}},
     "spec.media.tcpPort", "is for loadBalancer.iceTcp"),
    ("another's TURN without a login", SERVER, {"spec.media": {"turnServers": [{"host": "t.example.com", "port": 1}]}},
     "spec.media.turnServers[0].credentialsSecretRef", "Required"),
    ("another's TURN by a URL", SERVER,
     {"spec.media": {"turnServers": [{"host": "turn:t", "port": 1, "credentialsSecretRef": {"name": "t"}}]}},
     "spec.media.turnServers[0].host", "should match"),
    ("address found, and one port", SERVER,
     {"spec.media": {"discoverExternalIp": True, "udp": {"portRange": {"start": 9, "end": 9}}}},
     "spec.media.udp", "more than one port"),
    ("internal address beside none", SERVER, {"spec.media.advertiseInternalIp": True},
     "spec.media.advertiseInternalIp", "is for discoverExternalIp"),
    ("interfaces of a pod", SERVER, {"spec.media": {"exposure": "NodePort", "interfaces": {"includes": ["eth0"]}}},
     "spec.media.interfaces", "are for HostNetwork"),
    ("addresses of a pod", SERVER, {"spec.media": {"exposure": "LoadBalancer", "ips": {"includes": ["::/0"]}}},
     "spec.media.interfaces", "are for HostNetwork"),
    ("STUN for nothing", SERVER, {"spec.media.stunServers": ["stun:3478"]}, "spec.media.stunServers",
     "is for discoverExternalIp"),
    ("STUN without a port", SERVER, {"spec.media": {"discoverExternalIp": True, "stunServers": ["stun"]}},
     "spec.media.stunServers[0]", "match"),
    ("STUN with a port that cannot be", SERVER,
     {"spec.media": {"discoverExternalIp": True, "stunServers": ["[::1]:65536"]}},
     "spec.media.stunServers[0]", "must not be above 65535"),
    ("network that is none", SERVER, {"spec.media.ips": {"excludes": ["10.0.0.0/33"]}}, "spec.media.ips.excludes[0]",
     "cidr"),
    ("node address that is none", SERVER, {"spec.media.nodeIp": "256.1.1.1"}, "spec.media.nodeIp", "oneOf"),
    ("TURN over nothing", SERVER, {"spec.turn": {"udp": False}}, "spec.turn", "set udp, tls, or both"),
    ("TURN over TLS without a name", SERVER, {"spec.turn": {"tls": {"external": True}}}, "spec.turn.domain",
     "needs a domain"),
    ("TURN over TLS without a dot", SERVER, {"spec.turn": {"domain": "turn", "tls": {"external": True}}},
     "spec.turn.domain", "a domain with a dot"),
    ("TURN without a certificate", SERVER, {"spec.turn": {"domain": "t.x", "tls": {}}}, "spec.turn.tls",
     "exactly one of certificate and external"),
    ("TURN with two certificates", SERVER,
     {"spec.turn": {"domain": "t.x", "tls": {"external": True, "certificate": {"secretName": "s"}}}},
     "spec.turn.tls", "exactly one of certificate and external"),
    ("port of no TURN over UDP", SERVER, {"spec.turn": {**TURN_TLS, "udp": False, "udpPort": 3478}},
     "spec.turn.udpPort", "udpPort is for udp"),
    ("TURN's port with NodePort", SERVER, {"spec.turn": {"udpPort": 3478}, "spec.media.exposure": "NodePort"},
     "spec.turn.udpPort", "is a node port"),
    ("TURN's port among media's", SERVER, {"spec.turn": {"udpPort": 50100}}, "spec.turn.udpPort",
     "must not be one of the media's UDP ports"),
    ("TURN's port is media's", SERVER, {"spec.turn": {"udpPort": 7882}, "spec.media.exposure": "LoadBalancer"},
     "spec.turn.udpPort", "must not be one of the media's UDP ports"),
    ("TURN's relays among media's", SERVER, {"spec.turn": {"relayRange": {"start": 50200, "end": 60000}}},
     "spec.turn.relayRange", "must not share ports"),
    ("TURN's relays among node ports", SERVER,
     {"spec.turn": {"relayRange": {"start": 30001, "end": 60000}}, "spec.media": NODE_PORTS},
     "spec.turn.relayRange", "must not share ports"),
    ("TURN's port among its relays", SERVER, {"spec.turn": {"udpPort": 40000}}, "spec.turn.relayRange",
     "must not be one of the relay range"),
    ("TURN's network that is none", SERVER, {"spec.turn": {"deniedPeerCidrs": ["::::/1"]}},
     "spec.turn.deniedPeerCidrs[0]", "cidr"),
    ("TLS on the signalling port", SERVER, {"spec.turn": {**TURN_TLS, "tls": {"external": True, "port": 7880}}},
     "spec.turn.tls.port", "must differ"),
    ("metrics on the signalling port", SERVER, {"spec.prometheus": {"port": 7880}}, "spec.prometheus.port",
     "must differ"),
    ("metrics on TURN's port", SERVER, {"spec.prometheus": {"port": 5349}, "spec.turn": TURN_TLS},
     "spec.prometheus.port", "must differ"),
    ("signalling among node ports", SERVER, {"spec.signal.port": 30000, "spec.media": NODE_PORTS},
     "spec.media.nodePorts", "must not contain the ports of signalling"),
    ("metrics among node ports", SERVER, {"spec.prometheus": {"port": 30005}, "spec.media": NODE_PORTS},
     "spec.media.nodePorts", "must not contain the ports of signalling"),
    ("TURN among node ports", SERVER,
     {"spec.turn": {**TURN_TLS, "tls": {"external": True, "port": 30010}}, "spec.media": NODE_PORTS},
     "spec.media.nodePorts", "must not contain the ports of signalling"),
    ("no Redis", SERVER, {"spec.redis": {}}, "spec.redis", "exactly one of managed, address, sentinel and cluster"),
    ("two Redis", SERVER, {"spec.redis": {"managed": {}, "address": "r:1"}}, "spec.redis", "exactly one of managed"),
    ("managed Redis with a user", SERVER, {"spec.redis": {"managed": {}, "username": "u"}}, "spec.redis.managed",
     "takes no further settings"),
    ("cluster with databases", SERVER, {"spec.redis": {"cluster": {"addresses": ["a:1"]}, "db": 1}}, "spec.redis.db",
     "only one database"),
    ("Redis without a port", SERVER, {"spec.redis": {"address": "redis"}}, "spec.redis.address", "match"),
    ("region nobody knows", SERVER,
     {"spec.region": "x", "spec.nodeSelection": {"kind": "regionaware", "regions": [PLACE]}},
     "spec.region", "among nodeSelection.regions"),
    ("no region", SERVER, {"spec.nodeSelection": {"kind": "regionaware", "regions": [PLACE]}}, "spec.region",
     "regionaware needs a region"),
    ("no regions", SERVER, {"spec.region": "x", "spec.nodeSelection": {"kind": "regionaware"}},
     "spec.nodeSelection.regions", "regionaware needs regions"),
    ("delays reversed", SERVER, {"spec.room.playoutDelay": {"minMs": 2, "maxMs": 1}}, "spec.room.playoutDelay.minMs",
     "must not be above maxMs"),
    ("rotation of given keys", SERVER, {"spec.keysSecretRef": {"name": "k"}, "spec.keyRotation": {"id": "1"}},
     "spec.keyRotation.id", "are rotated by changing that Secret"),
    ("webhook with a password", SERVER, {"spec.webhooks": {"urls": ["https://u:p@x"]}}, "spec.webhooks.urls[0]",
     "match"),
    ("unknown exposure", SERVER, {"spec.media.exposure": "Magic"}, "spec.media.exposure", "Unsupported value"),
    ("negative drain", SERVER, {"spec.drainTimeoutSeconds": -1}, "spec.drainTimeoutSeconds", "greater than or equal"),
    ("namespace that none can have", SERVER, {"spec.allowedNamespaces": ["A B"]}, "spec.allowedNamespaces[0]", "match"),
    ("no pools", SERVER, {"spec.allowedPoolNamespaces": ["A B"]}, "spec.allowedPoolNamespaces[0]", "match"),
    ("rooms of no namespace", POOL, {"spec.allowedNamespaces": ["*", "x*"]}, "spec.allowedNamespaces[1]", "match"),
    ("namespace twice", SERVER, {"spec.allowedNamespaces": ["a", "a"]}, "spec.allowedNamespaces[1]", "Duplicate"),
    ("Secret that none can be", SERVER, {"spec.keysSecretRef": {"name": "a..b"}}, "spec.keysSecretRef.name", "match"),
    ("unknown quantity", SERVER, {"spec.resources": {"limits": {"cpu": "many"}}}, "spec.resources.limits.cpu", "match"),
    ("name too long", SERVER, {"metadata.name": LONG}, "metadata.name", "50"),
    ("name that no Service can have", SERVER, {"metadata.name": "1a"}, "metadata.name", "match"),
    ("unknown field", SERVER, {"spec.wrong": 1}, "spec.wrong", "unknown field"),
    ("least above most", POOL, {"spec.autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
     "spec.autoscaling.minReplicas", "must not be above maxReplicas"),
    ("least above the default most", POOL, {"spec.autoscaling": {"minReplicas": 11}}, "spec.autoscaling.minReplicas",
     "must not be above maxReplicas"),
    ("fixed and scaled", POOL, {"spec.replicas": 1, "spec.autoscaling": {}}, "spec.replicas", "not both"),
    ("killed before drained", POOL, {"spec.terminationGracePeriodSeconds": 10}, "spec.terminationGracePeriodSeconds",
     "must not be below drainTimeoutSeconds"),
    ("no instructions", POOL, {"spec.agent.instructions": ""}, "spec.agent.instructions", "should be at least 1"),
    ("unknown provider", POOL, {"spec.agent.llm.provider": "magic"}, "spec.agent.llm.provider", "Unsupported value"),
    ("unknown sample rate", POOL, {"spec.agent.tts.sampleRate": 1}, "spec.agent.tts.sampleRate", "Unsupported value"),
    ("too hot", POOL, {"spec.agent.llm.temperature": 3}, "spec.agent.llm.temperature", "less than or equal to 2"),
    ("no key", POOL, {"spec.agent.stt.apiKeySecretRef": {"name": "x"}}, "spec.agent.stt.apiKeySecretRef.key",
     "Required value"),
    ("too short a silence", POOL, {"spec.agent.vad": {"minSilenceDurationMs": 9}},
     "spec.agent.vad.minSilenceDurationMs", "greater than or equal to 10"),
    ("speech that never is", POOL, {"spec.agent.vad": {"activationThreshold": 1}},
     "spec.agent.vad.activationThreshold", "must be above 0 and below 1"),
    ("nothing but speech", POOL, {"spec.agent.vad": {"activationThreshold": 0}},
     "spec.agent.vad.activationThreshold", "must be above 0 and below 1"),
    ("speech of no length", POOL, {"spec.agent.vad": {"minSpeechDurationMs": -1}},
     "spec.agent.vad.minSpeechDurationMs", "greater than or equal to 0"),
    ("delays reversed", POOL, {"spec.agent.turnHandling": {"minEndpointingDelayMs": 4000}},
     "spec.agent.turnHandling.minEndpointingDelayMs", "must not be above maxEndpointingDelayMs"),
    ("name with a space", POOL, {"spec.agentName": "front desk"}, "spec.agentName", "match"),
    ("no capacity", POOL, {"spec.sessionsPerPod": 0}, "spec.sessionsPerPod", "greater than or equal to 1"),
    ("unknown field inside", POOL, {"spec.agent.stt.wrong": 1}, "spec.agent.stt.wrong", "unknown field"),
    ("all of a number and a scale", POOL, {"spec.autoscaling": {"mode": "External"}}, "spec.replicas",
     "External needs replicas"),
    ("unknown mode", POOL, {"spec.autoscaling": {"mode": "Magic"}}, "spec.autoscaling.mode", "Unsupported value"),
    ("part of a session", POOL, {"spec.autoscaling": {"bufferSessions": "some"}}, "spec.autoscaling.bufferSessions",
     "match"),
    ("fewer than no sessions", POOL, {"spec.autoscaling": {"bufferSessions": -1}}, "spec.autoscaling.bufferSessions",
     "greater than or equal to 0"),
    ("patience without end", POOL, {"spec.autoscaling": {"scaleDownStabilizationSeconds": 3601}},
     "spec.autoscaling.scaleDownStabilizationSeconds", "less than or equal to 3600"),
    ("hour that no day has", POOL, schedules(start="24:00"), "spec.autoscaling.schedules[0].start", "match"),
    ("hour without minutes", POOL, schedules(end="18"), "spec.autoscaling.schedules[0].end", "match"),
    ("hours of no length", POOL, schedules(end="08:00"), "spec.autoscaling.schedules[0].end", "start and end must"),
    ("unknown day", POOL, schedules(days=["Mon"]), "spec.autoscaling.schedules[0].days[0]", "Unsupported value"),
    ("day twice", POOL, schedules(days=["Monday", "Monday"]), "spec.autoscaling.schedules[0].days[1]", "Duplicate"),
    ("time zone that none can be", POOL, schedules(timeZone="../Berlin"),
     "spec.autoscaling.schedules[0].timeZone", "match"),
    ("schedule above most", POOL, schedules(minReplicas=11), "spec.autoscaling.schedules",
     "must not be above maxReplicas"),
    ("no canary", POOL, {"spec.rollout": {"canary": {"weight": 0}}}, "spec.rollout.canary.weight", "equal to 1"),
    ("canary for all", POOL, {"spec.rollout": {"canary": {"weight": 100}}}, "spec.rollout.canary.weight",
     "less than or equal to 99"),
    ("canary without a weight", POOL, {"spec.rollout": {"canary": {}}}, "spec.rollout.canary.weight", "Required value"),
    ("no surge", POOL, {"spec.rollout": {"maxSurge": 0}}, "spec.rollout.maxSurge", "greater than or equal to 1"),
    ("surge of nothing", POOL, {"spec.rollout": {"maxSurge": "0%"}}, "spec.rollout.maxSurge", "match"),
    ("surge that is no share", POOL, {"spec.rollout": {"maxSurge": "2"}}, "spec.rollout.maxSurge", "match"),
    ("deadline too short", POOL, {"spec.rollout": {"progressDeadlineSeconds": 9}},
     "spec.rollout.progressDeadlineSeconds", "equal to 10"),
    ("no history", POOL, {"spec.rollout": {"historyLimit": 0}}, "spec.rollout.historyLimit", "equal to 1"),
    ("revision that none can be", POOL, {"spec.rollout": {"rollbackTo": "HEAD~1"}}, "spec.rollout.rollbackTo", "match"),
    ("moving agent", POOL, {"spec.agent.image": "x/y:latest"}, "spec.agent.image", "not the moving tag latest"),
    ("agent without a tag", POOL, {"spec.agent.image": "x/y"}, "spec.agent.image", "name a version or a digest"),
    ("command without an image", POOL, {"spec.agent": {"command": ["python"]}}, "spec.agent.image",
     "command needs an image"),
    ("empty command", POOL, {"spec.agent": {**OWN_AGENT, "command": []}}, "spec.agent.command", "at least 1"),
    ("arguments of nothing", POOL, {"spec.agent.args": ["start"]}, "spec.agent.args", "args need a command"),
    *[(f"own agent with {field}", POOL, {"spec.agent": {**OWN_AGENT, field: value}}, f"spec.agent.{field}",
       f"{field} is for the stock agent")
      for field, value in (("instructions", "x"), ("greeting", "x"), ("vad", {}), ("turnHandling", {}),
                           ("audioOnly", True),
                           *((part, POOL["spec"]["agent"][part]) for part in ("stt", "llm", "tts")))],
    *[(f"stock agent without {field}", POOL,
       {"spec.agent": {k: v for k, v in POOL["spec"]["agent"].items() if k != field}}, f"spec.agent.{field}",
       f"{field} is required unless command")
      for field in ("instructions", "stt", "llm", "tts")],
    ("stock agent without its runner", POOL, {"spec.agent.runner": "None"}, "spec.agent.runner",
     "runner None is for an agent of your own"),
    ("unknown runner", POOL, {"spec.agent": {**OWN_AGENT, "runner": "Magic"}}, "spec.agent.runner",
     "Unsupported value"),
    ("stock agent of another user", POOL, {"spec.agent.runAsUser": 2000}, "spec.agent.runAsUser", "an image of your"),
    ("root", POOL, {"spec.agent": {**OWN_AGENT, "runAsUser": 0}}, "spec.agent.runAsUser", "equal to 1"),
    ("root for all", POOL, {"spec.podTemplate": {"runAsUser": 0}}, "spec.podTemplate.runAsUser", "equal to 1"),
    ("root for servers", SERVER, {"spec.podTemplate": {"runAsUser": 0}}, "spec.podTemplate.runAsUser", "equal to 1"),
    *[(f"variable {name}", POOL, {"spec.agent": {**OWN_AGENT, "env": variables(name)}}, "spec.agent.env[0].name",
       "the operator sets this variable itself")
      for name in ("LIVEKIT_URL", "LIVEKIT_API_SECRET", "LIVEKIT_WORKER_TOKEN", "NUM_CPUS", "HOME", "NO_PROXY")],
    ("key of the stock agent", POOL, {"spec.agent.env": variables("TZ", "STT_API_KEY")}, "spec.agent.env",
     "the stock agent's own variables"),
    ("two values", POOL, {"spec.agent.env": variables("TZ", valueFrom={"fieldRef": {"fieldPath": "x"}})},
     "spec.agent.env[0].valueFrom", "at most one of value and valueFrom"),
    ("path from elsewhere", POOL,
     {"spec.agent": {**OWN_AGENT, "env": [{"name": "PYTHONPATH", "valueFrom": {"configMapKeyRef": {}}}]}},
     "spec.agent.env[0].valueFrom", "PYTHONPATH takes only a value"),
    ("variable without a name", POOL, {"spec.agent.env": [{"value": "x"}]}, "spec.agent.env[0].name", "Required value"),
    ("variable that none can be", POOL, {"spec.agent.env": variables("A=B")}, "spec.agent.env[0].name", "match"),
    ("proxy with a password", POOL, {"spec.agent.proxy": {"httpsProxy": "http://u:p@proxy:3128"}},
     "spec.agent.proxy.httpsProxy", "belongs into a Secret"),
    ("proxy that is none", POOL, {"spec.agent.proxy": {"httpProxy": "proxy:3128"}}, "spec.agent.proxy.httpProxy",
     "match"),
    ("two hosts in one", POOL, {"spec.agent.proxy": {"noProxy": ["a,b"]}}, "spec.agent.proxy.noProxy[0]", "match"),
    ("two proxies", POOL,
     {"spec.agent": {**OWN_AGENT, "proxy": {"httpProxy": "http://p:1"}, "env": variables("HTTPS_PROXY")}},
     "spec.agent.env", "either in proxy or in env"),
    ("provider with a password", POOL, {"spec.agent.llm.baseUrl": "https://u:p@x/v1"}, "spec.agent.llm.baseUrl",
     "match"),
    ("provider with a query", POOL, {"spec.agent.tts.baseUrl": "https://x/v1?key=1"}, "spec.agent.tts.baseUrl",
     "match"),
    ("metrics on the worker's port", POOL, {"spec.metricsPort": 8081}, "spec.metricsPort", "must differ from"),
    ("prefix of another namespace's rooms", POOL, {"spec.roomPrefix": "team-b/voice-"}, "spec.roomPrefix", "match"),
    ("prefix of every room", POOL, {"spec.roomPrefix": ""}, "spec.roomPrefix", "should be at least 1"),
    ("metrics on no port", POOL, {"spec.metricsPort": 0}, "spec.metricsPort", "equal to 1"),
    ("unknown role", ROOM, {"spec.tokens": token(role="Boss")}, "spec.tokens[0].role", "Unsupported value"),
    ("empty identity", ROOM, {"spec.tokens": token(identity="")}, "spec.tokens[0].identity", "should be at least 1"),
    ("identity twice", ROOM, {"spec.tokens": token() + token()}, "spec.tokens[1]", "Duplicate value"),
    ("Secret twice", ROOM, {"spec.tokens": token(secretName="s") + token(identity="bob", secretName="s")},
     "spec.tokens", "two tokens must not share a Secret"),
    ("Secret of a listed and a generated identity", ROOM,
     {"spec.tokens": token(identity="guest-7"), "spec.generateTokens": {"count": 1}}, "spec.tokens",
     "one that generateTokens makes"),
    ("too many tokens", ROOM, {"spec.tokens": [{"identity": f"i{n}"} for n in range(101)]}, "spec.tokens", "100"),
    ("too many guests", ROOM, {"spec.generateTokens": {"count": 501}}, "spec.generateTokens.count", "equal to 500"),
    ("no guests", ROOM, {"spec.generateTokens": {"count": 0}}, "spec.generateTokens.count", "equal to 1"),
    ("unknown source", ROOM, {"spec.tokens": token(grants={"canPublishSources": ["phone"]})},
     "spec.tokens[0].grants.canPublishSources[0]", "Unsupported value"),
    ("unknown grant", ROOM, {"spec.tokens": token(grants={"canFly": True})}, "spec.tokens[0].grants.canFly",
     "unknown field"),
    ("keys by both", ROOM, {"spec.tokens": token(secret={"style": "Env", "keys": {"token": "t"}})},
     "spec.tokens[0].secret.keys", "named by keys or chosen by style"),
    ("key twice", ROOM, {"spec.tokens": token(secret={"keys": {"token": "t", "url": "t"}})},
     "spec.tokens[0].secret.keys", "must not share a key"),
    ("no token in the Secret", ROOM, {"spec.tokens": token(secret={"keys": {"url": "u"}})},
     "spec.tokens[0].secret.keys.token", "Required value"),
    ("key that none can be", ROOM, {"spec.tokens": token(secret={"keys": {"token": "a b"}})},
     "spec.tokens[0].secret.keys.token", "match"),
    ("label that none can be", ROOM, {"spec.tokens": token(secret={"labels": {"a": "b c"}})},
     "spec.tokens[0].secret.labels.a", "match"),
    ("life of years", ROOM, {"spec.tokens": token(ttlSeconds=31536001)}, "spec.tokens[0].ttlSeconds",
     "equal to 31536000"),
    ("no moment", ROOM, {"spec.tokens": token(notBefore="tomorrow")}, "spec.tokens[0].notBefore", "match"),
    ("moment without a zone", ROOM, {"spec.expiresAt": "2026-03-01T12:00:00"}, "spec.expiresAt", "match"),
    ("thirteenth month", ROOM, {"spec.expiresAt": "2026-13-01T12:00:00Z"}, "spec.expiresAt", "date-time"),
    ("token after the end", ROOM,
     {"spec.expiresAt": "2026-03-01T12:00:00Z", "spec.tokens": token(notBefore="2026-03-01T13:00:00+01:00")},
     "spec.tokens", "before the room ends"),
    ("guests after the end", ROOM,
     {"spec.expiresAt": "2026-03-01T12:00:00Z",
      "spec.generateTokens": {"count": 1, "notBefore": "2026-03-01T12:00:01Z"}},
     "spec.generateTokens", "before the room ends"),
    ("unknown kind", ROOM, {"spec.kind": "Party"}, "spec.kind", "Unsupported value"),
    ("delays the wrong way round", ROOM, {"spec.playoutDelay": {"minMs": 2, "maxMs": 1}}, "spec.playoutDelay.minMs",
     "must not be above maxMs"),
    ("much too much metadata", ROOM, {"spec.metadata": "x" * 65537}, "spec.metadata", "65536"),
    ("agent without a name", ROOM, {"spec.agentDispatches": [{}]}, "spec.agentDispatches[0].agentName",
     "Required value"),
    ("life too short", ROOM, {"spec.tokens": token(ttlSeconds=59)}, "spec.tokens[0].ttlSeconds", "equal to 60"),
    ("no life at all", ROOM, {"spec.tokens": token(ttlSeconds=0)}, "spec.tokens[0].ttlSeconds", "equal to 60"),
    ("guests' life of years", ROOM, {"spec.generateTokens": {"count": 1, "ttlSeconds": 31536001}},
     "spec.generateTokens.ttlSeconds", "equal to 31536000"),
    ("endless identity", ROOM, {"spec.tokens": token(identity="i" * 257)}, "spec.tokens[0].identity", "256"),
    ("identity of two lines", ROOM, {"spec.tokens": token(identity="a\nb")}, "spec.tokens[0].identity", "match"),
    ("guests without a name", ROOM, {"spec.generateTokens": {"count": 1, "identityPrefix": ""}},
     "spec.generateTokens.identityPrefix", "at least 1"),
    ("Secret that none can be", ROOM, {"spec.tokens": token(secretName="A_b")}, "spec.tokens[0].secretName", "match"),
    ("endless name", ROOM, {"spec.roomName": "r" * 257}, "spec.roomName", "256"),
    ("no name at all", ROOM, {"spec.roomName": ""}, "spec.roomName", "at least 1"),
    ("much too much of one attribute", ROOM, {"spec.tokens": token(attributes={"a": "x" * 16385})},
     "spec.tokens[0].attributes.a", "16384"),
    ("negative timeout", ROOM, {"spec.emptyTimeoutSeconds": -1}, "spec.emptyTimeoutSeconds", "equal to 1"),
    ("negative departure", ROOM, {"spec.departureTimeoutSeconds": -1}, "spec.departureTimeoutSeconds", "equal to 1"),
    ("negative size", ROOM, {"spec.maxParticipants": -1}, "spec.maxParticipants", "equal to 0"),
    ("no server", ROOM, {"spec": {}}, "spec.serverRef", "Required value"),
    ("server that none can be", ROOM, {"spec.serverRef.name": "a.-b"}, "spec.serverRef.name", "match"),
    ("pool twice", ROOM, {"spec.agents": [{"poolRef": {"name": "a"}}, {"poolRef": {"name": "a"}}]}, "spec.agents",
     "only once"),
    ("unknown moment", ROOM, {"spec.agents": [{"poolRef": {"name": "a"}, "dispatch": "Now"}]},
     "spec.agents[0].dispatch", "Unsupported value"),
    ("metadata for nobody's call", ROOM,
     {"spec.agents": [{"poolRef": {"name": "a"}, "dispatch": "Never", "metadata": "x"}]},
     "spec.agents[0].dispatch", "an agent that the operator calls"),
    ("attributes for nobody's call", ROOM,
     {"spec.agents": [{"poolRef": {"name": "a"}, "dispatch": "Never", "attributes": {"a": "b"}}]},
     "spec.agents[0].dispatch", "an agent that the operator calls"),
    ("control character", ROOM, {"spec.roomName": "a\tb"}, "spec.roomName", "match"),
    ("resource's name too long", ROOM, {"metadata.name": "r" * 51}, "metadata.name", "50"),
    ("capitals in a name", ROOM, {"metadata.name": "Lobby"}, "metadata.name", "RFC 1123"),
    ("dots in a name", ROOM, {"metadata.name": "a.b"}, "metadata.name", "match"),
    ("nothing", ROOM, {"spec": None}, "spec", "Required value"),
]  # fmt: skip


@pytest.mark.parametrize(("manifest", "change", "field", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
async def test_a_wrong_manifest_is_refused_by_its_field(
    api: Api, namespace: str, manifest: dict[str, Any], change: Change, field: str, words: str
) -> None:
    wrong = changed(manifest, namespace, change)
    if wrong["spec"] is None:
        del wrong["spec"]
    answer = await api.try_create(wrong, dryRun="All")
    assert answer.status in (400, 422), answer.body
    assert field in answer.message
    assert words in answer.message


@pytest.mark.parametrize("manifest", [SERVER, POOL, ROOM], ids=lambda m: m["kind"])
async def test_a_right_manifest_is_accepted(api: Api, namespace: str, manifest: dict[str, Any]) -> None:
    created = await api.create(changed(manifest, namespace, {}))
    assert created["status"] == {"observedGeneration": -1}, "an empty status would be read as Ready"


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
        pytest.param(SERVER, {"spec.resources": {"limits": {"cpu": 1, "memory": "1.5Gi"}}}, id="quantities"),
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
        pytest.param(POOL, {"spec.roomPrefix": "Café agent: "}, id="a prefix of rooms' names"),
        pytest.param(POOL, {"spec.agent": OWN_AGENT, "spec.metricsPort": 9091}, id="an agent of one's own"),
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
            },
            id="a detector of voices, and video",
        ),
        pytest.param(POOL, {"spec.podTemplate": {"nodeSelector": {"pool": "voice"}}}, id="placed"),
        pytest.param(POOL, {"spec.replicas": 0}, id="none"),
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
    assert pool["agent"]["stt"]["model"] == "nova-3"
    assert pool["agent"]["runner"] == "Injected"
    assert "turnHandling" not in pool["agent"], "beside command it would count as given"
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
