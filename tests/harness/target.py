"""Which cluster to use: the local one, or another that is named explicitly."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import layout

LOCAL_CONTEXT = "livekit-operator-local"


class TargetError(Exception):
    """The cluster to use is not clear."""


@dataclass(frozen=True)
class Target:
    """A cluster: a kubeconfig and one of its contexts."""

    kubeconfig: Path
    context: str
    local: bool


def find_target(environment: Mapping[str, str] = os.environ) -> Target:
    """Return the cluster that KUBECONFIG and CONTEXT name, the local one without them.

    Raises TargetError when only one of the two is set: nothing is ever installed into a cluster by accident.
    """
    kubeconfig, context = environment.get("KUBECONFIG"), environment.get("CONTEXT")
    local = Target(layout.KUBECONFIG, LOCAL_CONTEXT, local=True)
    if not kubeconfig and not context:
        return local
    if kubeconfig and Path(kubeconfig).resolve() == local.kubeconfig.resolve() and context in (None, "", LOCAL_CONTEXT):
        return local
    if not kubeconfig or not context:
        raise TargetError(
            "To use another cluster set both KUBECONFIG and CONTEXT (the context's name); "
            "to use the local one unset both."
        )
    return Target(Path(kubeconfig), context, local=False)
