"""What counts as being as desired, where an object differs, and who manages that field."""

from typing import Any

import pytest

from livekit_operator.engine.cache import Manifest
from livekit_operator.reconciling.comparing import Path, contains, difference, found_at, manager_of, shown_path

FINALIZERS: Path = ("metadata", "finalizers", 0)


@pytest.mark.parametrize(
    ("actual", "desired", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="what others add is ignored"),
        pytest.param({"a": 1}, {"a": 1, "b": 2}, False, id="missing"),
        pytest.param({"a": 1}, {"a": 2}, False, id="other value"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True, id="inside"),
        pytest.param({"a": [{"n": 1, "default": 2}]}, {"a": [{"n": 1}]}, True, id="inside a list"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, False, id="a longer list"),
        pytest.param({"a": [2, 1]}, {"a": [1, 2]}, False, id="another order"),
        pytest.param({"a": None}, {"a": [1]}, False, id="no list"),
        pytest.param({}, {"a": {}}, True, id="empty is absent"),
        pytest.param({}, {"a": []}, True, id="an empty list is absent"),
        pytest.param({}, {"a": None}, True, id="None is absent"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, True, id="empty asks for nothing of a map"),
        pytest.param({"a": [1]}, {"a": []}, False, id="a list that should be empty"),
        pytest.param({"a": "x"}, {"a": {"b": 1}}, False, id="another type"),
        pytest.param({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}}, True, id="the same amount"),
        pytest.param({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1024Mi"}}, True, id="the same memory"),
        pytest.param({"limits": {"cpu": "500m"}}, {"limits": {"cpu": "0.5"}}, True, id="the same fraction"),
        pytest.param({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1"}}, False, id="another amount"),
        pytest.param({"limits": {"memory": "1G"}}, {"limits": {"memory": "1Gi"}}, False, id="another unit"),
        pytest.param({"value": "1"}, {"value": "1000m"}, False, id="a text that only looks like an amount"),
        pytest.param({"a": 0}, {"a": False}, True, id="numbers are values"),
    ],
)
def test_contains(actual: Any, desired: Any, expected: bool) -> None:
    assert contains(actual, desired) is expected


@pytest.mark.parametrize(
    ("actual", "desired", "path"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, None, id="nothing is missing"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, ("a", "b"), id="a field"),
        pytest.param({"a": {}}, {"a": {"b": 2}}, ("a", "b"), id="a field that is not there"),
        pytest.param({"a": [{"n": 1}, {"n": 2}]}, {"a": [{"n": 1}, {"n": 3}]}, ("a", 1, "n"), id="in an item"),
        pytest.param({"a": [1]}, {"a": [1, 2]}, ("a",), id="a list of another length"),
        pytest.param({"a": "x"}, {"a": {"b": 1}}, ("a",), id="another type"),
        pytest.param(None, {"a": 1}, (), id="no object at all"),
        pytest.param({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}}, None, id="the same amount"),
        pytest.param(
            {"limits": {"cpu": "1", "memory": "1Gi"}},
            {"limits": {"cpu": "1000m", "memory": "2Gi"}},
            ("limits", "memory"),
            id="one amount of two",
        ),
    ],
)
def test_difference(actual: Any, desired: Any, path: Path | None) -> None:
    assert difference(actual, desired) == path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("spec", "ports", 1, "port"), 81),
        (("spec", "ports", 2), None),
        (("spec", "type"), None),
        (("spec", "ports", "port"), None),
        ((), {"spec": {"ports": [{"port": 80}, {"port": 81}]}}),
    ],
)
def test_found_at(path: Path, found: Any) -> None:
    assert found_at({"spec": {"ports": [{"port": 80}, {"port": 81}]}}, path) == found


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (("spec", "ports", 0, "port"), "spec.ports[0].port"),
        (("metadata", "labels", "app.kubernetes.io/name"), "metadata.labels[app.kubernetes.io/name]"),
        ((), "the whole of it"),
    ],
)
def test_shown_path(path: Path, shown: str) -> None:
    assert shown_path(path) == shown


def entry(manager: str, fields: Any) -> Manifest:
    return {"manager": manager, "operation": "Apply", "fieldsV1": fields}


SIGNAL: Manifest = {'k:{"port":81}': {"f:name": {}}}
FINALIZER: Manifest = {'v:"a/b"': {}}


@pytest.mark.parametrize(
    ("entries", "path", "manager"),
    [
        pytest.param([entry("helm", {"f:spec": {"f:type": {}}})], ("spec", "type"), "helm", id="the field"),
        pytest.param([entry("helm", {"f:spec": {"f:type": {}}})], ("spec",), "helm", id="a field below it"),
        pytest.param([entry("helm", {"f:spec": {"f:type": {}}})], ("spec", "ports"), None, id="another field"),
        pytest.param([entry("ours", {"f:spec": {"f:type": {}}})], ("spec", "type"), None, id="ours is no other"),
        pytest.param(
            [entry("ours", {"f:spec": {"f:type": {}}}), entry("helm", {"f:spec": {"f:type": {}}})],
            ("spec", "type"),
            "helm",
            id="beside ours",
        ),
        pytest.param([entry("helm", {"f:spec": {"f:ports": SIGNAL}})], ("spec", "ports", 1, "name"), "helm", id="key"),
        pytest.param([entry("helm", {"f:spec": {"f:ports": SIGNAL}})], ("spec", "ports", 0, "name"), None, id="no key"),
        pytest.param([entry("helm", {"f:spec": {"f:ports": SIGNAL}})], ("spec", "ports", 2), None, id="no item"),
        pytest.param([entry("helm", {"f:metadata": {"f:finalizers": FINALIZER}})], FINALIZERS, "helm", id="a value"),
        pytest.param([entry("helm", {"f:metadata": {"f:finalizers": {"v:{": {}}}})], FINALIZERS, None, id="nonsense"),
        pytest.param([entry("m" * 200, {"f:spec": {}})], ("spec",), "m" * 100, id="names are bounded"),
        pytest.param([entry("helm", None)], ("spec",), None, id="no fields"),
        pytest.param(None, ("spec",), None, id="nobody"),
    ],
)
def test_manager_of(entries: Any, path: Path, manager: str | None) -> None:
    manifest = {
        "metadata": {"name": "s", "managedFields": entries, "finalizers": ["a/b"]},
        "spec": {"type": "ClusterIP", "ports": [{"name": "http", "port": 80}, {"name": "signal", "port": 81}]},
    }
    assert manager_of(manifest, path, "ours") == manager
