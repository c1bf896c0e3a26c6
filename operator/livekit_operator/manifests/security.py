"""What every pod of the operator's may do: nothing that the `restricted` Pod Security Standard would not let it.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from typing import Any

# Any unprivileged user will do: the images name none, or this one.
_USER = 1000


def unprivileged_pod(user: int | None, *, omit_ids: bool) -> dict[str, Any]:
    """Return the part of a pod's spec that keeps it from the API server, from Services' variables and from root.

    `user` is the id that the resource asks for. With `omit_ids` the cluster chooses one where it asks for none, as
    OpenShift does out of the namespace's range.
    """
    chosen = user or (None if omit_ids else _USER)
    ids = {"runAsUser": chosen, "runAsGroup": chosen, "fsGroup": chosen} if chosen else {}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, **ids, "seccompProfile": {"type": "RuntimeDefault"}},
    }


def unprivileged_container() -> dict[str, Any]:
    """Return the security context of a container that writes only to its volumes."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
