"""Pods of a VoiceAgentPool: one worker each, of the stock agent or of an image of the user's own.

stock agent           its image answers for itself on the status port
own image, Injected   an init container of the stock image puts the runner into a folder that Python finds first, and
                      Node.js is told to load
own image, None       only the worker's own port is asked
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from livekit_operator.api.common import Resources
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import (
    AGENT_STATUS_PORT,
    ANNOTATION_DO_NOT_DISRUPT,
    ANNOTATION_INPUTS,
    ANNOTATION_KEYS,
    ANNOTATION_SAFE_TO_EVICT,
    KEY_API_KEY,
    KEY_API_SECRET,
    LABEL_BUSY,
    LABEL_REVISION,
    LABEL_TRACK,
    WORKER_PORT,
)
from livekit_operator.manifests.metadata import (
    COMPONENT_AGENT,
    Manifest,
    child,
    digest,
    labels,
    secret_variable,
    selector,
)
from livekit_operator.manifests.pod_template import apply_template
from livekit_operator.manifests.security import unprivileged_container, unprivileged_pod
from livekit_operator.pools.manifests.additions import container_rights, user_of, with_additions
from livekit_operator.pools.manifests.children import agent_name, agent_secrets, child_name, grace_seconds
from livekit_operator.pools.manifests.leaving import build_leaving_hook
from livekit_operator.pools.manifests.versions import (
    CONFIG_FILE,
    PoolVersion,
    deployment_of,
    version_map_name,
    with_template,
)

CONTAINER = "agent"
RUNNER_CONTAINER = "runner"
_CONFIG_FOLDER = "/etc/voice-agent"
_RUNNER_FOLDER = "/opt/livekit-runner"
# What has a runtime load the runner: variable -> value, and what stands between that and the user's own. Every Node.js
# takes --require, while one that does not know --import would not start.
_LOADERS = {
    "PYTHONPATH": (_RUNNER_FOLDER, ":"),
    "NODE_OPTIONS": (f"--require {_RUNNER_FOLDER}/node/preload.cjs", " "),
}
_RUNTIMES = {"PYTHONPATH": "Python", "NODE_OPTIONS": "Node"}
# Which of the agent's resources the container that copies the runner requests: it ends before the agent starts, so it
# costs nothing extra, and fits a LimitRange of the namespace if the agent does.
_RUNNER_RESOURCES = ("cpu", "memory", "ephemeral-storage")
# An image of the user's own may load anything before its worker answers.
_STOCK_START_SECONDS = 60
_OWN_START_SECONDS = 300
# A node that does not answer has lost its agents: they are replaced sooner than after Kubernetes' five minutes.
_LOST_NODE_SECONDS = 30
# What a worker reads and the operator does not always set: empty, they say nothing (livekit-agents worker.py).
_UNSAID = ("LIVEKIT_AGENT_DEPLOYMENT", "LIVEKIT_AGENT_NAME", "LIVEKIT_WORKER_TOKEN")
_CLUSTER_HOSTS = ("localhost", "127.0.0.1", ".svc", ".cluster.local")


@dataclass(frozen=True)
class PodInputs:
    """What a pool's pods need from outside the pool, the same for every version: URL of the server, digests of keys.

    `secrets_digest` is of the values of all Secrets that decide whether a pod must be replaced.
    """

    server_url: str
    secrets_digest: str
    key_digest: str
    shown_key: str = ""
    """The digest of the key that others may read, made with the server's salt."""
    omit_ids: bool = False
    """Whether the cluster chooses the ids of users and groups."""


def inputs_digest(pool: VoiceAgentPool, inputs: PodInputs) -> str:
    """Return the digest of what a pod reads at its start and is no part of its version."""
    return digest([agent_name(pool), inputs.server_url, inputs.secrets_digest, inputs.key_digest])


def build_pod(pool: VoiceAgentPool, version: PoolVersion, track: str, inputs: PodInputs, suffix: str) -> Manifest:
    """Return one pod of a version; `suffix` makes its name.

    It has the pool's present agent name, whatever that was when the version was new: rooms ask for that name.
    Raises Blocked when `spec.podTemplate` collides with what an agent needs.
    """
    then = with_template(pool, version.template)
    metadata: dict[str, Any] = {
        "labels": {**labels(pool, COMPONENT_AGENT), LABEL_REVISION: version.revision, LABEL_TRACK: track},
        "annotations": {
            ANNOTATION_INPUTS: inputs_digest(pool, inputs),
            ANNOTATION_KEYS: inputs.shown_key,
            **{name: value for name, value in idle_annotations(then).items() if value},
        },
    }
    made = _pod_spec(then, version, _environment(then, version, track, inputs), omit_ids=inputs.omit_ids)
    metadata, spec = apply_template(
        metadata,
        with_additions(made, then.spec.pod_template),
        then.spec.pod_template,
        container=CONTAINER,
        selector=selector(pool, COMPONENT_AGENT),
    )
    name = f"{pool.metadata.name}-{version.revision[:5]}-{suffix}"
    pod = child(pool, COMPONENT_AGENT, "Pod", "v1", name, spec=spec)
    pod["metadata"] |= metadata
    return pod


def is_pod_name(pool: VoiceAgentPool, pod: Manifest) -> bool:
    """Return whether a pod has a name that `build_pod` gives to pods of its revision."""
    metadata = pod["metadata"]
    revision = (metadata.get("labels") or {}).get(LABEL_REVISION, "")
    begins = f"{pool.metadata.name}-{revision[:5]}-"
    return bool(revision) and re.fullmatch(re.escape(begins) + "[0-9a-f]{6}", metadata["name"]) is not None


def idle_annotations(pool: VoiceAgentPool) -> dict[str, str | None]:
    """Return what autoscalers of nodes find on a pod without calls: the user's own words, or that it may go.

    Cluster Autoscaler keeps a node for ever for a pod whose controller it does not know, unless it says that
    (cluster-autoscaler FAQ, "What types of pods can prevent CA from removing a node?").
    """
    own = pool.spec.pod_template.annotations
    return {
        ANNOTATION_SAFE_TO_EVICT: own.get(ANNOTATION_SAFE_TO_EVICT, "true"),
        ANNOTATION_DO_NOT_DISRUPT: own.get(ANNOTATION_DO_NOT_DISRUPT),
    }


def busy_patch(then: VoiceAgentPool, *, busy: bool) -> dict[str, Any]:
    """Return the merge patch that protects a pod with calls from evictions and from autoscalers of nodes.

    `then` is the pool as it was when the pod's version was new.
    """
    protected = {ANNOTATION_SAFE_TO_EVICT: "false", ANNOTATION_DO_NOT_DISRUPT: "true"}
    return {
        "metadata": {
            "labels": {LABEL_BUSY: "true" if busy else None},
            "annotations": protected if busy else idle_annotations(then),
        }
    }


def cpu_count(resources: Resources) -> int:
    """Return the whole CPUs that a container may count on, at least 1.

    Without it the worker takes every CPU of its node for its own (livekit-agents utils/hw/cpu.py).
    """
    quantity = resources.requests.get("cpu") or resources.limits.get("cpu")  # the API server does the same
    match = re.fullmatch(r"([0-9.]+)(m?)", quantity or "")
    if not match:
        return 1
    return max(1, ceil(float(match[1]) / (1000 if match[2] else 1)))


def _pod_spec(
    pool: VoiceAgentPool, version: PoolVersion, environment: list[dict[str, Any]], *, omit_ids: bool
) -> dict[str, Any]:
    rights = pool.spec.agent.security_context
    user = pool.spec.agent.run_as_user or (rights and rights.run_as_user) or user_of(pool.spec.pod_template)
    lost = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _LOST_NODE_SECONDS}
    config = {"name": version_map_name(pool, version.revision), "items": [{"key": CONFIG_FILE, "path": CONFIG_FILE}]}
    spec = {
        "restartPolicy": "Always",  # a worker that lost its server ends after its retries and must come back
        "terminationGracePeriodSeconds": grace_seconds(pool),
        "serviceAccountName": child_name(pool),
        **unprivileged_pod(user, omit_ids=omit_ids),
        "tolerations": [
            {"key": "node.kubernetes.io/not-ready", **lost},
            {"key": "node.kubernetes.io/unreachable", **lost},
        ],
        "containers": [_container(pool, version, environment)],
        "volumes": [{"name": "config", "configMap": config}, {"name": "tmp", "emptyDir": {}}],
    }
    if not pool.spec.agent.injected:
        return spec
    volumes = [*spec["volumes"], {"name": RUNNER_CONTAINER, "emptyDir": {}}]
    return {**spec, "initContainers": [_runner_container(pool, version)], "volumes": volumes}


def _runner_container(pool: VoiceAgentPool, version: PoolVersion) -> dict[str, Any]:
    """Return the container that puts the runner where the agent's Python or Node.js finds it."""
    asked = pool.spec.resources.model_dump(exclude_defaults=True)
    resources = {
        kind: kept
        for kind, amounts in asked.items()
        if (kept := {name: amount for name, amount in amounts.items() if name in _RUNNER_RESOURCES})
    }
    return {
        "name": RUNNER_CONTAINER,
        "image": version.template["stockImage"],
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "command": ["python", "-m", "voice_agent.runner.install", _RUNNER_FOLDER],
        "resources": resources,
        "securityContext": unprivileged_container(),
        "volumeMounts": [{"name": RUNNER_CONTAINER, "mountPath": _RUNNER_FOLDER}],
    }


def _container(pool: VoiceAgentPool, version: PoolVersion, environment: list[dict[str, Any]]) -> dict[str, Any]:
    agent, sources = pool.spec.agent, pool.spec.agent.env_from
    own = {"command": list(agent.command or ()), "args": list(agent.args or ())}
    user = {"runAsUser": agent.run_as_user, "runAsGroup": agent.run_as_user} if agent.run_as_user else {}
    mounts = [
        {"name": "config", "mountPath": _CONFIG_FOLDER, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
    ]
    if agent.injected:
        mounts.append({"name": RUNNER_CONTAINER, "mountPath": _RUNNER_FOLDER, "readOnly": True})
    return {
        "name": CONTAINER,
        "image": version.image,
        "imagePullPolicy": agent.image_pull_policy or "IfNotPresent",
        # The end of its log, where it fails and says nothing there.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **{field: words for field, words in own.items() if words},
        "env": environment,
        **({"envFrom": [source.model_dump(by_alias=True, exclude_none=True) for source in sources]} if sources else {}),
        "ports": _ports(pool),
        **_probes(pool),
        **_lifecycle(pool),
        "resources": pool.spec.resources.model_dump(exclude_defaults=True),
        "securityContext": container_rights({**unprivileged_container(), **user}, agent.security_context),
        "volumeMounts": mounts,
    }


def start_seconds(pool: VoiceAgentPool) -> int:
    """Return how long a container may take until it answers on its port."""
    least = _STOCK_START_SECONDS if pool.spec.agent.stock else _OWN_START_SECONDS
    return pool.spec.startup_timeout_seconds or least


def _has_status(pool: VoiceAgentPool) -> bool:
    """Return whether the pods answer on the status port."""
    return pool.spec.agent.stock or pool.spec.agent.injected


def _ports(pool: VoiceAgentPool) -> list[dict[str, Any]]:
    status = AGENT_STATUS_PORT if _has_status(pool) else None
    ports = {"worker": WORKER_PORT, "status": status, "metrics": pool.spec.metrics_port}
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items() if port]


def _probes(pool: VoiceAgentPool) -> dict[str, Any]:
    """Return the container's probes.

    The worker's own port answers 200 before it is warm or registered, and while it drains; the status port tells the
    truth (livekit-agents worker.py).
    """
    port, alive, ready = ("status", "/healthz", "/readyz") if _has_status(pool) else ("worker", "/", "/")
    seconds = start_seconds(pool)
    lives, serves = {"httpGet": {"port": port, "path": alive}}, {"httpGet": {"port": port, "path": ready}}
    return {
        "startupProbe": {**lives, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": seconds},
        "readinessProbe": {**serves, "periodSeconds": 1, "timeoutSeconds": 2},
        # It ends calls: for a worker that hangs for good, not for one that is slow on a busy node.
        "livenessProbe": {**lives, "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 15},
    }


def _lifecycle(pool: VoiceAgentPool) -> dict[str, Any]:
    """Return how the container is told that its pod is leaving; the stock agent is its first process."""
    if pool.spec.agent.stock:
        return {}
    return {"lifecycle": build_leaving_hook(AGENT_STATUS_PORT if _has_status(pool) else WORKER_PORT)}


def _environment(pool: VoiceAgentPool, version: PoolVersion, track: str, inputs: PodInputs) -> list[dict[str, Any]]:
    """Return the container's variables: ours, then the user's, which name none of ours but the home of their image.

    They count before those of `envFrom`, whose names nobody has checked.
    """
    plain = {
        "AGENT_CONFIG": f"{_CONFIG_FOLDER}/{CONFIG_FILE}",
        # The file comes from a ConfigMap, which others than the operator may be allowed to write.
        "AGENT_CONFIG_SHA256": version.config_digest,
        "LIVEKIT_URL": inputs.server_url,
        # Overrides a name in the code, and the configuration, which is as old as its version.
        "LIVEKIT_AGENT_NAME_OVERRIDE": agent_name(pool),
        "NUM_CPUS": str(cpu_count(pool.spec.resources)),
        "HOME": "/tmp",  # noqa: S108 - the pod's own emptyDir
        **_proxies(pool, inputs),
    }
    if deployment := deployment_of(track, version.revision):
        plain["LIVEKIT_AGENT_DEPLOYMENT"] = deployment
    if pool.spec.agent.env_from:
        plain = {**dict.fromkeys(_UNSAID, ""), **plain, "no_proxy": plain["NO_PROXY"]}
    given = {variable.name: variable for variable in pool.spec.agent.env}
    if "HOME" in given:
        del plain["HOME"]
    if pool.spec.agent.injected:
        for name, (ours, between) in _LOADERS.items():
            if pool.spec.agent.runtime in (None, _RUNTIMES[name]):
                users_own = given.pop(name, None)
                plain[name] = f"{ours}{between}{users_own.value}" if users_own and users_own.value else ours
    secrets = [
        secret_variable("LIVEKIT_API_KEY", child_name(pool), KEY_API_KEY),
        secret_variable("LIVEKIT_API_SECRET", child_name(pool), KEY_API_SECRET),
        *(secret_variable(variable, ref.name, ref.key) for _, variable, ref in agent_secrets(pool)),
    ]
    users = [variable.model_dump(by_alias=True, exclude_none=True) for variable in given.values()]
    return [*({"name": name, "value": value} for name, value in plain.items()), *secrets, *users]


def _proxies(pool: VoiceAgentPool, inputs: PodInputs) -> Mapping[str, str]:
    """Return the variables of proxies. Wherever a proxy is set, nothing inside the cluster is reached through it."""
    proxy = pool.spec.agent.proxy
    server = urlsplit(inputs.server_url).hostname or ""
    hosts = dict.fromkeys([server, *_CLUSTER_HOSTS, *(proxy.no_proxy if proxy else ())])
    named = {"HTTPS_PROXY": proxy.https_proxy, "HTTP_PROXY": proxy.http_proxy} if proxy else {}
    return {**{name: url for name, url in named.items() if url}, "NO_PROXY": ",".join(filter(None, hosts))}
