"""What a refusal of a pod means for the resource that wanted it: which containers, and which fields to look at.

A LimitRange says what it does not take of `Container`, without saying which. Source of the words:
plugin/pkg/admission/limitranger/admission.go; of OpenShift's ranges, pkg/securitycontextconstraints of its apiserver.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_LIMIT_RANGE = re.compile(r"(?:minimum|maximum) (\S+) usage per Container is \S+?, but (request|limit) is ([^\s,\]]+)")
_PER_CONTAINER = "per Container"
_IDS = re.compile(r"runAsUser|runAsGroup|fsGroup|must be in the ranges")


def explain_refusal(message: str, pod: Mapping[str, Any] | None = None, *, what: str = "") -> str:
    """Return the API server's refusal of a `pod`, or of `what` else, with what to do about it."""
    told = f"The API server refused{what and f' {what}'}: {message.rstrip('. ')}."
    if pod and _PER_CONTAINER in message:
        told += f" Refused: {'; '.join(_refused(message, pod))}. Set spec.resources to what the LimitRange takes."
    elif pod and _IDS.search(message):
        told += (
            " Set spec.podTemplate.runAsUser to an id that the namespace takes, or have the cluster choose it by the "
            "chart's podSecurity.omitIds."
        )
    else:
        told += " Change the spec, or the quota or policy that refuses it."
    return told


def _refused(message: str, pod: Mapping[str, Any]) -> list[str]:
    """Return the containers that ask for what is quoted, all when none does in these very words."""
    wrong = {(f"{kind}s", resource, amount) for resource, kind, amount in _LIMIT_RANGE.findall(message)}
    containers = list(_containers(pod["spec"]))
    named = [container for container in containers if wrong & set(_amounts(container))]
    return [_shown(container) for container in named or containers]


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _amounts(container: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (requests or limits, resource, amount)."""
    for kind in ("requests", "limits"):
        for resource, amount in ((container.get("resources") or {}).get(kind) or {}).items():
            yield kind, resource, str(amount)


def _shown(container: Mapping[str, Any]) -> str:
    amounts = [f"{kind} {resource} {amount}" for kind, resource, amount in _amounts(container)]
    return f"container {container['name']} ({', '.join(amounts) or 'no requests, no limits'})"
