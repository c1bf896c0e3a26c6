"""A story that does to a node what its neighbours feel has no neighbours."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

STORIES = sorted((Path(__file__).parents[2] / "e2e").glob("test_*.py"))
# By these a node takes no pods, or ends: servers and agents of every namespace leave it.
DISTURBING = ("tests.harness.draining", "tests.cluster.nodes")


def disturbing(source: str) -> Iterator[tuple[str, bool]]:
    """Give each test of a module that uses what disturbs, itself or by what it calls there, and whether it is alone."""
    tree = ast.parse(source)
    uses = {node.name: names(node) for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    whole = any("alone" in marks(node) for node in tree.body if isinstance(node, ast.Assign))
    tools = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module in DISTURBING or f"{node.module}.{alias.name}" in DISTURBING
    }
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        reached, before = {node.name}, set[str]()
        while reached != before:
            before = set(reached)
            reached |= {name for function in before for name in uses.get(function, ())}
        if reached & tools:
            yield node.name, whole or any("alone" in marks(decorator) for decorator in node.decorator_list)


def names(node: ast.AST) -> set[str]:
    return {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}


def marks(node: ast.AST) -> set[str]:
    return {found.attr for found in ast.walk(node) if isinstance(found, ast.Attribute)}


def test_who_takes_a_node_away_is_alone() -> None:
    found = {f"{path.stem}::{name}": alone for path in STORIES for name, alone in disturbing(path.read_text())}
    assert len(found) >= 4
    assert [name for name, alone in found.items() if not alone] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from tests.harness.draining import draining_node\ndef test_a(): draining_node()", [("test_a", False)]),
        ("from tests.cluster import nodes\nasync def test_a(): nodes.end()", [("test_a", False)]),
        ("from tests.cluster import nodes\n@pytest.mark.alone\ndef test_a(): nodes.end()", [("test_a", True)]),
        (
            "from tests.cluster import nodes\npytestmark = [pytest.mark.alone]\ndef test_a(): x()\n"
            "def test_b(): b()\ndef b(): c()\ndef c(): nodes.end()",
            [("test_b", True)],
        ),
        # A name of its own.
        ("def test_a(nodes): nodes.end()", []),
    ],
)
def test_what_disturbs_is_found(source: str, expected: list[tuple[str, bool]]) -> None:
    assert list(disturbing(source)) == expected
