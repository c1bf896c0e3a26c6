"""How a pool stands after a pass: what its status is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from livekit_operator.errors import Problem
from livekit_operator.pools.decisions.autoscaling import Desired
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.decisions.rollout import STABLE
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.observe import Observation, ObservedPod


@dataclass(frozen=True)
class Standing:
    """Everything that one pass found out and decided."""

    observed: Observation
    desired: Desired
    wanted: str
    """Revision that the spec asks for."""
    rollout: Rollout
    targets: Mapping[str, str]
    """Track -> version wanted on it, as `PodView.version` writes it."""
    versions: Sequence[PoolVersion]
    """All that are known, newest first."""
    created: int
    """Pods made since they were observed."""
    waiting: int
    target_load: float
    """The load at which the server offers a worker no more calls."""
    server_problem: Problem | None = None
    """Why the server is not ready."""

    @property
    def stable(self) -> str:
        """Return the version that most pods are wanted of."""
        return self.targets[STABLE]

    @property
    def settled(self) -> list[ObservedPod]:
        """Return the pods that are to stay as they are."""
        staying = self.observed.staying
        return [pod for pod in staying if pod.view.version == self.stable and pod.view.track == STABLE]

    @property
    def trouble(self) -> str | None:
        """Return why a pod does not start."""
        return next((pod.trouble for pod in self.observed.staying if pod.trouble), None)

    def of(self, revision: str) -> list[ObservedPod]:
        """Return the pods of a revision."""
        return [pod for pod in self.observed.pods if pod.view.revision == revision]
