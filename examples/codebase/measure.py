"""What there is to know about one file of Python, and about many; nothing here has to do with tasks."""

from __future__ import annotations

import ast
import os
import warnings
from collections import Counter, defaultdict
from pathlib import Path, PurePath
from typing import Any

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FORKS = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OSError)
"""What reading or parsing a file may raise; deeply nested code exhausts the parser's memory."""


def measure(path: str) -> dict[str, Any]:
    """The size of a file, its definitions, and its function with the most branches. What cannot be read says why."""
    try:
        source = Path(path).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the code that is read, not of ours
            tree = ast.parse(source, path)
        counts, branchiest = _count(tree)
    except UNREADABLE as error:
        return {"path": path, "error": f"{type(error).__name__}: {error}"}
    return {
        "path": path,
        "error": None,
        "lines": source.count(b"\n") + (not source.endswith(b"\n") and source != b""),
        "functions": counts["function"],
        "classes": counts["class"],
        "documented": counts["documented"],
        "branchiest": branchiest,
    }


def _count(tree: ast.Module) -> tuple[Counter[str], dict[str, Any] | None]:
    counts: Counter[str] = Counter()
    branches: Counter[ast.AST] = Counter()
    """Of each function; a nested one counts for itself."""
    waiting: list[tuple[ast.AST, ast.AST | None]] = [(tree, None)]
    while waiting:
        node, function = waiting.pop()
        if isinstance(node, DEFINITIONS):
            counts["class" if isinstance(node, ast.ClassDef) else "function"] += 1
            counts["documented"] += ast.get_docstring(node, clean=False) is not None
            function = node if not isinstance(node, ast.ClassDef) else None
        elif function is not None:
            if isinstance(node, FORKS):
                branches[function] += 1
            elif isinstance(node, ast.BoolOp):
                branches[function] += len(node.values) - 1
            elif isinstance(node, ast.comprehension):
                branches[function] += 1 + len(node.ifs)
        waiting.extend((child, function) for child in ast.iter_child_nodes(node))
    if not branches:
        return counts, None
    (function, most), *_ = branches.most_common(1)
    return counts, {"name": function.name, "line": function.lineno, "branches": most}  # type: ignore[attr-defined]


def summarize(files: list[dict[str, Any]], base: str, top: int = 10) -> dict[str, Any]:
    """The report on all files: totals, packages by size, the functions with the most branches, what did not parse."""
    good = [file for file in files if file["error"] is None]
    packages: dict[str, Counter[str]] = defaultdict(Counter)
    for file in good:
        total = packages[package(file["path"], base)]
        total["files"] += 1
        for what in ("lines", "functions", "classes", "documented"):
            total[what] += file[what]
    forked = sorted(
        (file for file in good if file["branchiest"]), key=lambda file: -int(file["branchiest"]["branches"])
    )
    return {
        "base": base,
        "files": len(files),
        **{what: sum(file[what] for file in good) for what in ("lines", "functions", "classes", "documented")},
        "packages": [
            {"name": name, **total} for name, total in sorted(packages.items(), key=lambda item: -item[1]["lines"])
        ],
        "branchiest": [{"path": _short(file["path"], base), **file["branchiest"]} for file in forked[:top]],
        "unreadable": [{"path": _short(file["path"], base), "error": file["error"]} for file in files if file["error"]],
        "paths": sorted(file["path"] for file in files),
    }


def package(path: str, base: str) -> str:
    """The folder below the base that a file is in; a module of the base itself is in none."""
    parts = PurePath(_short(path, base)).parts
    return parts[0] if len(parts) > 1 else "(modules)"


def _short(path: str, base: str) -> str:
    whole = PurePath(path)
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else path


ASIDE = {"site-packages", "dist-packages", "__pycache__", "node_modules"}
"""Folders whose files are not the code base's own, besides those that begin with a dot."""


def sources(base: Path, limit: int | None = None) -> list[str]:
    """The Python files below a folder, installed packages aside; with a limit, as many, evenly spread."""
    found = []
    for folder, folders, files in os.walk(base):
        folders[:] = [name for name in folders if name not in ASIDE and not name.startswith(".")]
        found += [os.path.join(folder, name) for name in files if name.endswith(".py")]
    found.sort()
    if limit is None or limit >= len(found):
        return found
    return [found[number * len(found) // limit] for number in range(limit)]
