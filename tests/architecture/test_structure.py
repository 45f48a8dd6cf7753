"""The source keeps the shape that ARCHITECTURE describes: layers, sizes, words, and an import that stays light."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.architecture import structure
from tests.architecture.allowed import ALLOWED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.architecture.structure import Module, Offence

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "core" / "src" / "umbel"

ORDER = (
    *("version", "spec", "states", "exceptions", "signals", "clock", "current", "serialization", "routing", "message"),
    *("brokers", "backends", "results", "canvas", "task", "plugins", "app", "events", "control", "pools", "worker"),
    *("beat", "cli", "testing", "__main__", "__init__"),
)
"""Every layer imports only from itself and from those before it."""

IMPORT_NAMES = {"pyyaml": "yaml"}
"""Distributions that are imported under another name than their own."""

HEAVY = ("asyncio", "click", "sqlite3", "pluggy", "importlib.metadata", "logging.config")
"""What `import umbel` must not load."""

LONGEST_FILE, LONGEST_FUNCTION, WIDEST_CLASS = 400, 60, 30


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    """The parsed source of the core."""
    return structure.read(SOURCE)


def check(offences: Iterable[Offence]) -> None:
    """Fail on every offence that the table does not excuse."""
    left = [str(offence) for offence in offences if (offence.rule, offence.where) not in ALLOWED]
    assert not left, "\n" + "\n".join(left)


def test_imports_point_down(modules: dict[str, Module]) -> None:
    check(structure.upward(modules, ORDER))


def test_no_modules_import_each_other(modules: dict[str, Module]) -> None:
    check(structure.cycles(modules))


def test_the_core_imports_only_what_it_declares(modules: dict[str, Module]) -> None:
    project = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = [re.split(r"[\s\[<>=!~;]", requirement)[0].lower() for requirement in wanted]
    check(structure.foreign(modules, [IMPORT_NAMES.get(name, name) for name in names]))


def test_an_import_inside_a_function_says_why(modules: dict[str, Module]) -> None:
    check(structure.unexplained(modules, free=["cli"]))


def test_no_file_is_too_long(modules: dict[str, Module]) -> None:
    check(structure.long_files(modules, LONGEST_FILE))


def test_no_function_is_too_long(modules: dict[str, Module]) -> None:
    check(structure.long_functions(modules, LONGEST_FUNCTION))


def test_no_class_has_too_many_methods(modules: dict[str, Module]) -> None:
    check(structure.wide_classes(modules, WIDEST_CLASS))


def test_every_file_and_public_name_says_what_it_is_for(modules: dict[str, Module]) -> None:
    check(structure.undocumented(modules))


def test_every_exception_is_needed_and_has_a_reason(modules: dict[str, Module]) -> None:
    offences = [
        *structure.upward(modules, ORDER),
        *structure.cycles(modules),
        *structure.unexplained(modules, free=["cli"]),
        *structure.long_files(modules, LONGEST_FILE),
        *structure.long_functions(modules, LONGEST_FUNCTION),
        *structure.wide_classes(modules, WIDEST_CLASS),
        *structure.undocumented(modules),
        *structure.unmirrored(SOURCE, ROOT / "tests" / "unit"),
    ]
    idle = set(ALLOWED) - {(offence.rule, offence.where) for offence in offences}
    assert not idle, f"not needed any more: {sorted(idle)}"
    assert all(len(reason.split()) >= 4 for reason in ALLOWED.values()), "an exception needs a reason in words"


def test_the_tests_mirror_the_source() -> None:
    check(structure.unmirrored(SOURCE, ROOT / "tests" / "unit"))


def exported(modules: dict[str, Module]) -> list[tuple[str, Any]]:
    """Classes and functions that some `__all__` of the core names."""
    found = {}
    for name in modules.keys() - {"umbel.__main__"}:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            thing = getattr(module, public)
            ours = str(getattr(thing, "__module__", "")).startswith("umbel")
            if ours and (inspect.isclass(thing) or inspect.isfunction(thing)):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return sorted(found.items())


def silent_methods(name: str, thing: Any) -> list[str]:
    """Public methods and properties of a class without words of their own or their base's."""
    if not inspect.isclass(thing):
        return []
    kinds = (property, staticmethod, classmethod)
    keys = [key for key, value in vars(thing).items() if inspect.isfunction(value) or isinstance(value, kinds)]
    return [f"{name}.{key}" for key in keys if key[0] != "_" and not inspect.getdoc(getattr(thing, key))]


def test_every_exported_name_and_its_methods_are_documented(modules: dict[str, Module]) -> None:
    silent = [name for name, thing in exported(modules) if not inspect.getdoc(thing)]
    silent += [method for name, thing in exported(modules) for method in silent_methods(name, thing)]
    assert not silent, "\n" + "\n".join(silent)


def test_every_hook_is_documented(modules: dict[str, Module]) -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    hooks = structure.hooks(modules["umbel.spec.hooks"])
    assert hooks
    for name, docstring in hooks.items():
        assert docstring, f"{name} has no docstring"
        assert name in pages, f"no page of docs/ names {name}"


def loaded_by(statement: str) -> list[str]:
    """Which heavy modules the statement loads in a fresh interpreter, without what .pth files load."""
    path = [str(SOURCE.parent), sysconfig.get_path("purelib")]
    program = f"import sys; sys.path[:0] = {path!r}; {statement}; print([n for n in {HEAVY!r} if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    return [name for name in HEAVY if repr(name) in answer.stdout]


def test_importing_umbel_loads_nothing_heavy() -> None:
    assert loaded_by("import umbel") == []


def test_the_look_for_heavy_imports_finds_them() -> None:
    assert loaded_by("import sqlite3, click, umbel") == ["click", "sqlite3"]


def test_the_licence_in_the_wheel_is_the_licence_of_the_project() -> None:
    assert (ROOT / "LICENSE").read_text() == (ROOT / "core" / "LICENSE").read_text()
