"""What every model of the API shares: camelCase names on the wire and CEL rules next to the fields they speak of."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """A part of a resource as the user writes it.

    Unknown fields are ignored here: the API server has already refused or pruned them, and an operator that is older
    than its CRDs must go on working.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def rule(expression: str, message: str, field_path: str | None = None) -> dict[str, str]:
    """Return one `x-kubernetes-validations` entry: a CEL expression over `self`, its message and the field it blames.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
    """
    entry = {"rule": expression, "message": message}
    if field_path:
        entry["fieldPath"] = field_path
    return entry


def schema_extra(*rules: dict[str, str], **extra: Any) -> dict[str, Any]:
    """Return the `json_schema_extra` that carries CEL rules and other schema keywords into the CRD."""
    return {**({"x-kubernetes-validations": list(rules)} if rules else {}), **extra}
