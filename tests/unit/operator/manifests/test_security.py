"""Pods of the operator's are what the `restricted` Pod Security Standard lets in."""

from typing import Any

import pytest

from livekit_operator.manifests.security import unprivileged_container, unprivileged_pod


def ids(user: int) -> dict[str, int]:
    return {"runAsUser": user, "runAsGroup": user, "fsGroup": user}


@pytest.mark.parametrize(
    ("user", "omit_ids", "chosen"),
    [(None, False, ids(1000)), (None, True, {}), (7, False, ids(7)), (7, True, ids(7))],
)
def test_a_pod_runs_as_who_is_asked_for_and_never_as_root(
    user: int | None, omit_ids: bool, chosen: dict[str, Any]
) -> None:
    assert unprivileged_pod(user, omit_ids=omit_ids) == {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **chosen},
    }


def test_a_container_gains_nothing_and_writes_only_to_its_volumes() -> None:
    assert unprivileged_container() == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
