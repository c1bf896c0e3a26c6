"""Names, labels and digests of children: the only place that makes them."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from livekit_operator.api.common import NAME_PATTERN, Resource
from livekit_operator.constants import (
    API_VERSION,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    MANAGED_BY,
)

Manifest = dict[str, Any]

COMPONENT_SERVER = "server"
COMPONENT_SERVER_CHECK = "server-check"
COMPONENT_REDIS = "redis"
COMPONENT_AGENT = "agent"
COMPONENT_ROOM = "room"

_APP_NAMES = {
    COMPONENT_SERVER: "livekit-server",
    COMPONENT_SERVER_CHECK: "livekit-server",
    COMPONENT_REDIS: "redis",
    COMPONENT_AGENT: "voice-agent",
    COMPONENT_ROOM: "meeting-room",
}


def labels(resource: Resource, component: str) -> dict[str, str]:
    """Return the labels of a child of this resource."""
    return {**selector(resource, component), LABEL_MANAGED_BY: MANAGED_BY}


def selector(resource: Resource, component: str) -> dict[str, str]:
    """Return the labels that select the pods of this resource."""
    return {
        LABEL_NAME: _APP_NAMES[component],
        LABEL_INSTANCE: resource.metadata.name,
        LABEL_COMPONENT: component,
    }


def owner_reference(resource: Resource, kind: str) -> dict[str, Any]:
    """Return the reference by which Kubernetes deletes a child when its owner is gone."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": resource.metadata.name,
        "uid": resource.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child(resource: Resource, component: str, kind: str, api_version: str, name: str, **body: Any) -> Manifest:
    """Return a manifest with the metadata that every child has."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": resource.metadata.namespace,
            "labels": labels(resource, component),
            "ownerReferences": [owner_reference(resource, type(resource).__name__)],
        },
        **body,
    }


def opaque_secret(resource: Resource, component: str, name: str, values: Mapping[str, str]) -> Manifest:
    """Return a Secret of plain texts."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return child(resource, component, "Secret", "v1", name, type="Opaque", data=data)


def secret_variable(name: str, secret: str, key: str) -> dict[str, Any]:
    """Return an environment variable whose value stays in its Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def digest(value: Any, length: int = 10, *, salt: str = "") -> str:
    """Return a short, stable digest of plain values; with a secret salt when people may have chosen one of them."""
    plain = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if salt:
        return hmac.new(salt.encode(), plain, hashlib.sha256).hexdigest()[:length]
    return hashlib.sha256(plain).hexdigest()[:length]


def read_json(text: Any) -> Any:
    """Return what a JSON text out of the cluster says, None when it is none or too deep to be read."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None


def qualified_name(namespace: str, name: str, server_namespace: str) -> str:
    """Return a name on a server that resources of several namespaces share.

    Only the server's own namespace names things freely; what others make begins with their namespace, so that nobody
    can choose a name that belongs to somebody else and listen to their calls.
    """
    return name if namespace == server_namespace else f"{namespace}/{name}"


def dns_name(text: str, *, limit: int = 253) -> str:
    """Return a name that Kubernetes accepts for any text, the same for the same text and another for another.

    A text that is a valid name already stays as it is; otherwise a digest tells apart what looks alike.
    """
    if re.fullmatch(NAME_PATTERN, text) and len(text) <= limit:
        return text
    suffix = digest(text, 8)
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: limit - len(suffix) - 1].strip("-")
    return f"{slug}-{suffix}" if slug else suffix
