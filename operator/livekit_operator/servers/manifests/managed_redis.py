"""The small Redis that `spec.redis.managed` asks for: several servers can share it, to try things out.

It keeps nothing: rooms live on servers, and what servers say of them in Redis they say again. Its password is in a
Secret, in the form that Redis reads, and nowhere else: not in arguments, the environment or probes.
"""

from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import ANNOTATION_APPLIED, ANNOTATION_INPUTS, LABEL_COMPONENT
from livekit_operator.containers import container
from livekit_operator.manifests.metadata import (
    COMPONENT_REDIS,
    COMPONENT_SERVER,
    COMPONENT_SERVER_CHECK,
    Manifest,
    child,
    digest,
    labels,
    opaque_secret,
    selector,
)
from livekit_operator.manifests.security import unprivileged_container, unprivileged_pod
from livekit_operator.servers.manifests import redis_departure
from livekit_operator.servers.manifests.names import child_name

KEY_PASSWORD = "password"  # noqa: S105 - the name of a key, not a secret
CONFIG_FILE = "redis.conf"
CONTAINER = "redis"
PORT = 6379
_CONFIG_FOLDER = "/etc/redis"
_DATA_FOLDER = "/data"
_SECRET_FILE_MODE = 0o440
# Kubernetes looks at a namespace that is being deleted again after half of the longest of its pods' times, so this one
# is hardly longer than a pod has when nothing is said of it.
_AFTER_SERVERS_SECONDS = 30


def redis_name(server: LiveKitServer) -> str:
    """Return the name of everything that belongs to the managed Redis."""
    return f"{server.metadata.name}-redis"


def redis_address(server: LiveKitServer) -> str:
    """Return the managed Redis' address in the cluster, as `host:port`."""
    return address(server.metadata.namespace, server.metadata.name)


def address(namespace: str, server: str) -> str:
    """Return the address of the managed Redis of a server of this name, as `host:port`."""
    return f"{server}-redis.{namespace}.svc:{PORT}"


def build_managed_redis(server: LiveKitServer, password: str, image: str, *, omit_ids: bool = False) -> list[Manifest]:
    """Return everything that makes the managed Redis; nothing when none is asked for.

    Its pod has the ServiceAccount of the servers.
    """
    if server.spec.redis is None or server.spec.redis.managed is None:
        return []
    secret = _build_secret(server, password)
    return [
        secret,
        _build_deployment(server, image, secret, omit_ids),
        _build_service(server),
        _build_network_policy(server),
    ]


def _build_secret(server: LiveKitServer, password: str) -> Manifest:
    """Return the Secret with the password: alone for the servers, in the configuration for Redis.

    Source: https://redis.io/docs/latest/operate/oss_and_stack/management/config-file/
    """
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "bind * -::*",  # every address; those of IPv6 may be missing
        f"port {PORT}",
        f'requirepass "{quoted}"',
        "protected-mode yes",
        'save ""',
        "appendonly no",
        f"dir {_DATA_FOLDER}",
    ]
    values = {KEY_PASSWORD: password, CONFIG_FILE: "\n".join(lines) + "\n"}
    return opaque_secret(server, COMPONENT_REDIS, redis_name(server), values)


def _build_deployment(server: LiveKitServer, image: str, secret: Manifest, omit_ids: bool) -> Manifest:
    managed = server.spec.redis and server.spec.redis.managed
    resources = managed.resources.model_dump(exclude_defaults=True) if managed else {}
    spec: dict[str, Any] = {
        "serviceAccountName": child_name(server),
        **unprivileged_pod(server.spec.pod_template.run_as_user, omit_ids=omit_ids),
        # As long as its servers may drain, and a while to end after them.
        "terminationGracePeriodSeconds": server.spec.drain_timeout_seconds + _AFTER_SERVERS_SECONDS,
        "containers": [_container(resources, image)],
        "volumes": [
            {
                "name": "config",
                "secret": {
                    "secretName": redis_name(server),
                    "defaultMode": _SECRET_FILE_MODE,
                    "items": [{"key": CONFIG_FILE, "path": CONFIG_FILE}],
                },
            },
            {"name": "data", "emptyDir": {}},
        ],
    }
    given = server.spec.pod_template
    # Where servers may run it may as well; what else podTemplate says is about servers.
    placement = {
        "imagePullSecrets": [{"name": item.name} for item in given.image_pull_secrets],
        "nodeSelector": dict(given.node_selector),
        "tolerations": list(given.tolerations),
    }
    spec |= {name: value for name, value in placement.items() if value}
    template = {
        "metadata": {
            "labels": labels(server, COMPONENT_REDIS),
            # Redis reads its configuration only when it starts.
            "annotations": {ANNOTATION_INPUTS: digest(secret["data"], 8)},
        },
        "spec": spec,
    }
    body = {
        "replicas": 1,
        "selector": {"matchLabels": selector(server, COMPONENT_REDIS)},
        # Never two at once: servers of one would not find rooms of the other.
        "strategy": {"type": "Recreate"},
        "template": template,
    }
    return child(server, COMPONENT_REDIS, "Deployment", "apps/v1", redis_name(server), spec=body)


def _container(resources: dict[str, Any], image: str) -> dict[str, Any]:
    probe = {"tcpSocket": {"port": "redis"}}
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["redis-server", f"{_CONFIG_FOLDER}/{CONFIG_FILE}"],
        "ports": [{"name": "redis", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 2},
        "livenessProbe": {**probe, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "lifecycle": redis_departure.hook(f"{_CONFIG_FOLDER}/{CONFIG_FILE}", PORT),
        "resources": resources,
        "securityContext": unprivileged_container(),
        "volumeMounts": [
            {"name": "config", "mountPath": _CONFIG_FOLDER, "readOnly": True},
            {"name": "data", "mountPath": _DATA_FOLDER},
        ],
    }


def keep_running(desired: Manifest, known: Manifest | None) -> Manifest:
    """Return the Deployment to apply where one is `known`: how Redis terminates is alone no reason to start another.

    What was applied is known by its digest. One with another drain timeout, or of an operator that knew no hook, stays
    as it is until something else changes.
    """
    if known is None:
        return desired
    runs = known["spec"]["template"]["spec"]
    hook = container({"spec": runs}, CONTAINER).get("lifecycle")
    template = desired["spec"]["template"]
    spec = {name: value for name, value in template["spec"].items() if name != "terminationGracePeriodSeconds"}
    main = {name: value for name, value in container(template, CONTAINER).items() if name != "lifecycle"}
    if hook is not None:
        spec["terminationGracePeriodSeconds"] = runs.get("terminationGracePeriodSeconds")
        main["lifecycle"] = hook
    kept = {**desired, "spec": {**desired["spec"], "template": {**template, "spec": {**spec, "containers": [main]}}}}
    applied = (known["metadata"].get("annotations") or {}).get(ANNOTATION_APPLIED)
    return kept if digest(kept) == applied else desired


def _build_service(server: LiveKitServer) -> Manifest:
    port = {"name": "redis", "port": PORT, "targetPort": "redis", "protocol": "TCP"}
    spec = {"type": "ClusterIP", "selector": selector(server, COMPONENT_REDIS), "ports": [port]}
    return child(server, COMPONENT_REDIS, "Service", "v1", redis_name(server), spec=spec)


def _build_network_policy(server: LiveKitServer) -> Manifest:
    """Return the policy by which only this server's pods, and the ones that check for it, reach Redis.

    On the host network they come from addresses of nodes, which no selector of pods matches and which change as nodes
    come and go: then the port is open to the cluster, and the password is what protects it.
    """
    components = {"key": LABEL_COMPONENT, "operator": "In", "values": [COMPONENT_SERVER, COMPONENT_SERVER_CHECK]}
    common = {key: value for key, value in selector(server, COMPONENT_SERVER).items() if key != LABEL_COMPONENT}
    rule: dict[str, Any] = {"ports": [{"protocol": "TCP", "port": PORT}]}
    if server.spec.media.exposure != "HostNetwork":
        rule["from"] = [{"podSelector": {"matchLabels": common, "matchExpressions": [components]}}]
    spec = {
        "podSelector": {"matchLabels": selector(server, COMPONENT_REDIS)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [rule],
        "egress": [],
    }
    return child(server, COMPONENT_REDIS, "NetworkPolicy", "networking.k8s.io/v1", redis_name(server), spec=spec)
