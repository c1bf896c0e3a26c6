"""What is added to a refusal of a pod: the containers, and what to do."""

from typing import Any

import pytest

from livekit_operator.manifests.pod_refusals import explain_refusal


def pod(**resources: dict[str, Any]) -> dict[str, Any]:
    """Return a pod of two containers, the first of which starts before the other."""
    runner, agent = ({"name": name, "resources": resources.get(name, {})} for name in ("runner", "agent"))
    return {"spec": {"initContainers": [runner], "containers": [agent]}}


SMALL = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
LARGE = {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
FORBIDDEN = '403 Forbidden: pods "x" is forbidden:'


@pytest.mark.parametrize(
    ("message", "named", "left_out"),
    [
        (f"{FORBIDDEN} minimum cpu usage per Container is 100m, but request is 50m", ["container runner"], "agent"),
        (
            f"{FORBIDDEN} [minimum cpu usage per Container is 100m, but request is 50m, "
            "minimum memory usage per Container is 128Mi, but request is 64Mi]",
            ["container runner (requests cpu 50m, requests memory 64Mi, limits memory 256Mi)"],
            "agent",
        ),
        (f"{FORBIDDEN} maximum memory usage per Container is 300Mi, but limit is 512Mi", ["container agent"], "runner"),
        (f"{FORBIDDEN} maximum cpu usage per Container is 1.  No limit is specified", ["runner", "agent"], None),
        (
            f"{FORBIDDEN} memory max limit to request ratio per Container is 2, but provided ratio is 4.000000",
            ["container runner", "container agent"],
            None,
        ),
    ],
)
def test_a_limit_ranges_refusal_names_the_container(message: str, named: list[str], left_out: str | None) -> None:
    told = explain_refusal(message, pod(runner=SMALL, agent=LARGE))
    for words in (*named, "spec.resources"):
        assert words in told
    assert left_out is None or f"container {left_out}" not in told


def test_a_container_without_resources_is_named_too() -> None:
    message = f"{FORBIDDEN} minimum cpu usage per Container is 100m.  No request is specified"
    assert "container agent (no requests, no limits)" in explain_refusal(message, pod(runner=SMALL))


@pytest.mark.parametrize(
    "message",
    [
        "unable to validate against any security context constraint: provider restricted-v2: "
        ".containers[0].runAsUser: Invalid value: 1000: must be in the ranges: [1000660000, 1000669999]",
        "denied: runAsUser must be one of this namespace's",
    ],
)
def test_ids_that_a_namespace_does_not_take_are_told_with_both_ways_out(message: str) -> None:
    told = explain_refusal(f"{FORBIDDEN} {message}", pod())
    assert "spec.podTemplate.runAsUser" in told
    assert "podSecurity.omitIds" in told


@pytest.mark.parametrize("message", ["exceeded quota: pods, requested: pods=1", "", "min per Pod"])
def test_other_refusals_are_for_people_to_solve(message: str) -> None:
    told = explain_refusal(f"{FORBIDDEN} {message}", pod())
    assert told.startswith(f"The API server refused: {FORBIDDEN}")
    assert told.endswith(". Change the spec, or the quota or policy that refuses it.")


def test_what_was_refused_is_named() -> None:
    assert explain_refusal("no", what="Secret keys").startswith("The API server refused Secret keys: no. Change")
