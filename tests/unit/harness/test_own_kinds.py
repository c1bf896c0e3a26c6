"""What the harness says of our kinds is said of all that are in the table, and of no other."""

import pytest

from livekit_operator.process.wiring import TABLE, resource_kinds
from tests.harness import contents, invariants

KINDS = resource_kinds(TABLE)


def test_the_kinds_whose_statuses_are_checked() -> None:
    assert list(invariants.OWN_KINDS) == KINDS


def test_the_kinds_that_a_story_shows_and_deletes() -> None:
    plurals = [row.resource.plural for row in TABLE.values() if row.resource]
    assert sorted(contents.OWN_KINDS.split(",")) == sorted(plurals)


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_of_each_kind_that_says_nothing_is_no_violation_and_one_without_conditions_of_its_kind_is(
    kind: str,
) -> None:
    manifest = {"metadata": {"name": "a", "namespace": "b", "generation": 1}, "spec": {"serverRef": {"name": "c"}}}
    assert invariants.violations(kind, manifest, {}) == []
    ready = {"type": "Other", "status": "True", "reason": "Ready", "message": "m", "observedGeneration": 1}
    told = {**manifest, "status": {"conditions": [ready], "observedGeneration": 1}}
    assert any("the condition Ready is missing" in found for found in invariants.violations(kind, told))
