"""Metrics of pools: the counts of their statuses, and the calls that they lost."""

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge


class PoolMetrics:
    """What is told of each pool while there is one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pods = Gauge(
            "livekit_operator_pool_pods",
            "Agent pods of a pool: desired, ready, busy, idle, draining.",
            ["namespace", "pool", "state"],
            registry=registry,
        )
        self.sessions = Gauge(
            "livekit_operator_pool_sessions",
            "Calls of a pool: active, free, waiting, remaining on pods that leave.",
            ["namespace", "pool", "state"],
            registry=registry,
        )
        self.version_pods = Gauge(
            "livekit_operator_pool_version_pods",
            "Agent pods of a version of a pool: present (those that do not leave), ready.",
            ["namespace", "pool", "revision", "track", "state"],
            registry=registry,
        )
        self.version_sessions = Gauge(
            "livekit_operator_pool_version_sessions",
            "Calls of a version of a pool: active, begun, failed.",
            ["namespace", "pool", "revision", "track", "state"],
            registry=registry,
        )
        self._versions: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.lost = Counter(
            "livekit_operator_pool_lost_sessions_total",
            "Calls that lost their agent with its worker and got another one.",
            ["namespace", "pool"],
            registry=registry,
        )

    def show(self, namespace: str, pool: str, status: Mapping[str, Any]) -> None:
        """Take over the counts of a pool's status."""
        for field, state in _POOL_PODS.items():
            self.pods.labels(namespace, pool, state).set(status[field])
        for field, state in _POOL_SESSIONS.items():
            self.sessions.labels(namespace, pool, state).set(status[field])
        self._show_versions(namespace, pool, status["versions"])

    def _show_versions(self, namespace: str, pool: str, versions: Sequence[Mapping[str, Any]]) -> None:
        """Take over the versions that have a track now, and drop what was told of others."""
        shown = {(v["revision"], v["track"].lower()): v for v in versions if v["track"] != "History"}
        for revision, track in self._versions.get((namespace, pool), set()) - shown.keys():
            labels = {"namespace": namespace, "pool": pool, "revision": revision, "track": track}
            for metric in (self.version_pods, self.version_sessions):
                metric.remove_by_labels(labels)
        self._versions[namespace, pool] = set(shown)
        for (revision, track), version in shown.items():
            for metric, fields in ((self.version_pods, _VERSION_PODS), (self.version_sessions, _VERSION_SESSIONS)):
                for field, state in fields.items():
                    metric.labels(namespace, pool, revision, track, state).set(version[field])

    def forget(self, namespace: str, pool: str) -> None:
        """Drop what is told of a pool that is gone."""
        self._versions.pop((namespace, pool), None)
        for metric in (
            self.pods,
            self.sessions,
            self.version_pods,
            self.version_sessions,
            self.lost,
        ):
            metric.remove_by_labels({"namespace": namespace, "pool": pool})


_POOL_PODS = {
    "desiredReplicas": "desired",
    "readyReplicas": "ready",
    "busyReplicas": "busy",
    "idleReplicas": "idle",
    "drainingReplicas": "draining",
}
_POOL_SESSIONS = {
    "activeSessions": "active",
    "freeSessions": "free",
    "waitingSessions": "waiting",
    "remainingSessions": "remaining",
}
_VERSION_PODS = {"replicas": "present", "readyReplicas": "ready"}
_VERSION_SESSIONS = {"activeSessions": "active", "sessions": "begun", "failedSessions": "failed"}
