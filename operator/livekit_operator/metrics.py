"""Metrics of the operator, named as Prometheus recommends."""

from typing import Any, Protocol, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector


class KindMetrics(Protocol):
    """Metrics of one kind, of which each resource has some of its own."""

    def __init__(self, registry: CollectorRegistry) -> None: ...

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is told of a resource that is gone."""


M = TypeVar("M", bound=KindMetrics)


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
        self.webhooks = Counter(
            "livekit_operator_webhooks_total", "Webhooks received.", ["result"], registry=self.registry
        )
        self._own: dict[type[Any], Any] = {}

    def of(self, own: type[M]) -> M:
        """Return the metrics of one kind, a class that makes them in a registry; made when they are asked for first."""
        if own not in self._own:
            self._own[own] = own(self.registry)
        return cast(M, self._own[own])
