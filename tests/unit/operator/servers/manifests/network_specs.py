"""Specs by which servers are reached in this way or that."""

from typing import Any

Spec = dict[str, Any]
POD = {
    "app.kubernetes.io/name": "livekit-server",
    "app.kubernetes.io/instance": "voice",
    "app.kubernetes.io/component": "server",
}
SERVING = {**POD, "livekit-operator.dev/serving": "true"}
NODE_PORT: Spec = {"media": {"exposure": "NodePort"}, "signal": {}}
LOAD_BALANCER: Spec = {"media": {"exposure": "LoadBalancer"}, "signal": {}}
HOST: Spec = {"signal": {}}
INGRESS: Spec = {"host": "voice.example.com"}
GATEWAY: Spec = {"host": "voice.example.com", "parentRefs": [{"name": "public"}]}
TURN_TLS: Spec = {"domain": "turn.example.com", "udp": False, "tls": {"external": True}}
CLOUD: Spec = {
    "annotations": {"cloud.example/kind": "network"},
    "loadBalancerClass": "cloud.example/lb",
    "sourceRanges": ["192.0.2.0/24"],
}


def balanced(**point: str) -> Spec:
    return {"spec": {}, "status": {"loadBalancer": {"ingress": [point]}}}
