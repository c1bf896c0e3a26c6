"""A set of metrics is one process's: kinds have their own in it, and sets share nothing."""

from prometheus_client import CollectorRegistry, Counter

from livekit_operator.metrics import Metrics


class Doorbells:
    """Metrics of a kind that there is not."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rung = Counter("doorbells_rung_total", "Rings.", ["namespace", "name"], registry=registry)

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is told of a resource that is gone."""
        self.rung.remove(namespace, name)


class Chimes:
    """Metrics of another one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def forget(self, namespace: str, name: str) -> None:
        """Have nothing to drop."""


def test_the_metrics_of_a_kind_are_made_once_and_told_with_the_others() -> None:
    metrics = Metrics()
    metrics.of(Doorbells).rung.labels("team", "front").inc()
    assert metrics.of(Doorbells) is metrics.of(Doorbells)
    told = metrics.registry.get_sample_value("doorbells_rung_total", {"namespace": "team", "name": "front"})
    assert told == 1
    assert isinstance(metrics.of(Chimes), Chimes)


def test_two_sets_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.reconciles.labels("MeetingRoom", "ok").inc()
    labels = {"kind": "MeetingRoom", "result": "ok"}
    told = [each.registry.get_sample_value("livekit_operator_reconcile_total", labels) for each in (one, other)]
    assert told == [1, None]


def test_the_process_is_told_as_well() -> None:
    names = {family.name for family in Metrics().registry.collect()}
    assert {"process_resident_memory_bytes", "python_info", "python_gc_objects_collected"} <= names
