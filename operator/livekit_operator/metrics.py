"""Metrics of the operator, named as Prometheus recommends."""

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector


class Metrics:
    """One set of metrics with a registry of its own, so that tests and benchmarks can have several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.reconciles = Counter(
            "livekit_operator_reconcile_total", "Reconciles by outcome.", ["kind", "result"], registry=self.registry
        )
        self.errors = Counter(
            "livekit_operator_reconcile_errors_total", "Failed reconciles.", ["kind", "error"], registry=self.registry
        )
        self.duration = Histogram(
            "livekit_operator_reconcile_duration_seconds",
            "Time of one reconcile.",
            ["kind"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.queued = Gauge(
            "livekit_operator_queue_depth", "Objects waiting to be reconciled.", ["kind"], registry=self.registry
        )
        self.objects = Gauge("livekit_operator_resources", "Resources known.", ["kind"], registry=self.registry)
        self.api_requests = Counter(
            "livekit_operator_kubernetes_requests_total",
            "Requests to the API server.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.unread = Counter(
            "livekit_operator_unread_objects_total",
            "Objects passed over because they are too large, nested too deeply or otherwise not to be read.",
            ["resource"],
            registry=self.registry,
        )
        self.pool_pods = Gauge(
            "livekit_operator_pool_pods",
            "Agent pods of a pool: desired, ready, busy, idle, draining.",
            ["namespace", "pool", "state"],
            registry=self.registry,
        )
        self.pool_sessions = Gauge(
            "livekit_operator_pool_sessions",
            "Calls of a pool: active, free, waiting, remaining on pods that leave.",
            ["namespace", "pool", "state"],
            registry=self.registry,
        )
        self.version_pods = Gauge(
            "livekit_operator_pool_version_pods",
            "Agent pods of a version of a pool: present (those that do not leave), ready.",
            ["namespace", "pool", "revision", "track", "state"],
            registry=self.registry,
        )
        self.version_sessions = Gauge(
            "livekit_operator_pool_version_sessions",
            "Calls of a version of a pool: active, begun, failed.",
            ["namespace", "pool", "revision", "track", "state"],
            registry=self.registry,
        )
        self._versions: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.pool_lost = Counter(
            "livekit_operator_pool_lost_sessions_total",
            "Calls that lost their agent with its worker and got another one.",
            ["namespace", "pool"],
            registry=self.registry,
        )
        self.webhooks = Counter(
            "livekit_operator_webhooks_total", "Webhooks received.", ["result"], registry=self.registry
        )

    def show_pool(self, namespace: str, pool: str, status: Mapping[str, Any]) -> None:
        """Take over the counts of a pool's status."""
        for field, state in _POOL_PODS.items():
            self.pool_pods.labels(namespace, pool, state).set(status[field])
        for field, state in _POOL_SESSIONS.items():
            self.pool_sessions.labels(namespace, pool, state).set(status[field])
        self._show_versions(namespace, pool, status["versions"])

    def _show_versions(self, namespace: str, pool: str, versions: Sequence[Mapping[str, Any]]) -> None:
        """Show the versions that have a track now, and drop the series of others."""
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

    def forget_pool(self, namespace: str, pool: str) -> None:
        """Drop the series of a pool that is gone."""
        self._versions.pop((namespace, pool), None)
        for metric in (
            self.pool_pods,
            self.pool_sessions,
            self.version_pods,
            self.version_sessions,
            self.pool_lost,
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
