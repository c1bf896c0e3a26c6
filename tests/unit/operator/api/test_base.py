"""What every model takes and passes over, and what it brings into the CRD beside its fields."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.livekitserver import LiveKitServerSpec


class Part(ApiModel):
    """A part of no resource."""

    some_words: str = ""


def test_a_field_has_a_camels_name_in_yaml() -> None:
    part = Part.model_validate({"someWords": "a"})
    assert part == Part(some_words="a")
    assert part.model_dump(by_alias=True) == {"someWords": "a"}


def test_what_was_read_stays_as_it_is() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Part().some_words = "b"  # type: ignore[misc]


def test_a_newer_crds_fields_do_not_stop_an_older_operator() -> None:
    assert LiveKitServerSpec.model_validate({"fromTheFuture": {"a": 1}}) == LiveKitServerSpec()


RULE = {"rule": "self.a != self.b", "message": "a and b must differ"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (rule("self.a != self.b", "a and b must differ"), RULE),
        (rule("self.a != self.b", "a and b must differ", ".b"), {**RULE, "fieldPath": ".b"}),
    ],
)
def test_a_rule_names_a_field_only_where_one_is_to_blame(entry: dict[str, str], expected: dict[str, str]) -> None:
    assert entry == expected


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (schema_extra(RULE), {"x-kubernetes-validations": [RULE]}),
        (schema_extra(format="cidr"), {"format": "cidr"}),
        (schema_extra(RULE, format="cidr"), {"x-kubernetes-validations": [RULE], "format": "cidr"}),
    ],
)
def test_a_schema_has_rules_only_where_there_are_some(extra: dict[str, Any], expected: dict[str, Any]) -> None:
    assert extra == expected
