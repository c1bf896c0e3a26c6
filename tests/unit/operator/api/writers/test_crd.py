"""The generated schemas are what the API server accepts as structural, and every field says what it is for."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, Field

from livekit_operator.api.kinds import BY_KIND, KINDS, Kind
from livekit_operator.api.writers.crd import MAX_NAME_LENGTH, build_crd, structural

Schema = dict[str, Any]

# Keywords of a structural schema:
# https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
ALLOWED = {
    "type", "description", "properties", "required", "items", "additionalProperties", "enum", "default", "format",
    "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "anyOf",
    "minProperties", "maxProperties", "oneOf", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def version_of(kind: Kind) -> dict[str, Any]:
    [version] = build_crd(kind)["spec"]["versions"]
    assert isinstance(version, dict)
    return version


def schema_of(kind: Kind) -> Schema:
    schema: Schema = version_of(kind)["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every node of a schema with its path."""
    yield path, schema
    for name, node in schema.get("properties", {}).items():
        yield from nodes(node, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


@by_kind
def test_every_node_is_structural(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        assert set(node) <= ALLOWED, path
        if node.get("x-kubernetes-int-or-string"):
            assert "type" not in node, path
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
        elif "type" not in node:
            assert node["x-kubernetes-preserve-unknown-fields"] is True, path
            # Neither a list nor an object can be like this.
            assert node["minItems"] > node["maxItems"], path
            assert node["minProperties"] > node["maxProperties"], path
        else:
            assert node["type"] in ("object", "array", "string", "integer", "number", "boolean"), path
            assert "anyOf" not in node, path
        assert not (node.get("properties") and "additionalProperties" in node), path
        assert node.get("additionalProperties") is not False, path
        if node["type"] == "array" if "type" in node else False:
            assert "items" in node, path


@by_kind
def test_every_field_has_a_description(kind: Kind) -> None:
    undescribed = [
        path
        for path, node in nodes(schema_of(kind))
        if path and not path.endswith(("[]", "{}")) and not path.startswith(".metadata") and not node.get("description")
    ]
    assert undescribed == []


@by_kind
def test_a_default_is_a_valid_value_without_nulls(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        if "default" in node:
            assert "None" not in repr(node["default"]), path


@by_kind
def test_lists_say_how_they_merge(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)["properties"]["spec"]):
        if node.get("type") == "array":
            assert node.get("x-kubernetes-list-type") in ("map", "set", "atomic"), path
            for key in node.get("x-kubernetes-list-map-keys", ()):
                assert key in node["items"]["required"], path


@by_kind
def test_what_rules_walk_over_is_bounded(kind: Kind) -> None:
    """The API server estimates what a rule may cost and refuses a CRD whose lists and texts have no end."""
    for path, node in nodes(schema_of(kind)["properties"]["spec"]):
        if node.get("type") == "array":
            assert "maxItems" in node, path


@by_kind
def test_texts_that_rules_read_are_bounded(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)["properties"]["spec"]):
        if node.get("type") == "string" and "x-kubernetes-validations" in node:
            assert "maxLength" in node, path


def test_nothing_of_the_stock_agent_is_there_unless_it_is_written() -> None:
    """Beside a command it would count as given, and be refused."""
    agent = schema_of(BY_KIND["VoiceAgentPool"])["properties"]["spec"]["properties"]["agent"]
    assert "default" not in agent
    assert [name for name, node in agent["properties"].items() if "default" in node] == ["runner"]


@by_kind
def test_an_empty_status_is_not_read_as_ready(kind: Kind) -> None:
    status = schema_of(kind)["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert [path for path, node in nodes(status) if path and "default" in node] == []
    assert not status.get("required")


@by_kind
def test_conditions_are_a_map_by_type(kind: Kind) -> None:
    conditions = schema_of(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["required"]) == {"type", "status", "reason", "message", "lastTransitionTime"}


@by_kind
def test_names_fit_into_labels(kind: Kind) -> None:
    name = schema_of(kind)["properties"]["metadata"]["properties"]["name"]
    assert name["maxLength"] == MAX_NAME_LENGTH
    assert re.search(name["pattern"], "a-1")
    for wrong in ("a.b", "-a", "a-", "A"):
        assert not re.search(name["pattern"], wrong)


def test_a_servers_name_becomes_a_service_and_starts_with_a_letter() -> None:
    pattern = schema_of(BY_KIND["LiveKitServer"])["properties"]["metadata"]["properties"]["name"]["pattern"]
    assert not re.search(pattern, "1a")
    assert re.search(pattern, "a1")


@pytest.mark.parametrize(
    ("kind", "short", "columns"),
    [
        (
            "LiveKitServer",
            "lks",
            ["Ready", "Reason", "URL", "Rooms", "Participants", "Servers", "Version", "Progress", "Age"],
        ),
        (
            "VoiceAgentPool",
            "vap",
            ["Ready", "Reason", "Desired", "Replicas", "Warm", "Busy", "Sessions", "Free", "Waiting", "Age"],
        ),
        ("MeetingRoom", "mr", ["Ready", "Reason", "Server", "Participants", "Agents", "Age"]),
    ],
)
def test_names_and_columns(kind: str, short: str, columns: list[str]) -> None:
    crd = build_crd(BY_KIND[kind])
    assert crd["spec"]["names"]["shortNames"] == [short]
    assert crd["spec"]["names"]["categories"] == ["all", "livekit"]
    assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.livekit-operator.dev"
    shown = version_of(BY_KIND[kind])["additionalPrinterColumns"]
    assert [column["name"] for column in shown if not column.get("priority")] == columns


@by_kind
def test_columns_show_fields_that_exist(kind: Kind) -> None:
    known = {re.sub(r"\[\]", "", path) for path, _ in nodes(schema_of(kind))} | {".metadata.creationTimestamp"}
    for column in version_of(kind)["additionalPrinterColumns"]:
        assert re.sub(r"\[.*?\]", "", column["jsonPath"]) in known, column


def test_what_has_pods_has_a_scale_subresource() -> None:
    scaled = {kind.kind: version_of(kind)["subresources"] for kind in KINDS}
    assert scaled["MeetingRoom"] == {"status": {}}
    assert (
        scaled["LiveKitServer"]["scale"]
        == scaled["VoiceAgentPool"]["scale"]
        == {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    )


@by_kind
def test_rules_blame_fields_that_exist(kind: Kind) -> None:
    rules = 0
    for path, node in nodes(schema_of(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            rules += 1
            here = node
            for name in filter(None, rule.get("fieldPath", "").split(".")):
                assert name in here["properties"], (path, rule)
                here = here["properties"][name]
    assert rules


def test_a_union_of_types_is_refused_when_it_is_written() -> None:
    from livekit_operator.api.base import ApiModel

    class Ambiguous(ApiModel):
        value: int | str = Field(description="Either.")

    with pytest.raises(TypeError, match="cannot say"):
        structural(Ambiguous)


def test_an_optional_field_is_its_type_and_not_required() -> None:
    from livekit_operator.api.base import ApiModel

    class Inner(ApiModel):
        size: int = Field(default=3, description="Size.")

    class Outer(ApiModel):
        inner: Inner | None = Field(default=None, description="The field's own words win.")
        fixed: Inner = Field(default=Inner(), description="With a default.")

    schema = structural(Outer)
    assert "required" not in schema
    assert schema["properties"]["inner"]["description"] == "The field's own words win."
    assert schema["properties"]["inner"]["properties"]["size"]["default"] == 3
    assert "default" not in schema["properties"]["inner"]
    assert schema["properties"]["fixed"]["default"] == {"size": 3}


def test_the_models_are_not_changed_by_writing_them() -> None:
    assert issubclass(BY_KIND["MeetingRoom"].model, BaseModel)
    assert [build_crd(kind) for kind in KINDS] == [build_crd(kind) for kind in KINDS]


def _unbounded(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the paths below which a user may write as much as etcd takes."""
    kind = schema.get("type")
    if (schema and kind is None) or kind == "string":  # without a type it is a number or a text
        if not {"maxLength", "enum"} & schema.keys():
            yield path
    elif kind == "array":
        if "maxItems" not in schema:
            yield path
        yield from _unbounded(schema["items"], f"{path}[]")
    elif kind == "object":
        free = "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema
        if free and "maxProperties" not in schema:
            yield path
        yield from _unbounded(schema.get("additionalProperties", {}), f"{path}.*")
        for name, inner in schema.get("properties", {}).items():
            yield from _unbounded(inner, f"{path}.{name}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_has_a_bound(kind: Kind) -> None:
    schema = build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(_unbounded(schema, "spec")) == []
