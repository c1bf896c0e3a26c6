"""Pods of a LiveKitServer: one for each server, and the short-lived one that checks a new configuration."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import (
    ANNOTATION_INPUTS,
    ANNOTATION_KEYS,
    ANNOTATION_METRICS_PORT,
    ANNOTATION_SHARED,
    ANNOTATION_SLOT_INPUTS,
    GROUP,
    KEY_API_KEY,
    KEY_KEY_FILE,
    LABEL_REVISION,
    LABEL_SERVING,
    LABEL_SLOT,
)
from livekit_operator.containers import container
from livekit_operator.errors import Blocked, Problem
from livekit_operator.manifests.metadata import (
    COMPONENT_SERVER,
    COMPONENT_SERVER_CHECK,
    Manifest,
    child,
    digest,
    labels,
    secret_variable,
    selector,
)
from livekit_operator.manifests.pod_template import apply_template
from livekit_operator.manifests.security import unprivileged_container, unprivileged_pod
from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests import secret_inputs, versions
from livekit_operator.servers.manifests.media import SlotPorts, slot_name
from livekit_operator.servers.manifests.names import child_name, is_shared, keys_secret_name

CONTAINER = "livekit-server"
_KEYS_FOLDER = posixpath.dirname(server_config.KEY_FILE)
# livekit-server refuses key files that others may read (pkg/config/config.go ValidateKeys).
_SECRET_FILE_MODE = 0o440
# A node that does not answer has lost its servers: they are replaced sooner than after Kubernetes' five minutes.
_LOST_NODE_SECONDS = 30
_CHECK_SECONDS = 120
# A server that gets SIGTERM before it has started forgets it, and runs on until its whole grace period is over
# (pkg/service/server.go Start sets `running` after 100 ms, Stop returns while it is not set).
_START_SECONDS = 1
# A server that does not even accept connections would not end its calls in an hour either.
_HUNG_GRACE_SECONDS = 30
_CHECK_RESOURCES = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}}
# Linux takes no longer variable than 128 KiB (MAX_ARG_STRLEN).
_MAX_CONFIG_BYTES = 100 * 1024
_OWN_ADDRESS = "@node-address@"
_VARIABLE = re.compile(secret_inputs.from_variable("(TURN_SERVER_[0-9]+_[A-Z]+)"))


@dataclass(frozen=True)
class ServerInputs:
    """What every server of a LiveKitServer is started with."""

    image: str
    config: dict[str, Any]
    keys_digest: str
    secrets_digest: str
    omit_ids: bool = False
    """Whether the cluster chooses the ids of users and groups."""
    unsalted: tuple[str, str] | None = None
    """Both as operators made them that knew no salt: what was started with these need not be replaced."""


@dataclass(frozen=True)
class SlotInputs:
    """What one server has for itself: ports given by its Service, an address given by its load balancer."""

    slot: int
    ports: SlotPorts | None = None
    address: str | None = None


@dataclass(frozen=True)
class PodFacts:
    """What looking at a server needs to know of how it was started, which may differ from what the spec says now."""

    shared: bool
    """Whether it finds others' rooms by Redis."""
    metrics_port: int | None
    """The port of its own metrics, None when it has none."""


def build_pod(server: LiveKitServer, inputs: ServerInputs, slot: SlotInputs, *, serving: bool) -> Manifest:
    """Return the pod of one server."""
    spec = {
        **_pod_spec(server, inputs, _slot_environment(server, slot)),
        "hostNetwork": server.spec.media.exposure == "HostNetwork",
        "terminationGracePeriodSeconds": grace_seconds(server),
    }
    metadata, spec = _overridden(server, inputs, spec)
    metadata["labels"] |= {LABEL_SLOT: str(slot.slot), **({LABEL_SERVING: "true"} if serving else {})}
    metadata["annotations"] |= {ANNOTATION_SLOT_INPUTS: slot_digest(server, slot), **_fact_annotations(server)}
    pod = child(server, COMPONENT_SERVER, "Pod", "v1", slot_name(server, slot.slot), spec=spec)
    pod["metadata"] |= metadata
    return pod


def build_check_pod(server: LiveKitServer, inputs: ServerInputs, *, small: bool = True) -> Manifest:
    """Return a pod that has livekit-server itself read a configuration, and reach Redis, then end.

    It ends well whatever it finds (cmd/server/main.go prints errors and returns): what it printed tells. Where a small
    one is refused it may ask for what a server does.
    """
    spec = _pod_spec(server, inputs, [_field("NODE_IP", "status.podIP")])
    main = container({"spec": spec}, CONTAINER)
    for name in ("ports", "readinessProbe", "livenessProbe", "lifecycle"):
        main.pop(name)
    if small:
        main["resources"] = _CHECK_RESOURCES  # beside a server that has taken what its node has
    sentinel = server.spec.redis.sentinel if server.spec.redis else None
    # Subcommands do not see the variable with Sentinel's password (cmd/server/main.go): Redis would refuse them.
    asks_redis = is_shared(server) and not (sentinel and sentinel.password_secret_ref)
    main["args"] = ["list-nodes" if asks_redis else "ports"]
    spec |= {"restartPolicy": "Never", "activeDeadlineSeconds": _CHECK_SECONDS, "dnsPolicy": "ClusterFirst"}
    metadata, spec = _overridden(server, inputs, spec)
    checked = revision(server, inputs)
    name = f"{child_name(server)}-check-{checked[:8]}"
    pod = child(server, COMPONENT_SERVER_CHECK, "Pod", "v1", name, spec=spec)
    pod["metadata"]["labels"] |= {LABEL_REVISION: checked}
    # What the user tells a mesh of the servers holds for this one; labels of theirs could have it taken for a server.
    told = {key: value for key, value in metadata["annotations"].items() if key.partition("/")[0] != GROUP}
    if told:
        pod["metadata"]["annotations"] = told
    return pod


def read_facts(server: LiveKitServer, pod: Manifest) -> PodFacts:
    """Return what a pod was started with.

    It stands in annotations. A pod of an older operator has none: there only the two lines are looked for that this
    operator has always written into the configuration, which is never parsed, for whoever may write pods may write it.
    Where neither is found, the spec says it.
    """
    annotations = pod["metadata"].get("annotations") or {}
    shared = {"true": True, "false": False}.get(annotations.get(ANNOTATION_SHARED, ""))
    if shared is not None:
        return PodFacts(shared, _port(annotations.get(ANNOTATION_METRICS_PORT, "")))
    variables = container(pod, CONTAINER).get("env") or ()
    text = next((variable.get("value") for variable in variables if variable.get("name") == "LIVEKIT_CONFIG"), None)
    if not isinstance(text, str) or not text or len(text) > _MAX_CONFIG_BYTES:
        return PodFacts(is_shared(server), server_config.metrics_port(server))
    port = re.search(r"^prometheus:\n  port: ([0-9]{1,5})$", text, re.MULTILINE)
    return PodFacts(re.search(r"^redis:$", text, re.MULTILINE) is not None, _port(port[1] if port else ""))


def _fact_annotations(server: LiveKitServer) -> dict[str, str]:
    port = server_config.metrics_port(server)
    return {
        ANNOTATION_SHARED: "true" if is_shared(server) else "false",
        **({ANNOTATION_METRICS_PORT: str(port)} if port else {}),
    }


def _port(text: str) -> int | None:
    """Return the port that a text is, None when it is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535 else None


def check_passed(output: str) -> bool:
    """Return whether the check pod's output is what it prints when all is well."""
    return "TCP Ports" in output or "IP Address" in output


def revision(server: LiveKitServer, inputs: ServerInputs) -> str:
    """Return the version of a server's pod: a digest of everything all servers are started with."""
    metadata, _ = _overridden(server, inputs, _pod_spec(server, inputs, []))
    return str(metadata["labels"][LABEL_REVISION])


def revisions(server: LiveKitServer, inputs: ServerInputs) -> frozenset[str]:
    """Return the versions that are as wanted: the present one, and the same as operators before this one named it."""
    if inputs.unsalted is None:
        return frozenset({revision(server, inputs)})
    keys, secrets = inputs.unsalted
    former = replace(inputs, keys_digest=keys, secrets_digest=secrets, unsalted=None)
    return frozenset({revision(server, inputs), revision(server, former)})


def slot_digest(server: LiveKitServer, slot: SlotInputs) -> str:
    """Return a digest of what one server has for itself."""
    return digest(_slot_environment(server, slot), 8)


def grace_seconds(server: LiveKitServer) -> int:
    """Return after how many seconds Kubernetes kills a server that has been told to terminate."""
    return max(1, server.spec.drain_timeout_seconds)


def _overridden(
    server: LiveKitServer, inputs: ServerInputs, spec: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return metadata and spec with the user's overrides, and the revision of both among the labels."""
    metadata: dict[str, Any] = {
        "labels": labels(server, COMPONENT_SERVER),
        "annotations": {ANNOTATION_INPUTS: inputs.secrets_digest, ANNOTATION_KEYS: inputs.keys_digest},
    }
    metadata, spec = apply_template(
        metadata, spec, server.spec.pod_template, container=CONTAINER, selector=selector(server, COMPONENT_SERVER)
    )
    common = [metadata, _without_slot(spec), server.spec.media.exposure]
    metadata = {**metadata, "labels": {**metadata["labels"], LABEL_REVISION: digest(common)}}
    return metadata, spec


def _without_slot(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is the same for every server, and needs a new pod when it changes."""
    main = container({"spec": spec}, CONTAINER)
    # Another check, probe or hook is no reason to replace a server.
    dropped = ("env", "args", "ports", "readinessProbe", "livenessProbe", "lifecycle")
    common = {
        key: value
        for key, value in spec.items()
        if key
        not in ("terminationGracePeriodSeconds", "hostNetwork", "dnsPolicy", "restartPolicy", "activeDeadlineSeconds")
    }
    environment = [variable for variable in main["env"] if variable["name"] not in _SLOT_VARIABLES]
    kept = {key: value for key, value in main.items() if key not in dropped}
    return {**common, "containers": [{**kept, "env": environment}]}


def _pod_spec(server: LiveKitServer, inputs: ServerInputs, slot_environment: list[dict[str, Any]]) -> dict[str, Any]:
    volumes, mounts = secret_inputs.secret_volumes(server)
    lost = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _LOST_NODE_SECONDS}
    return {
        # On the host network a pod would otherwise resolve names with the node's resolver and not find Services.
        "dnsPolicy": "ClusterFirstWithHostNet",
        # The other resolver is asked soon when one is lost with its node; 5 s would be longer than callers wait.
        "dnsConfig": {"options": [{"name": "timeout", "value": "1"}, {"name": "attempts", "value": "3"}]},
        "serviceAccountName": child_name(server),
        **unprivileged_pod(server.spec.pod_template.run_as_user, omit_ids=inputs.omit_ids),
        "tolerations": [
            {"key": "node.kubernetes.io/not-ready", **lost},
            {"key": "node.kubernetes.io/unreachable", **lost},
        ],
        "containers": [_container(server, inputs, slot_environment, mounts)],
        "volumes": [
            {
                "name": "keys",
                "secret": {
                    "secretName": keys_secret_name(server),
                    "defaultMode": _SECRET_FILE_MODE,
                    "items": [{"key": KEY_KEY_FILE, "path": KEY_KEY_FILE}],
                },
            },
            *volumes,
        ],
    }


def _container(
    server: LiveKitServer,
    inputs: ServerInputs,
    slot_environment: list[dict[str, Any]],
    secret_mounts: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": inputs.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            # The file names no key, so the one that signs webhooks comes this way (config.go GenerateCLIFlags).
            secret_variable("LIVEKIT_WEBHOOK_API_KEY", keys_secret_name(server), KEY_API_KEY),
            *secret_inputs.secret_environment(server),
            # Before the configuration, which names the address of its server.
            *slot_environment,
            {"name": "LIVEKIT_CONFIG", "value": _config_text(server, inputs.config)},
        ],
        "ports": _ports(server),
        # It reports itself unhealthy when it had no CPU for four seconds. If it is the only one, there is no other for
        # new connections, which rather wait; a server that has ended is unready at once all the same.
        "readinessProbe": {
            "httpGet": {"path": "/", "port": "signal"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 3 if is_shared(server) else 10,
        },
        # Not its health page: with Redis away that fails on every server, and calls go on without Redis.
        "livenessProbe": {
            "tcpSocket": {"port": "signal"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 5,
            "terminationGracePeriodSeconds": _HUNG_GRACE_SECONDS,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": _START_SECONDS}}},
        "resources": server.spec.resources.model_dump(exclude_defaults=True),
        "securityContext": unprivileged_container(),
        "volumeMounts": [
            {"name": "keys", "mountPath": _KEYS_FOLDER, "readOnly": True},
            *secret_mounts,
        ],
    }


def _config_text(server: LiveKitServer, config: dict[str, Any]) -> str:
    """Return the configuration as a variable's value, into which the kubelet puts the server's own address.

    TURN must relay to the media of its own server, whose address may be a private one, and to nothing else in there.
    Raises Blocked when it is longer than a variable can be.
    """
    turn = config.get("turn")
    own = not server.spec.media.discover_external_ip
    # Before that key was known, TURN relayed to private addresses too.
    if turn and own and versions.knows(server, versions.ALLOWED_PEERS):
        allowed = [*turn.get("allow_restricted_peer_cidrs", ()), f"{_OWN_ADDRESS}/{_own_prefix(server)}"]
        config = {**config, "turn": {**turn, "allow_restricted_peer_cidrs": allowed}}
    # https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    text = yaml.safe_dump(config, sort_keys=True, width=10_000).replace("$", "$$")
    text = _VARIABLE.sub(r"$(\1)", text.replace(_OWN_ADDRESS, "$(NODE_IP)"))
    if len(text.encode()) > _MAX_CONFIG_BYTES:
        raise Blocked(
            Problem(
                reasons.CONFIG_REJECTED,
                f"The configuration is longer than {_MAX_CONFIG_BYTES} bytes: shorten spec.extraConfig.",
            )
        )
    return text


def _own_prefix(server: LiveKitServer) -> int:
    return 128 if server.spec.media.node_ip and ":" in server.spec.media.node_ip else 32


def _ports(server: LiveKitServer) -> list[dict[str, Any]]:
    """Return the container's ports. Host ports are named so that the scheduler keeps two servers apart."""
    host = server.spec.media.exposure == "HostNetwork"
    return [
        {"name": name, "containerPort": port, "protocol": protocol, **({"hostPort": port} if host else {})}
        for name, protocol, port in server_config.single_ports(server)
    ]


# What a server has for itself.
_SLOT_VARIABLES = ("NODE_IP", "UDP_PORT", "LIVEKIT_RTC_TCP_PORT", "LIVEKIT_TURN_UDP_PORT")


def _slot_environment(server: LiveKitServer, slot: SlotInputs) -> list[dict[str, Any]]:
    media = server.spec.media
    variables: list[dict[str, Any]] = []
    if media.node_ip or slot.address:
        variables.append({"name": "NODE_IP", "value": media.node_ip or slot.address})
    elif not media.discover_external_ip:
        variables.append(_field("NODE_IP", "status.hostIP"))
    if media.exposure == "NodePort" and slot.ports:
        variables.append({"name": "UDP_PORT", "value": str(slot.ports.udp[0])})
        variables.append({"name": "LIVEKIT_RTC_TCP_PORT", "value": str(slot.ports.tcp or 0)})
        if slot.ports.turn_udp:
            variables.append({"name": "LIVEKIT_TURN_UDP_PORT", "value": str(slot.ports.turn_udp)})
    return variables


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
