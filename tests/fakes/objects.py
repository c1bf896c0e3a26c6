"""What an API server does to an object that is written, and how objects are compared and chosen."""

import copy
from typing import Any

from tests.fakes import schema

Manifest = dict[str, Any]
ObjectKey = tuple[str, str, str]


def key_of(manifest: Manifest) -> ObjectKey:
    """Return kind, namespace and name."""
    return manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def check(manifest: Manifest, before: Manifest | None = None) -> None:
    """Fail when the CRD does not allow the spec or the status of a resource, or names none of its fields.

    What stays as it was is not looked at, as a real API server does, which also keeps what an older CRD allowed.
    """
    kind, name = manifest["kind"], manifest["metadata"].get("name")
    for part in ("spec", "status"):
        if part in manifest and manifest[part] != (before or {}).get(part):
            found = schema.problems(kind, part, manifest[part])
            assert not found, f"the CRD of {kind} does not allow this of {name}: " + "; ".join(found)


def without(manifest: Manifest, *keys: str) -> Manifest:
    """Return an object without some of its parts."""
    return {key: value for key, value in manifest.items() if key not in keys}


def selected(manifest: Manifest, selector: str | None) -> bool:
    """Return whether a selector of labels chooses an object."""
    labels = manifest["metadata"].get("labels") or {}
    wanted = (term.partition("=") for term in (selector or "").split(",") if term)
    return all(labels.get(key) == value for key, _, value in wanted)


def merged(target: Any, patch: Any) -> Any:
    """Return RFC 7396's MergePatch of copies."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def with_defaults(manifest: Manifest) -> Manifest:
    """Fill in what an API server fills in: a reconciler must not take its own defaults for a hand's work."""
    spec = manifest.get("spec")
    if manifest["kind"] == "Deployment" and spec is not None:
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        _default_pod(spec["template"]["spec"])
    if manifest["kind"] == "Pod" and spec is not None:
        _default_pod(spec)
        manifest.setdefault("status", {"phase": "Pending"})
    if manifest["kind"] == "Service" and spec is not None:
        spec.setdefault("clusterIP", "10.96.0.10")
        spec.setdefault("sessionAffinity", "None")
    return manifest


def _default_pod(spec: Manifest) -> None:
    spec.setdefault("schedulerName", "default-scheduler")
    for container in spec["containers"]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        if not container.get("resources"):
            container["resources"] = {}
