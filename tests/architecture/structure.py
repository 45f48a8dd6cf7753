"""What the architecture tests look for in a package's source; every check returns its offences, none if all is well."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Offence:
    """One rule broken in one place."""

    rule: str
    where: str
    """``umbel/app/base.py`` or ``umbel/app/base.py::Umbel.send``: what an exception names."""
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed source file."""

    name: str
    """``umbel.results.group``; a package's own file has the package's name."""
    file: str
    """Relative to the folder above the package."""
    is_package: bool
    source: str
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module, wherever in the file it stands."""

    target: str
    line: int
    function: str | None
    """The function that it is inside of."""


def read(package: Path) -> dict[str, Module]:
    """All modules of a package, by name."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        source = path.read_text(encoding="utf-8")
        file = path.relative_to(package.parent).as_posix()
        modules[name] = Module(name, file, is_package, source, ast.parse(source, file))
    return modules


def imports(module: Module, modules: Mapping[str, Module]) -> Iterator[Import]:
    """Every import of the file: at the top, under TYPE_CHECKING, in functions, and by `import_module("...")`."""
    for node, function in _with_function(module.tree, None):
        for target in _targets(node, module, modules):
            yield Import(target, getattr(node, "lineno", 0), function)


def _with_function(node: ast.AST, function: str | None) -> Iterator[tuple[ast.AST, str | None]]:
    for child in ast.iter_child_nodes(node):
        yield child, function
        yield from _with_function(child, child.name if isinstance(child, FUNCTIONS) else function)


def _targets(node: ast.AST, module: Module, modules: Mapping[str, Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, module)
        for alias in node.names:
            whole = f"{base}.{alias.name}"
            yield whole if whole in modules else base
    elif isinstance(node, ast.Call) and node.args:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = node.args[0]
        if called in ("import_module", "__import__") and isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


def _base(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, node.module] if node.module else package)


# --- arrows ----------------------------------------------------------------------------------------------------------


def upward(modules: Mapping[str, Module], order: Sequence[str]) -> Iterator[Offence]:
    """Imports of a layer that is above one's own, and modules that have no place in the order."""
    height = {layer: place for place, layer in enumerate(order)}
    for module in modules.values():
        own = _layer(module.name)
        if own not in height:
            yield Offence("order", module.file, f"{own!r} has no place in the order of layers")
            continue
        for found in imports(module, modules):
            if found.target not in modules and found.target.split(".")[0] != module.name.split(".")[0]:
                continue
            other = _layer(found.target)
            if height.get(other, -1) > height[own]:
                what = f"line {found.line} imports {found.target}, and {other} is above {own}"
                yield Offence("upward import", module.file, what)


def _layer(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def cycles(modules: Mapping[str, Module]) -> Iterator[Offence]:
    """Modules that import each other, directly or in a ring."""
    graph = {
        name: sorted({found.target for found in imports(module, modules) if found.target in modules})
        for name, module in modules.items()
    }
    for ring in _rings(graph):
        yield Offence("import cycle", modules[ring[0]].file, " -> ".join([*ring, ring[0]]))


def _rings(graph: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """One ring out of each knot of the graph."""
    done: set[str] = set()
    for start in graph:
        if start in done:
            continue
        ring = _path(graph, start, start)
        if ring:
            done.update(ring)
            yield ring


def _path(graph: Mapping[str, Sequence[str]], start: str, end: str) -> list[str]:
    """The shortest way along at least one arrow; empty if there is none."""
    came_from = dict.fromkeys(graph[start], start)
    waiting = list(came_from)
    while waiting and end not in came_from:
        name = waiting.pop(0)
        for following in graph[name]:
            if following not in came_from:
                came_from[following] = name
                waiting.append(following)
    if end not in came_from:
        return []
    path = [came_from[end]]
    while path[0] != start:
        path.insert(0, came_from[path[0]])
    return path


def foreign(modules: Mapping[str, Module], allowed: Iterable[str]) -> Iterator[Offence]:
    """Imports of what is neither Python's, nor ours, nor a declared dependency: a transport's client, say."""
    fine = {*sys.stdlib_module_names, *allowed}
    for module in modules.values():
        for found in imports(module, modules):
            package = found.target.split(".")[0]
            if package not in fine and package != module.name.split(".")[0]:
                yield Offence("foreign import", module.file, f"line {found.line} imports {found.target}")


def unexplained(modules: Mapping[str, Module], free: Iterable[str]) -> Iterator[Offence]:
    """Imports inside a function without a comment that says why; the layers in `free` need none."""
    for module in modules.values():
        if _layer(module.name) in free:
            continue
        lines = module.source.splitlines()
        for node, function in _with_function(module.tree, None):
            if function is None or not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            around = lines[node.lineno - 2].strip(), *lines[node.lineno - 1 : node.end_lineno]
            if not around[0].startswith("#") and not any(_comment(line) for line in around[1:]):
                yield Offence("unexplained import", module.file, f"line {node.lineno}, in {function}()")


def _comment(line: str) -> str:
    """What the line's comment says, without a linter's marks."""
    said = line.partition("#")[2].strip()
    if said.startswith("noqa"):
        said = said.partition(" - ")[2] or said.partition("#")[2]
    return said.strip()


# --- sizes -----------------------------------------------------------------------------------------------------------


def long_files(modules: Mapping[str, Module], limit: int) -> Iterator[Offence]:
    """Files of more lines than the limit."""
    for module in modules.values():
        count = len(module.source.splitlines())
        if count > limit:
            yield Offence("long file", module.file, f"{count} lines, and {limit} are allowed")


def long_functions(modules: Mapping[str, Module], limit: int) -> Iterator[Offence]:
    """Functions and methods of more lines than the limit."""
    for module in modules.values():
        for name, node in _definitions(module.tree, ""):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if isinstance(node, FUNCTIONS) and count > limit:
                yield Offence("long function", f"{module.file}::{name}", f"{count} lines, and {limit} are allowed")


def wide_classes(modules: Mapping[str, Module], limit: int) -> Iterator[Offence]:
    """Classes that define more public methods and properties than the limit."""
    for module in modules.values():
        for name, node in _definitions(module.tree, ""):
            if isinstance(node, ast.ClassDef):
                public = {child.name for child in node.body if isinstance(child, FUNCTIONS) and _is_public(child.name)}
                if len(public) > limit:
                    what = f"{len(public)} public methods, and {limit} are allowed"
                    yield Offence("wide class", f"{module.file}::{name}", what)


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Definition]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            yield prefix + child.name, child
            yield from _definitions(child, f"{prefix}{child.name}.")
        else:
            yield from _definitions(child, prefix)


def _is_public(name: str) -> bool:
    return not name.startswith("_")


# --- words -----------------------------------------------------------------------------------------------------------


def undocumented(modules: Mapping[str, Module]) -> Iterator[Offence]:
    """Files, and public functions and classes of a module, without a docstring; a hook's words are in its spec."""
    for module in modules.values():
        if not ast.get_docstring(module.tree):
            yield Offence("no docstring", module.file, "the file does not say what it is for")
        for node in _top_level(module.tree):
            marks = {ast.unparse(mark).split("(")[0].split(".")[-1] for mark in node.decorator_list}
            if _is_public(node.name) and not ast.get_docstring(node) and not marks & {"overload", "hookimpl"}:
                yield Offence("no docstring", f"{module.file}::{node.name}", f"line {node.lineno}")


def _top_level(node: ast.AST) -> Iterator[Definition]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            yield child
        elif isinstance(child, (ast.If, ast.Try)):
            yield from _top_level(child)


def hooks(module: Module) -> dict[str, str | None]:
    """The hooks that a file specifies, with their docstrings."""
    return {
        node.name: ast.get_docstring(node)
        for node in _top_level(module.tree)
        if any(ast.unparse(mark).split("(")[0] == "hookspec" for mark in node.decorator_list)
    }


def unmirrored(source: Path, tests: Path) -> Iterator[Offence]:
    """Folders of the source without tests in the folder of the same name, and folders of tests without a source."""
    folders = {
        path.parent.relative_to(source).as_posix() for path in source.rglob("*.py") if path.name != "__init__.py"
    }
    tested = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    for folder in sorted(folders - tested):
        yield Offence(
            "no tests", f"{source.name}/{folder}".removesuffix("/."), f"no test_*.py in {tests.name}/{folder}"
        )
    for folder in sorted(tested - folders):
        yield Offence("stray tests", f"{tests.name}/{folder}".removesuffix("/."), f"{source.name} has no such folder")
