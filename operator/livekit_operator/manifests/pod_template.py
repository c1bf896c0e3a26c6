"""What users change about pods, put together with what the operator needs of them."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

from livekit_operator import reasons
from livekit_operator.api.pods import PodTemplate
from livekit_operator.constants import GROUP
from livekit_operator.errors import Blocked, Problem

# What the `restricted` Pod Security Standard lets a pod mount. Anything else, such as a folder of the node, would give
# whoever may write our resources more than they have: the operator makes the pod, not they.
# Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
_VOLUME_TYPES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
)


def apply_template(
    metadata: Mapping[str, Any],
    spec: Mapping[str, Any],
    template: PodTemplate,
    *,
    container: str,
    selector: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a pod's metadata and spec with a user's overrides; `container` gets the mounts.

    Labels and annotations of ours stay, and none of our group can be added: they decide what happens to a pod. Of
    tolerations of the same taint the user's counts. Pods that `selector` selects are spread over nodes where possible
    unless the user says how.

    Raises Blocked when volumes collide with ours or are of a type that a pod under `restricted` may not have.
    """
    ours = {key: dict(metadata.get(key) or {}) for key in ("labels", "annotations")}
    merged = {
        "labels": {**_foreign(template.labels), **ours["labels"]},
        "annotations": {**_foreign(template.annotations), **ours["annotations"]},
    }
    additions: dict[str, Any] = {
        "nodeSelector": {**template.node_selector, **(spec.get("nodeSelector") or {})},
        "tolerations": _tolerations(spec, template),
        "affinity": template.affinity or spec.get("affinity"),
        "topologySpreadConstraints": _spread(template, selector),
        "priorityClassName": template.priority_class_name,
        "runtimeClassName": template.runtime_class_name,
        "imagePullSecrets": [{"name": secret.name} for secret in template.image_pull_secrets],
        "volumes": _volumes(spec, template),
        "containers": [_container(item, container, template) for item in spec["containers"]],
    }
    # What is empty is left out, so that a template that says nothing changes nothing.
    kept = {key: value for key, value in additions.items() if value}
    return {**metadata, **merged}, {**spec, **kept}


def _foreign(entries: Mapping[str, str]) -> dict[str, str]:
    """Return the entries whose keys are not of our group."""
    return {key: value for key, value in entries.items() if key.partition("/")[0] != GROUP}


def _tolerations(spec: Mapping[str, Any], template: PodTemplate) -> list[dict[str, Any]]:
    """Return ours that the user says nothing about, then the user's.

    Of several that match, the shortest `tolerationSeconds` counts (pkg/controller/tainteviction getMinTolerationTime),
    so beside ours a longer one would do nothing.
    """
    given = template.tolerations
    kept = [mine for mine in spec.get("tolerations") or () if not any(_covers(theirs, mine) for theirs in given)]
    return [*kept, *given]


def _covers(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    return theirs.get("key") in (None, "", ours["key"]) and theirs.get("effect") in (None, "", ours["effect"])


def _spread(template: PodTemplate, selector: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the user's constraints, over our pods where they do not say over which; one over nodes when none."""
    over = {"labelSelector": {"matchLabels": dict(selector)}}
    default = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    return [{**over, **constraint} for constraint in template.topology_spread_constraints or [default]]


def _volumes(spec: Mapping[str, Any], template: PodTemplate) -> list[dict[str, Any]]:
    ours = list(spec.get("volumes") or ())
    taken = {volume["name"] for volume in ours}
    for volume in template.volumes:
        name = volume.get("name")
        if name in taken:
            raise Blocked(
                Problem(
                    reasons.POD_TEMPLATE_REJECTED,
                    f"podTemplate.volumes: the name {name} is taken by the operator: choose another one.",
                )
            )
        refused = sorted(set(volume) - {"name", *_VOLUME_TYPES})
        if refused:
            raise Blocked(
                Problem(
                    reasons.POD_TEMPLATE_REJECTED,
                    f"podTemplate.volumes: {name} is of type {', '.join(refused)}; choose one of the types "
                    f"{', '.join(_VOLUME_TYPES)}.",
                )
            )
    return [*ours, *template.volumes]


def _container(item: Mapping[str, Any], container: str, template: PodTemplate) -> dict[str, Any]:
    if item["name"] != container or not template.volume_mounts:
        return dict(item)
    ours = list(item.get("volumeMounts") or ())
    for mount in template.volume_mounts:
        path = str(mount.get("mountPath") or "")
        taken = next((mine["mountPath"] for mine in ours if _overlap(path, mine["mountPath"])), None)
        if taken:
            raise Blocked(
                Problem(
                    reasons.POD_TEMPLATE_REJECTED,
                    f"podTemplate.volumeMounts: {path} collides with {taken} of the operator's: choose another path.",
                )
            )
    return {**item, "volumeMounts": [*ours, *template.volume_mounts]}


def _overlap(one: str, two: str) -> bool:
    """Return whether one of two folders is, or is in, the other."""
    # The kubelet takes a relative path from the root, and the runtime resolves "..".
    first, second = (PurePosixPath(normpath(f"/{path.lstrip('/')}")) for path in (one, two))
    return first.is_relative_to(second) or second.is_relative_to(first)
