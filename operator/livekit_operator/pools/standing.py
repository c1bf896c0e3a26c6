"""What a pass has done about a pool, and how the pool stands then: what its conditions are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from livekit_operator.api.voiceagentpool import SessionStatus
from livekit_operator.errors import Problem
from livekit_operator.pools.decide import Plan
from livekit_operator.pools.decisions.autoscaling import Desired
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.decisions.rollout import STABLE
from livekit_operator.pools.manifests.versions import PoolVersion, canary_deployment
from livekit_operator.pools.observe import Observation
from livekit_operator.pools.pods import ObservedPod, Pods
from livekit_operator.pools.told import Counts


@dataclass(frozen=True)
class Done:
    """What a pass has made, what was refused, and what rooms and calls there are at its end."""

    created: int
    """Pods made since they were observed."""
    refused: Problem | None
    """The first of what was refused."""
    counts: Counts
    sessions: Sequence[SessionStatus]
    at: datetime
    unserved: Problem | None = None
    """Why rooms get no agent."""


@dataclass(frozen=True)
class Standing:
    """A pass as conditions see it: what was observed, planned and done."""

    observed: Observation
    plan: Plan
    done: Done

    @property
    def pods(self) -> Pods:
        """Return the pods as they were observed."""
        return self.observed.pods

    @property
    def desired(self) -> Desired:
        """Return how many pods are wanted."""
        return self.plan.desired

    @property
    def rollout(self) -> Rollout:
        """Return which versions run; what was refused is its first problem."""
        return replace(self.plan.rollout, problem=self.done.refused or self.plan.rollout.problem)

    @property
    def versions(self) -> list[PoolVersion]:
        """Return all versions that are known, newest first."""
        known = self.plan.known.values()
        return sorted(known, key=lambda version: (version.created, version.revision), reverse=True)

    @property
    def canary(self) -> str | None:
        """Return the deployment of the canary, None when there is none."""
        return canary_deployment(self.rollout.canary) if self.rollout.canary else None

    @property
    def reached(self) -> list[ObservedPod]:
        """Return the pods that calls are sent to: of a version that is only tried, or was a canary, none are."""
        return [pod for pod in self.pods.serving if not pod.deployment or pod.deployment == self.canary]

    @property
    def held_back(self) -> Problem | None:
        """Return why pods that are wanted are not made."""
        if self.plan.pods.held:
            return self.plan.pods.held.problem
        return self.done.refused if self.done.created < len(self.plan.pods.create) else None

    def calls_of(self, revision: str) -> tuple[int, int]:
        """Return the calls that workers of a version have begun, and those of them that failed."""
        return self.pods.calls_of(revision, self.done.counts.gone)

    @property
    def stable(self) -> str:
        """Return the version that most pods are wanted of."""
        return self.plan.targets[STABLE]

    @property
    def settled(self) -> list[ObservedPod]:
        """Return the pods that are to stay as they are."""
        staying = self.pods.staying
        return [pod for pod in staying if pod.view.version == self.stable and pod.view.track == STABLE]

    @property
    def trouble(self) -> str | None:
        """Return why a pod does not start."""
        return next((pod.trouble for pod in self.pods.staying if pod.trouble), None)

    @property
    def unready(self) -> str | None:
        """Return why a pod is not ready though it runs: always the same one's, of several."""
        staying = sorted(self.pods.staying, key=lambda pod: pod.view.name)
        return next((pod.unready for pod in staying if pod.unready), None)

    @property
    def unheard(self) -> list[ObservedPod]:
        """Return the pods that were told to leave and whose workers do not heed it, by name."""
        return sorted((pod for pod in self.pods.every if pod.unheard), key=lambda pod: pod.view.name)

    def of(self, revision: str) -> list[ObservedPod]:
        """Return the pods of a revision."""
        return [pod for pod in self.pods.every if pod.view.revision == revision]
