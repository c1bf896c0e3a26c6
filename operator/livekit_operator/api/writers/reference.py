"""The writer of docs/api.md: every field with its type, default and description."""

from typing import Any

from livekit_operator.api.kinds import KINDS, Kind
from livekit_operator.api.writers.crd import structural
from livekit_operator.constants import API_VERSION

_INTRO = f"""# API reference

All three resources belong to `{API_VERSION}`. This page is generated from the models by `make generate`.
"""


def build_reference() -> str:
    """Return docs/api.md."""
    return "\n".join([_INTRO, *(_section(kind) for kind in KINDS)])


def _section(kind: Kind) -> str:
    names = f"`kubectl get {kind.plural}`, short `{kind.short_name}`"
    doc = (kind.model.__doc__ or "").strip()
    lines = [f"## {kind.kind}\n", f"{doc} {names}.\n"]
    for title, schema in (("spec", structural(kind.spec)), ("status", structural(kind.status, defaults=False))):
        lines += [f"### {kind.kind} {title}\n", "| field | type | default | description |", "|---|---|---|---|"]
        lines += [*_rows(schema, ""), ""]
        lines += _rules(schema, "")
    return "\n".join(lines)


def _rows(schema: dict[str, Any], prefix: str) -> list[str]:
    rows = []
    required = schema.get("required", [])
    for name, node in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        default = "**required**" if name in required else _default(node)
        rows.append(f"| `{path}` | {_type(node)} | {default} | {_cell(node.get('description', ''))} |")
        inner = node.get("items", node)
        rows += _rows(inner, f"{path}[]." if node.get("type") == "array" else f"{path}.")
    return rows


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " \\| ".join(f"`{value}`" for value in node["enum"])
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    if "x-kubernetes-int-or-string" in node and node.get("pattern", "").endswith("%$"):
        return f"integer ≥ {node['minimum']} or percentage"
    if "additionalProperties" in node:
        return "map"
    limits = [f"{sign}{node[key]}" for key, sign in (("minimum", "≥ "), ("maximum", "≤ ")) if key in node]
    return " ".join([str(node["type"]), *limits]) if "type" in node else "quantity"


def _default(node: dict[str, Any]) -> str:
    value = node.get("default")
    if value in (None, {}, []) or isinstance(value, dict):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _rules(schema: dict[str, Any], prefix: str) -> list[str]:
    """Return the rules between fields, one bullet each."""
    bullets = []
    for entry in schema.get("x-kubernetes-validations", []):
        path = f"{prefix}{entry.get('fieldPath', '').lstrip('.')}".rstrip(".")
        bullets.append(f"- `{path}`: {entry['message']}." if path else f"- {entry['message']}.")
    for name, node in schema.get("properties", {}).items():
        inner = node.get("items", node)
        if isinstance(inner, dict):
            bullets += _rules(inner, f"{prefix}{name}.")
    return [*bullets, ""] if bullets and not prefix else bullets
