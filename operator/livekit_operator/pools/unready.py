"""Why a pod that runs is not ready: in its runner's words, or that it does not answer yet."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from livekit_operator.conditions import holds
from livekit_operator.constants import CONDITION_READY
from livekit_operator.containers import container, container_status
from livekit_operator.moments import read_moment
from livekit_operator.outside import said
from livekit_operator.pools.manifests.pod import CONTAINER
from livekit_operator.views import WorkerStatus

# A start that takes no longer needs no words.
_PATIENCE = timedelta(seconds=10)


def why_unready(pod: Mapping[str, Any], worker: WorkerStatus | None, now: datetime) -> str | None:
    """Return why a pod is not ready whose agent has run for a while, None where nothing is to be said.

    `worker` is what it says now, None when it does not answer.
    """
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    if holds(status.get("conditions"), CONDITION_READY) or "deletionTimestamp" in pod["metadata"]:
        return None
    agent = container_status(pod, CONTAINER)
    running = (agent.get("state") or {}).get("running") or {}
    began = read_moment(running.get("startedAt"))
    if began is None or now - began < _PATIENCE:
        return None
    if worker is not None and worker.not_ready:
        return f"Pod {name} is not ready: {said('; '.join(worker.not_ready)).rstrip('. ')}."
    if agent.get("started") is False:
        port, seconds = _startup(container(pod, CONTAINER))
        return (
            f"Pod {name} does not answer on port {port} yet and is started again after {seconds} s: see its log, or "
            "raise spec.startupTimeoutSeconds."
        )
    return None


def _startup(agent: Mapping[str, Any]) -> tuple[Any, int]:
    """Return the port on which the kubelet waits for an answer, and for how many seconds."""
    probe = agent.get("startupProbe") or {}
    port = (probe.get("httpGet") or {}).get("port")
    number = next((entry.get("containerPort") for entry in agent.get("ports") or () if entry.get("name") == port), port)
    return number, int(probe.get("failureThreshold", 3)) * int(probe.get("periodSeconds", 10))
