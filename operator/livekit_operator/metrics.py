"""Metrics of the operator, named as Prometheus recommends."""

from collections.abc import Mapping
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

    def forget_pool(self, namespace: str, pool: str) -> None:
        """Drop what is told of a pool that is gone."""
        for metric in (self.pool_pods, self.pool_sessions, self.pool_lost):
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
