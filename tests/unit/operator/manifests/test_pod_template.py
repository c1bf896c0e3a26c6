"""Overrides of pods: added, never in the way of what the operator needs."""

import copy
from typing import Any

import pytest

from livekit_operator.api.pods import PodTemplate
from livekit_operator.errors import Blocked
from livekit_operator.manifests.pod_template import apply_template

Part = dict[str, Any]
METADATA: Part = {"labels": {"app": "ours"}, "annotations": {"digest": "ours"}}
SELECTOR = {"app": "ours"}
LOST = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
SPEC: Part = {
    "tolerations": [{"key": "node.kubernetes.io/not-ready", **LOST}],
    "containers": [
        {"name": "main", "volumeMounts": [{"name": "config", "mountPath": "/etc/main", "readOnly": True}]},
        {"name": "other"},
    ],
    "volumes": [{"name": "config", "configMap": {"name": "config"}}],
}
SPREAD = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": SELECTOR},
}


def applied(metadata: Part | None = None, **template: Any) -> tuple[Part, Part]:
    """Return metadata and spec; fails when the inputs were changed."""
    before = copy.deepcopy(SPEC)
    found = apply_template(
        metadata or METADATA, SPEC, PodTemplate.model_validate(template), container="main", selector=SELECTOR
    )
    assert before == SPEC
    return found


def test_a_template_that_says_nothing_only_spreads_pods() -> None:
    assert applied() == (METADATA, {**SPEC, "topologySpreadConstraints": [SPREAD]})


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_metadata_is_added_and_ours_stays(field: str) -> None:
    theirs = {"app": "theirs", "digest": "theirs", "team": "a", "livekit-operator.dev/serving": "true"}
    metadata, _ = applied(**{field: theirs})
    assert metadata[field] == {**{k: v for k, v in theirs.items() if "/" not in k}, **METADATA[field]}


@pytest.mark.parametrize(
    ("template", "key", "expected"),
    [
        ({"nodeSelector": {"media": "yes"}}, "nodeSelector", {"media": "yes"}),
        ({"affinity": {"nodeAffinity": {}}}, "affinity", {"nodeAffinity": {}}),
        ({"priorityClassName": "calls"}, "priorityClassName", "calls"),
        ({"runtimeClassName": "gvisor"}, "runtimeClassName", "gvisor"),
        ({"imagePullSecrets": [{"name": "registry"}]}, "imagePullSecrets", [{"name": "registry"}]),
    ],
)
def test_placement(template: Part, key: str, expected: object) -> None:
    _, spec = applied(**template)
    assert spec == {**SPEC, "topologySpreadConstraints": [SPREAD], key: expected}


@pytest.mark.parametrize(
    ("toleration", "kept"),
    [
        pytest.param({"key": "media", "operator": "Exists"}, True, id="another taint"),
        pytest.param({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}, False, id="the same taint"),
        pytest.param({"operator": "Exists"}, False, id="every taint"),
        pytest.param({"operator": "Exists", "effect": "NoSchedule"}, True, id="another effect"),
    ],
)
def test_of_tolerations_of_one_taint_the_users_counts(toleration: Part, kept: bool) -> None:
    _, spec = applied(tolerations=[toleration])
    assert spec["tolerations"] == [*(SPEC["tolerations"] if kept else []), toleration]


@pytest.mark.parametrize("given", [{}, {"labelSelector": {"matchLabels": {"app": "other"}}}])
def test_constraints_are_over_our_pods_unless_they_say_otherwise(given: Part) -> None:
    constraint = {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", **given}
    _, spec = applied(topologySpreadConstraints=[constraint])
    assert spec["topologySpreadConstraints"] == [{"labelSelector": {"matchLabels": SELECTOR}, **constraint}]


def test_volumes_are_mounted_in_the_one_container() -> None:
    volume, mount = {"name": "extra", "emptyDir": {}}, {"name": "extra", "mountPath": "/extra"}
    _, spec = applied(volumes=[volume], volumeMounts=[mount])
    assert spec["volumes"] == [*SPEC["volumes"], volume]
    main, other = spec["containers"]
    assert main["volumeMounts"] == [*SPEC["containers"][0]["volumeMounts"], mount]
    assert other == {"name": "other"}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"volumes": [{"name": "config", "emptyDir": {}}]}, "the name config is taken"),
        ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, "root is of type hostPath"),
        ({"volumes": [{"name": "far", "nfs": {}}]}, "far is of type nfs"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/etc/main"}]}, "/etc/main collides with /etc/main"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/etc/main/"}]}, "collides with /etc/main"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/etc/main/below"}]}, "/etc/main/below collides with /etc/main"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/etc"}]}, "/etc collides with /etc/main"),
        ({"volumeMounts": [{"name": "x", "mountPath": "etc/main"}]}, "etc/main collides with /etc/main"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/etc/a/../main"}]}, "collides with /etc/main"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/"}]}, "/ collides with /etc/main"),
    ],
)
def test_what_would_break_a_pod_is_refused(template: Part, message: str) -> None:
    with pytest.raises(Blocked, match=message) as error:
        applied(**template)
    assert error.value.problem.reason == "PodTemplateRejected"


@pytest.mark.parametrize("path", ["/etc/mainly", "/etc2", "/etc/other"])
def test_neighbours_do_not_collide(path: str) -> None:
    _, spec = applied(volumeMounts=[{"name": "config", "mountPath": path}])
    assert spec["containers"][0]["volumeMounts"][-1]["mountPath"] == path
