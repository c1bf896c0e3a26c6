"""Which of its reasons the operator's source gives, and with which words.

Names, constants of other modules and functions are followed as far as their words stand in the source.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef

PASSED_ON = "<passed on>"
"""Among the words of a message: one that was made elsewhere is in it."""
_DEPTH = 10


@dataclass(frozen=True)
class Use:
    """A reason, the words of its message that stand in the source, and where."""

    reason: str
    words: str
    place: str


@dataclass
class Module:
    """A module, and what is in it by name."""

    name: str
    tree: ast.Module
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name -> the module it is from, and what it is called there."""
    assigned: dict[tuple[Function | None, str], list[ast.expr]] = field(default_factory=dict)
    """Function, None for the top, and name -> what is assigned to it."""
    functions: dict[str, Function] = field(default_factory=dict)
    inside: dict[ast.AST, Function] = field(default_factory=dict)
    """Node -> the innermost function it is in."""


@dataclass(frozen=True)
class _Spot:
    module: Module
    node: ast.expr
    depth: int = 0

    def to(self, node: ast.expr, module: Module | None = None) -> "_Spot":
        return _Spot(module or self.module, node, self.depth + 1)


class Source:
    """The source of the operator's package in the folder `root`."""

    def __init__(self, root: Path) -> None:
        paths = {path: path.relative_to(root).with_suffix("").parts for path in sorted(root.rglob("*.py"))}
        self._modules = {
            ".".join((root.name, *parts)): _read(".".join((root.name, *parts)), ast.parse(path.read_text()))
            for path, parts in paths.items()
        }

    def uses(self) -> list[Use]:
        """Return each reason that a message follows, among arguments or in a tuple."""
        modules = self._modules.values()
        return [use for module in modules for node in ast.walk(module.tree) for use in self._at(module, node)]

    def _at(self, module: Module, node: ast.AST) -> Iterator[Use]:
        match node:
            case ast.Call(args=given) | ast.Tuple(elts=given):
                for reason, message in pairwise(given):
                    if isinstance(message, ast.Constant) and " " not in str(message.value):
                        continue
                    for name in self._reasons(_Spot(module, reason)):
                        words = " ".join(self._words(_Spot(module, message)))
                        yield Use(name, words, f"{module.name}:{reason.lineno}")

    def _reasons(self, spot: _Spot) -> Iterator[str]:
        """Yield the names of the reasons that an expression may be."""
        match spot.node:
            case ast.Attribute(value=ast.Name(id="reasons"), attr=name):
                yield name
            case ast.Call(func=ast.Name(id="Reason"), args=[ast.JoinedStr(values=parts)]):
                for part in parts:
                    if isinstance(part, ast.FormattedValue):
                        yield from self._reasons(spot.to(part.value))
            case ast.IfExp() | ast.Name() | ast.Call():
                for there in self._followed(spot):
                    yield from self._reasons(there)

    def _words(self, spot: _Spot) -> Iterator[str]:
        """Yield the words in an expression, those in what it is made of included."""
        match spot.node:
            case ast.Constant(value=str(text)):
                yield text
            case ast.Attribute(attr="message" | "trouble" | "provider_problem") | ast.Starred():
                yield PASSED_ON
            case ast.Subscript(value=value):
                yield from self._words(spot.to(value))
            case _:
                followed = list(self._followed(spot, nearest=True))
                inner = followed or [spot.to(n) for n in ast.iter_child_nodes(spot.node) if isinstance(n, ast.expr)]
                if isinstance(spot.node, ast.Call) and followed:
                    inner += [spot.to(argument) for argument in spot.node.args]
                for there in inner:
                    yield from self._words(there)

    def _followed(self, spot: _Spot, *, nearest: bool = False) -> Iterator[_Spot]:
        """Yield what a name or a call stands for, and the branches of a choice.

        A name stands for all that it is ever given in its function, or for the `nearest` one above.
        """
        if spot.depth > _DEPTH:
            return
        module, node = spot.module, spot.node
        match node:
            case ast.IfExp():
                yield from (spot.to(node.body), spot.to(node.orelse))
            case ast.BoolOp():
                yield from map(spot.to, node.values)
            case ast.Name(id=name) if name in module.functions:
                yield from self._returned(spot, module.name, name)
            case ast.Name():
                own = module.assigned.get((module.inside.get(node), node.id), [])
                before = [value for value in own if value.lineno < node.lineno]
                own = before[-1:] if nearest else own
                yield from map(spot.to, own or module.assigned.get((None, node.id), []))
                if node.id in module.imports:
                    where, name = module.imports[node.id]
                    there = self._modules.get(where)
                    for value in there.assigned.get((None, name), ()) if there else ():
                        yield spot.to(value, there)
            case ast.Call(func=ast.Name(id=name)):
                where, called = module.imports.get(name, (module.name, name))
                yield from self._returned(spot, where, called)
            case ast.Call(func=ast.Attribute(attr=name)) if not hasattr(str, name) and not hasattr(dict, name):
                for where in self._modules:
                    yield from self._returned(spot, where, name)

    def _returned(self, spot: _Spot, where: str, name: str) -> Iterator[_Spot]:
        """Yield what a function returns, by its module and name."""
        module = self._modules.get(where)
        function = module.functions.get(name) if module else None
        for inner in ast.walk(function) if function else ():
            if isinstance(inner, ast.Return | ast.Yield) and inner.value is not None:
                yield spot.to(inner.value, module)


def _read(name: str, tree: ast.Module) -> Module:
    module = Module(name, tree)

    def visit(node: ast.AST, function: Function | None) -> None:
        if function is not None:
            module.inside[node] = function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            module.functions[node.name] = function = node
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module.imports[alias.asname or alias.name] = node.module or "", alias.name
        for target, value in _assignments(node):
            module.assigned.setdefault((function, target), []).append(value)
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(tree, None)
    return module


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield names with what is assigned to them."""
    match node:
        case ast.Assign(targets=[target], value=value):
            pass
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
            pass
        case ast.NamedExpr(target=target, value=value):
            pass
        case _:
            return
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from (
            (one.id, its) for one, its in zip(target.elts, value.elts, strict=True) if isinstance(one, ast.Name)
        )
