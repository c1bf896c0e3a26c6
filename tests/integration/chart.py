"""The chart, rendered by helm."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import tools

CHART = Path(__file__).resolve().parents[2] / "charts/livekit-operator"
# What everybody must say who installs it.
IMAGES = {"image": {"repository": "r/operator"}, "agents": {"image": {"repository": "r/agent"}}}


class ChartError(Exception):
    """helm refused; the message is helm's."""


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> str:
    """Run helm; raises ChartError."""
    command = [str(tools.path("helm")), *arguments, *(["--values", "-"] if values is not None else [])]
    text = yaml.safe_dump(dict(values)) if values is not None else None
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ChartError(done.stderr + done.stdout)
    return done.stdout


def render(
    values: Mapping[str, Any] | None = None, *, release: str = "livekit-operator", namespace: str = "operators"
) -> list[dict[str, Any]]:
    """Return the chart's manifests, with images unless the values name others; raises ChartError when it refuses."""
    text = helm("template", release, str(CHART), "--namespace", namespace, values=_merged(IMAGES, values or {}))
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with others on top, as helm merges files of them."""
    both = {key: _merged(base[key], over[key]) for key in base if isinstance(over.get(key), dict)}
    return {**base, **over, **both}


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the only manifest of a kind."""
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def path_of(manifest: dict[str, Any], *, collection: bool = False) -> str:
    """Return where the API server serves a manifest of this chart."""
    plural = {
        "ClusterRole": "clusterroles",
        "ClusterRoleBinding": "clusterrolebindings",
        "CustomResourceDefinition": "customresourcedefinitions",
        "Deployment": "deployments",
        "PriorityClass": "priorityclasses",
        "Role": "roles",
        "RoleBinding": "rolebindings",
        "Service": "services",
        "ServiceAccount": "serviceaccounts",
    }[manifest["kind"]]
    version = manifest["apiVersion"]
    prefix = "/api/v1" if version == "v1" else f"/apis/{version}"
    namespace = manifest["metadata"].get("namespace")
    place = f"{prefix}/namespaces/{namespace}/{plural}" if namespace else f"{prefix}/{plural}"
    return place if collection else f"{place}/{manifest['metadata']['name']}"
