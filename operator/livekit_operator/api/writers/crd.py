"""The CRD writer: pydantic models in, structural OpenAPI schemas out."""

from typing import Any

from livekit_operator.api.base import ApiModel
from livekit_operator.api.kinds import Kind
from livekit_operator.constants import GROUP, VERSION

Schema = dict[str, Any]

# Leaves room for the suffixes of children's names within the 63 characters of a label.
MAX_NAME_LENGTH = 50

# Keywords pydantic writes that a structural schema does not have.
_DROPPED = ("title", "additionalProperties", "$defs", "discriminator")


def build_crd(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of one kind.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
    """
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.scale:
        version["subresources"]["scale"] = {
            "specReplicasPath": kind.scale.spec_replicas,
            "statusReplicasPath": kind.scale.status_replicas,
            "labelSelectorPath": kind.scale.selector,
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": list(kind.categories),
            },
            "versions": [version],
        },
    }


def structural(model: type[ApiModel], *, defaults: bool = True) -> Schema:
    """Return the structural schema of a model: references inlined, no nulls, descriptions and CEL rules kept."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    schema: Schema = _convert(raw, raw.get("$defs", {}))
    if not defaults:
        _strip_defaults(schema)
    return schema


def _object_schema(kind: Kind) -> Schema:
    # An empty status would read as Ready to kstatus (Flux, Helm); a generation that never matches does not.
    # https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
    status = {**structural(kind.status, defaults=False), "default": {"observedGeneration": -1}}
    name = {"type": "string", "maxLength": MAX_NAME_LENGTH, "pattern": kind.name_pattern}
    metadata = {"type": "object", "properties": {"name": name}}
    return {
        "type": "object",
        "description": (kind.model.__doc__ or "").strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this representation."},
            "kind": {"type": "string", "description": "The kind of this resource."},
            "metadata": metadata,
            "spec": structural(kind.spec),
            "status": status,
        },
    }


def _column(column: Any) -> dict[str, Any]:
    entry = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**entry, "priority": column.priority} if column.priority else entry


def _convert(node: Any, definitions: dict[str, Schema]) -> Any:
    if isinstance(node, list):
        return [_convert(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _convert({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    if "type" in node and node["type"] is None:  # a number or a text
        return {k: v for k, v in node.items() if v is not None and k not in _DROPPED}
    if "anyOf" in node:
        # Optional[X]: absent is how this API says "nothing"; null is not part of it.
        variants = [v for v in node["anyOf"] if v.get("type") != "null"]
        rest = {k: v for k, v in node.items() if k != "anyOf"}
        if len(variants) == 1:
            return _convert({**variants[0], **rest}, definitions)
        raise TypeError(f"a structural schema cannot say {variants}")
    converted = {
        key: _convert_keyword(key, value, definitions)
        for key, value in node.items()
        if key not in _DROPPED and not (key == "default" and value is None)
    }
    if isinstance(node.get("additionalProperties"), dict):
        converted["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if converted.get("type") == "array":
        converted.setdefault("x-kubernetes-list-type", "atomic")
    if "const" in converted:
        converted["enum"] = [converted.pop("const")]
    return converted


def _convert_keyword(key: str, value: Any, definitions: dict[str, Schema]) -> Any:
    if key == "properties":
        return {name: _convert(sub, definitions) for name, sub in value.items()}
    if key == "default":
        return _without_nothing(value)
    if key in ("items", "anyOf", "allOf", "oneOf", "not"):
        return _convert(value, definitions)
    return value


def _without_nothing(value: Any) -> Any:
    """Return a default without what says nothing: CEL's `has` would find an empty list that nobody wrote."""
    if isinstance(value, dict):
        return {k: _without_nothing(v) for k, v in value.items() if v is not None and v != [] and v != {}}
    return value


def _strip_defaults(schema: Any) -> None:
    if isinstance(schema, dict):
        schema.pop("default", None)
        for value in schema.values():
            _strip_defaults(value)
    elif isinstance(schema, list):
        for value in schema:
            _strip_defaults(value)
