"""Finding apps by name, and the modules in which their tasks are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from umbel import Umbel, signals
from umbel.app.discovery import find_app
from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[str, str], None]

MAKE = "from umbel import Umbel\n{} = Umbel({!r}, set_as_current=False)\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into a folder on Python's path; all are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        for parent in file.relative_to(tmp_path).parents:
            if parent.name:
                (tmp_path / parent / "__init__.py").touch()
        file.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_attribute_may_be_named(write: Write) -> None:
    write("found_one.py", MAKE.format("one", "first") + MAKE.format("two", "second"))
    assert find_app("found_one:two").main == "second"
    assert find_app("found_one.two").main == "second"


def test_in_a_module_app_comes_first_then_celery_then_any(write: Write) -> None:
    write("found_two.py", MAKE.format("other", "any") + MAKE.format("celery", "celery") + MAKE.format("app", "app"))
    write("found_three.py", MAKE.format("other", "any") + MAKE.format("celery", "celery"))
    write("found_four.py", "x = 1\n" + MAKE.format("other", "any"))
    assert find_app("found_two").main == "app"
    assert find_app("found_three").main == "celery"
    assert find_app("found_four").main == "any"


@pytest.mark.parametrize("name", ["celery", "umbel"])
def test_in_a_package_its_module_celery_or_umbel_is_looked_into(write: Write, name: str) -> None:
    write(f"found_{name}/{name}.py", MAKE.format("app", "in the package"))
    assert find_app(f"found_{name}").main == "in the package"
    assert find_app(f"found_{name}.{name}").main == "in the package"


def test_an_app_in_a_package_s_own_file_is_found(write: Write) -> None:
    write("found_five/x.py", "")
    write("found_five/__init__.py", MAKE.format("whatever", "in the file"))
    assert find_app("found_five").main == "in the file"


def test_an_attribute_may_be_a_module(write: Write) -> None:
    write("found_six/inner.py", MAKE.format("app", "inner"))
    write("found_six/__init__.py", "from found_six import inner\n")
    assert find_app("found_six:inner").main == "inner"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("no_such_module", "there is no module of this name"),
        ("found_seven.no_such_module", "there is no module of this name"),
        ("found_seven:nothing", "found_seven has no attribute 'nothing'"),
        ("found_seven:number", "'number' is a int, not an app"),
        ("found_seven", "there is no app in found_seven"),
        (":app", "name a module"),
    ],
)
def test_what_is_not_there_is_a_clear_error(write: Write, name: str, match: str) -> None:
    write("found_seven.py", "number = 1\n")
    with pytest.raises(ImproperlyConfigured, match=match):
        find_app(name)


def test_an_error_of_the_module_s_own_is_raised_as_it_is(write: Write) -> None:
    write("found_eight.py", "import no_such_library\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        find_app("found_eight")
    write("found_nine/celery.py", "raise ValueError('broken')\n")
    with pytest.raises(ValueError, match="broken"):
        find_app("found_nine")


def test_a_proxy_of_the_current_app_is_followed(write: Write) -> None:
    write("found_ten.py", "from umbel import Umbel, current_app as app\nmine = Umbel('mine')\n")
    found = find_app("found_ten")
    assert found.main == "mine"
    assert type(found) is Umbel


def test_the_modules_of_the_settings_are_imported(write: Write, app: Umbel) -> None:
    write("found_tasks_a.py", "value = 1\n")
    write("found_tasks_b.py", "value = 2\n")
    app.conf.imports = ["found_tasks_a"]
    app.conf.include = ["found_tasks_b"]
    told: list[object] = []

    def receiver(sender: object, **named: object) -> None:
        told.append(sender)

    signals.import_modules.connect(receiver)
    try:
        assert [module.__name__ for module in app.import_default_modules()] == ["found_tasks_a", "found_tasks_b"]
    finally:
        signals.import_modules.disconnect(receiver)
    assert told == [app]


def test_tasks_of_packages_are_found_when_a_worker_starts_or_at_once(write: Write, app: Umbel) -> None:
    write("found_a/tasks.py", "")
    write("found_b/jobs.py", "")
    write("found_c/other.py", "")
    app.autodiscover_tasks(["found_a", "found_c"])
    app.autodiscover_tasks(lambda: ["found_b"], related_name="jobs")
    app.autodiscover_tasks(["found_c"], related_name=None)
    assert "found_a.tasks" not in sys.modules
    assert [module.__name__ for module in app.import_default_modules()] == ["found_a.tasks", "found_b.jobs", "found_c"]
    write("found_d/tasks.py", "")
    app.autodiscover_tasks(["found_d"], force=True)
    assert "found_d.tasks" in sys.modules


def test_a_tasks_module_that_cannot_be_imported_is_an_error(write: Write, app: Umbel) -> None:
    write("found_e/tasks.py", "import no_such_library\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        app.autodiscover_tasks(["found_e"], force=True)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        app.autodiscover_tasks(["no_such_package"], force=True)


def test_what_needs_django_says_so_and_one_name_is_not_taken_for_letters(app: Umbel) -> None:
    with pytest.raises(NotImplementedError, match="Django"):
        app.autodiscover_tasks()
    with pytest.raises(TypeError, match="takes a list"):
        app.autodiscover_tasks("proj")
