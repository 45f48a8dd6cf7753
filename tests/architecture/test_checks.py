"""Every check of the architecture can fail: each meets a made-up package that breaks its rule, and a good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.architecture import structure

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.architecture.structure import Module, Offence

ORDER = ("spec", "app", "cli", "__init__")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder of a package with nothing in it."""
    folder = tmp_path / "pack"
    folder.mkdir()
    write(folder, "__init__.py", '"""A package."""')
    return folder


def write(package: Path, file: str, source: str) -> None:
    """Add a file to the made-up package."""
    path = package / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)


def read(package: Path, **files: str) -> dict[str, Module]:
    """The package with these files: `app__base` is app/base.py."""
    for name, source in files.items():
        write(package, name.replace("__", "/") + ".py", source)
    return structure.read(package)


def places(offences: Iterable[Offence]) -> list[str]:
    """Where the offences are."""
    return [offence.where for offence in offences]


@pytest.mark.parametrize(
    "source",
    [
        "import pack.app.base",
        "from pack.app import base",
        "from pack.app.base import App",
        "from ..app import base",
        "from .. import app",
        "if TYPE_CHECKING:\n    from pack.app.base import App",
        "def f():\n    from pack.app.base import App",
        "class A:\n    def f(self):\n        if self:\n            import pack.app.base",
        "importlib.import_module('pack.app.base')",
        "__import__('pack.app')",
        "from pack import __version__",
    ],
)
def test_an_upward_import_is_found_wherever_it_hides(package: Path, source: str) -> None:
    modules = read(package, spec__low=source, app__base="", app__init="")
    assert places(structure.upward(modules, ORDER)) == ["pack/spec/low.py"]


@pytest.mark.parametrize(
    "source", ["import pack.spec.low", "from pack.spec import low", "from . import other", "import os"]
)
def test_a_downward_import_is_fine(package: Path, source: str) -> None:
    modules = read(package, spec__low="", app__base=source, app__other="")
    assert not list(structure.upward(modules, ORDER))


def test_a_layer_without_a_place_is_found(package: Path) -> None:
    assert places(structure.upward(read(package, extras__more=""), ORDER)) == ["pack/extras/more.py"]


def test_a_ring_of_imports_is_found_and_named(package: Path) -> None:
    modules = read(
        package,
        app__a="from pack.app import b",
        app__b="def f():\n    import pack.app.c",
        app__c="if TYPE_CHECKING:\n    from pack.app.a import A",
        app__d="from pack.app.a import A",
    )
    (ring,) = structure.cycles(modules)
    assert ring.what == "pack.app.a -> pack.app.b -> pack.app.c -> pack.app.a"


def test_modules_without_a_ring_are_fine(package: Path) -> None:
    modules = read(package, app__a="from pack.app import b, c", app__b="import pack.app.c", app__c="import os")
    assert not list(structure.cycles(modules))


def test_a_package_that_one_of_its_own_modules_imports_back_is_a_ring(package: Path) -> None:
    write(package, "app/__init__.py", "from pack.app.a import A")
    modules = read(package, app__a="from pack.app import B")
    assert len(list(structure.cycles(modules))) == 1


def test_a_client_library_is_found(package: Path) -> None:
    modules = read(package, app__a="import os, click, pack.app", app__b="def f():\n    import redis.client")
    assert places(structure.foreign(modules, ["click"])) == ["pack/app/b.py"]


def test_an_import_inside_a_function_needs_a_reason(package: Path) -> None:
    modules = read(
        package,
        app__a="def f():\n    import sqlite3",
        app__b="def f():\n    import sqlite3  # noqa: PLC0415",
        app__c="def f():\n    import sqlite3  # noqa: PLC0415 - loads 30 modules",
        app__d="def f():\n    # Loads 30 modules.\n    import sqlite3",
        app__e="import sqlite3",
        cli__f="def f():\n    import sqlite3",
    )
    assert places(structure.unexplained(modules, ["cli"])) == ["pack/app/a.py", "pack/app/b.py"]


def test_a_long_file_is_found(package: Path) -> None:
    modules = read(package, app__a="\n" * 11, app__b="\n" * 10)
    assert places(structure.long_files(modules, 10)) == ["pack/app/a.py"]


def test_a_long_function_is_found_by_its_qualified_name(package: Path) -> None:
    body = "    def f(self):\n" + "        pass\n" * 4
    modules = read(
        package, app__a="class A:\n" + body, app__b="async def g():\n" + "    pass\n" * 5, app__c="def h(): pass"
    )
    assert places(structure.long_functions(modules, 5)) == ["pack/app/b.py::g"]
    assert places(structure.long_functions(modules, 4)) == ["pack/app/a.py::A.f", "pack/app/b.py::g"]


def test_a_wide_class_is_found_and_private_methods_do_not_count(package: Path) -> None:
    wide = "class Wide:\n" + "".join(f"    def m{i}(self): pass\n" for i in range(4))
    narrow = "class Narrow:\n" + "".join(f"    def m{i}(self): pass\n    def _p{i}(self): pass\n" for i in range(3))
    modules = read(package, app__a=wide, app__b=narrow)
    assert places(structure.wide_classes(modules, 3)) == ["pack/app/a.py::Wide"]


def test_a_missing_docstring_is_found(package: Path) -> None:
    modules = read(
        package,
        app__a="def f(): pass",
        app__b='"""B."""\nclass C: pass\ndef _private(): pass\n@overload\ndef g(): ...\n@hookimpl\ndef hook(): pass',
        app__c='"""C."""\nif True:\n    async def late(): pass\n',
    )
    found = places(structure.undocumented(modules))
    assert found == ["pack/app/a.py", "pack/app/a.py::f", "pack/app/b.py::C", "pack/app/c.py::late"]


def test_a_hook_without_words_is_found(package: Path) -> None:
    source = '@hookspec(firstresult=True)\ndef one(): """One."""\n@hookspec\ndef two(): ...\ndef three(): ...'
    modules = read(package, spec__hooks=source)
    assert structure.hooks(modules["pack.spec.hooks"]) == {"one": "One.", "two": None}


def test_a_folder_without_tests_and_tests_without_a_folder_are_found(package: Path, tmp_path: Path) -> None:
    read(package, app__a="", spec__inner__b="")
    tests = tmp_path / "unit"
    write(tests, "app/test_a.py", "")
    write(tests, "gone/test_b.py", "")
    write(tests, "spec/helper.py", "")
    assert places(structure.unmirrored(package, tests)) == ["pack/spec/inner", "unit/gone"]
