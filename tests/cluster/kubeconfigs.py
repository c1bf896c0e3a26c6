"""Kubeconfig files, each with its certificates inside so that it may be copied anywhere."""

import base64
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import addresses, certificates, layout

CONTEXT = "livekit-operator-local"


def build(identity: certificates.Identity) -> dict[str, Any]:
    """The kubeconfig of one client of the local cluster."""
    return document(
        addresses.api_server_url(),
        identity.common_name,
        certificates.CA.read_bytes(),
        identity.certificate.read_bytes(),
        identity.key.read_bytes(),
    )


def document(server: str, user: str, authority: bytes, certificate: bytes, key: bytes) -> dict[str, Any]:
    """A kubeconfig with one cluster, one user and one context, of an API server's URL and PEM texts."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
        "current-context": CONTEXT,
    }


def ensure(identity: certificates.Identity) -> Path:
    """Write the kubeconfig of a component next to its certificate."""
    return _write(layout.PKI / f"{identity.file}.kubeconfig", identity)


def ensure_admin() -> Path:
    """Write the kubeconfig that people and tests use."""
    layout.STATE.mkdir(parents=True, exist_ok=True)
    return _write(layout.KUBECONFIG, certificates.ADMIN)


def _write(path: Path, identity: certificates.Identity) -> Path:
    text = yaml.safe_dump(build(identity), sort_keys=False)
    if not path.exists() or path.read_text() != text:
        new = path.with_name(path.name + ".new")
        new.touch(mode=0o600)
        new.write_text(text)
        new.replace(path)
    return path


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
