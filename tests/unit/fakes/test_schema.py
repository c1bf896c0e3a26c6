"""The fake API server refuses what the CRDs do not allow, and names the field."""

from typing import Any

import pytest

from livekit_operator.api.kinds import KINDS
from tests.fakes import manifests, schema
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.manifests import NAMESPACE, Manifest

_CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Ready",
    "message": "m",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"readyReplcas": 1}, "status.readyReplcas: there is no such field"),
        ({"servers": [{"name": "a", "state": "Serving", "adress": "b"}]}, "status.servers[0].adress: there is no such"),
        ({"replicas": "1"}, "status.replicas: '1' is not an integer"),
        ({"replicas": True}, "status.replicas: True is not an integer"),
        ({"servers": [{"name": "a", "state": "Lost"}]}, "status.servers[0].state: 'Lost' is none of"),
        ({"servers": [{"name": "a"}]}, "status.servers[0].state: is required"),
        ({"servers": [None]}, "status.servers[0]: None is not an object"),
        ({"servers": {}}, "status.servers: {} is not a list"),
        ({"conditions": [_CONDITION, _CONDITION]}, "status.conditions[1]: ['Ready'] is there twice"),
        ({"conditions": [{**_CONDITION, "lastTransitionTime": "now"}]}, "lastTransitionTime: 'now' is no date-time"),
    ],
)
async def test_a_status_that_the_crd_does_not_allow_fails_the_test(status: Manifest, problem: str) -> None:
    kubernetes = FakeKubernetes()
    kubernetes.put(manifests.server())
    with pytest.raises(AssertionError) as failed:
        await kubernetes.merge("LiveKitServer", NAMESPACE, "voice", {"status": status}, subresource="status")
    assert problem in str(failed.value)
    assert "readyReplicas" not in kubernetes.objects["LiveKitServer", NAMESPACE, "voice"]["status"]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"replica": 1}, "spec.replica: there is no such field"),
        ({"replicas": -1}, "spec.replicas: -1 is below 0"),
        ({"version": "newest"}, "spec.version: 'newest' does not match"),
        ({"resources": {"limits": {"cpu": -0.5}}}, "spec.resources.limits.cpu: -0.5 is below 0"),
        ({"resources": {"limits": {"cpu": ["1"]}}}, "spec.resources.limits.cpu: ['1'] has more items than 0"),
        ({"resources": {"limits": {"cpu": {}}}}, "spec.resources.limits.cpu: {} has fewer fields than 1"),
        ({"media": {"nodeIp": "1.2.3"}}, "spec.media.nodeIp: '1.2.3' is not one of"),
        ({"allowedNamespaces": ["a", "a"]}, "spec.allowedNamespaces[1]: 'a' is there twice"),
        ({"redis": {"address": "a:1", "database": 0, "managed": {"size": 1}}}, "spec.redis"),
    ],
)
def test_a_spec_that_the_crd_does_not_allow_fails_the_test(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(AssertionError) as failed:
        FakeKubernetes().put(manifests.server(**spec))
    assert problem in str(failed.value)


def test_what_stays_as_an_older_crd_allowed_it_is_no_fault() -> None:
    kubernetes = FakeKubernetes()
    kubernetes.put(manifests.room())
    kubernetes.objects["MeetingRoom", NAMESPACE, "support-42"]["spec"]["former"] = True
    kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"metadata": {"annotations": {"a": "b"}}})


def test_every_kind_is_checked() -> None:
    for kind in KINDS:
        for part in ("spec", "status"):
            assert schema.problems(kind.kind, part, {"misspelled": 1}), f"{part} of {kind.kind}"


def test_a_keyword_that_is_not_known_is_not_passed_over() -> None:
    with pytest.raises(TypeError, match="multipleOf"):
        schema.compiled({"type": "integer", "multipleOf": 2})
