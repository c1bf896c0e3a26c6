"""Children of a LiveKitServer: keys, configuration, Deployment, Service."""

from typing import Any

import yaml

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import ANNOTATION_INPUTS, KEY_API_KEY, KEY_API_SECRET
from livekit_operator.resources.metadata import (
    COMPONENT_SERVER,
    Manifest,
    child,
    digest,
    labels,
    opaque_secret,
    selector,
)

CONFIG_FILE = "livekit.yaml"
_CONFIG_FOLDER = "/etc/livekit"
# Any unprivileged user will do: the official image names none.
_USER = 1000


def child_name(server: LiveKitServer) -> str:
    """Return the name of the Deployment, Service and ConfigMap."""
    return f"{server.metadata.name}-livekit"


def keys_secret_name(server: LiveKitServer) -> str:
    """Return the name of the Secret with the API key, given or generated."""
    reference = server.spec.keys_secret_ref
    return reference.name if reference else f"{server.metadata.name}-keys"


def internal_url(server: LiveKitServer) -> str:
    """Return the URL for pods in the cluster."""
    return f"ws://{child_name(server)}.{server.metadata.namespace}.svc:{server.spec.signal.port}"


def external_url(server: LiveKitServer, node_address: str | None) -> str | None:
    """Return the URL for clients: the one asked for, else that of a node, None while there is none."""
    if server.spec.signal.external_url:
        return server.spec.signal.external_url
    if node_address is None:
        return None
    host = f"[{node_address}]" if ":" in node_address else node_address
    return f"ws://{host}:{server.spec.signal.port}"


def image(server: LiveKitServer, repository: str) -> str:
    """Return the image to run."""
    return server.spec.image or f"{repository}:{server.spec.version}"


def ports(server: LiveKitServer) -> list[dict[str, Any]]:
    """Return the firewall list: what clients must reach on the nodes."""
    media = server.spec.media
    udp = media.udp.port_range or media.udp.mux_ports
    lines: list[dict[str, Any]] = [
        {"name": "signal", "protocol": "TCP", "port": server.spec.signal.port},
        {"name": "ice-tcp", "protocol": "TCP", "port": media.tcp_port},
    ]
    if udp:
        lines.append({"name": "media", "protocol": "UDP", "port": udp.start, "endPort": udp.end})
    return lines


def build_keys_secret(server: LiveKitServer, api_key: str, api_secret: str) -> Manifest:
    """Return the Secret that holds generated keys."""
    values = {KEY_API_KEY: api_key, KEY_API_SECRET: api_secret}
    return opaque_secret(server, COMPONENT_SERVER, keys_secret_name(server), values)


def build_config(server: LiveKitServer, webhook_url: str | None) -> dict[str, Any]:
    """Return livekit-server's configuration, without keys.

    Source: https://github.com/livekit/livekit/blob/v1.13.5/config-sample.yaml
    """
    media = server.spec.media
    rtc: dict[str, Any] = {"tcp_port": media.tcp_port, "use_external_ip": media.discover_external_ip}
    if media.udp.mux_ports:
        rtc["udp_port"] = f"{media.udp.mux_ports.start}-{media.udp.mux_ports.end}"
    elif media.udp.port_range:
        rtc |= {"port_range_start": media.udp.port_range.start, "port_range_end": media.udp.port_range.end}
    config: dict[str, Any] = {
        "port": server.spec.signal.port,
        "rtc": rtc,
        "logging": {"json": True, "level": server.spec.logging.level},
        # The server offers jobs only to workers whose load is below this, 0.7 by default; agents here count sessions
        # and are full at 1.0, so a lower value would leave their last sessions unused.
        "agents": {"target_load": 1.0},
    }
    if webhook_url:
        config["webhook"] = {"urls": [webhook_url]}
    return config


def build_config_map(server: LiveKitServer, config: dict[str, Any]) -> Manifest:
    """Return the ConfigMap with the configuration file."""
    data = {CONFIG_FILE: yaml.safe_dump(config, sort_keys=True)}
    return child(server, COMPONENT_SERVER, "ConfigMap", "v1", child_name(server), data=data)


def build_service(server: LiveKitServer) -> Manifest:
    """Return the Service that pods and the operator reach the signalling through."""
    port = {"name": "signal", "port": server.spec.signal.port, "targetPort": "signal", "protocol": "TCP"}
    spec = {"type": "ClusterIP", "selector": selector(server, COMPONENT_SERVER), "ports": [port]}
    return child(server, COMPONENT_SERVER, "Service", "v1", child_name(server), spec=spec)


def build_deployment(server: LiveKitServer, config: dict[str, Any], *, repository: str, keys_digest: str) -> Manifest:
    """Return the Deployment. It changes, and so restarts servers, only with what a server reads at its start."""
    template = {
        "metadata": {
            "labels": labels(server, COMPONENT_SERVER),
            "annotations": {ANNOTATION_INPUTS: digest([config, keys_digest])},
        },
        "spec": {
            "hostNetwork": True,
            # On the host network a pod would otherwise resolve names with the node's resolver and not find Services.
            "dnsPolicy": "ClusterFirstWithHostNet",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": max(1, server.spec.drain_timeout_seconds),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(server, repository, webhooks="webhook" in config)],
            "volumes": [{"name": "config", "configMap": {"name": child_name(server)}}],
        },
    }
    spec = {
        "replicas": server.spec.replicas,
        "selector": {"matchLabels": selector(server, COMPONENT_SERVER)},
        # Two servers cannot hold the same ports of a node: the old one must leave first, or a rollout would hang.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "template": template,
    }
    return child(server, COMPONENT_SERVER, "Deployment", "apps/v1", child_name(server), spec=spec)


def _container(server: LiveKitServer, repository: str, *, webhooks: bool) -> dict[str, Any]:
    signal, media = server.spec.signal, server.spec.media
    probe = {"httpGet": {"path": "/", "port": "signal"}}
    return {
        "name": "livekit-server",
        "image": image(server, repository),
        "imagePullPolicy": "IfNotPresent",
        "args": ["--config", f"{_CONFIG_FOLDER}/{CONFIG_FILE}"],
        "env": _environment(server, webhooks=webhooks),
        # Host ports are named so that the scheduler keeps two servers apart.
        "ports": [
            {"name": "signal", "containerPort": signal.port, "hostPort": signal.port, "protocol": "TCP"},
            {"name": "ice-tcp", "containerPort": media.tcp_port, "hostPort": media.tcp_port, "protocol": "TCP"},
        ],
        "readinessProbe": {**probe, "periodSeconds": 2, "timeoutSeconds": 2},
        # 406 while node statistics are late is a pause, not a death: five in a row are.
        "livenessProbe": {**probe, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 5},
        "resources": server.spec.resources.model_dump(exclude_defaults=True),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "config", "mountPath": _CONFIG_FOLDER, "readOnly": True}],
    }


def _environment(server: LiveKitServer, *, webhooks: bool) -> list[dict[str, Any]]:
    secret = keys_secret_name(server)
    variables = [
        secret_variable("SERVER_API_KEY", secret, KEY_API_KEY),
        secret_variable("SERVER_API_SECRET", secret, KEY_API_SECRET),
        # The kubelet puts the two together; the value is in no manifest.
        {"name": "LIVEKIT_KEYS", "value": "$(SERVER_API_KEY): $(SERVER_API_SECRET)"},
    ]
    if webhooks:
        # The configuration names no key, so the one that signs webhooks comes this way (config.go GenerateCLIFlags).
        variables.append(secret_variable("LIVEKIT_WEBHOOK_API_KEY", secret, KEY_API_KEY))
    if not server.spec.media.discover_external_ip:
        node_address = {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}
        variables.append({"name": "NODE_IP", "valueFrom": node_address})
    if server.spec.region:
        variables.append({"name": "LIVEKIT_REGION", "value": server.spec.region})
    return variables


def secret_variable(name: str, secret: str, key: str) -> dict[str, Any]:
    """Return an environment variable whose value stays in its Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
