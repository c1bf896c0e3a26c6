"""A pod's containers, found by name: a mesh may put its own first, in the spec as in the status."""

from collections.abc import Iterator, Mapping
from typing import Any

Manifest = dict[str, Any]


def container(pod: Mapping[str, Any], name: str) -> Manifest:
    """Return a container of a pod's spec, also one that starts first; empty when the pod has none of that name."""
    spec = pod.get("spec") or {}
    listed = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    return next((item for item in listed if item.get("name") == name), {})


def container_status(pod: Mapping[str, Any], name: str) -> Manifest:
    """Return the status of a container, empty when the kubelet has not reported any yet."""
    listed = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((item for item in listed if item.get("name") == name), {})


def other_statuses(pod: Mapping[str, Any], name: str) -> Iterator[Manifest]:
    """Yield the statuses of the other containers, those that start first before those that run beside."""
    status = pod.get("status") or {}
    for item in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if item.get("name") != name:
            yield item


def waiting(status: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why a container cannot start: reason and message; None while it is on its way, runs or has ended."""
    state = (status.get("state") or {}).get("waiting") or {}
    reason = state.get("reason")
    if reason in (None, "ContainerCreating", "PodInitializing"):
        return None
    return str(reason), str(state.get("message") or "").strip()
