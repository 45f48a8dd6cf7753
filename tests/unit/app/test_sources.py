"""Settings from objects, modules and dictionaries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from umbel import Umbel
from umbel.app.sources import from_mapping, from_object, load
from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path, whose modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_may_have_more_than_settings(folder: Path) -> None:
    (folder / "settings_one.py").write_text(
        "import os\nfrom datetime import timedelta\nresult_expires = timedelta(days=1)\ntask_default_queue = 'q'\n"
        "DATABASES = {}\nsecret_of_mine = 5\ndef task_helper(): pass\n_task_route = 1\n"
    )
    assert from_object("settings_one") == {"result_expires": 86400.0, "task_default_queue": "q"}


def test_a_class_in_a_module_is_named_with_a_dot_or_a_colon(folder: Path) -> None:
    (folder / "settings_two.py").write_text("class Production:\n    worker_prefetch = 9\n")
    assert from_object("settings_two.Production") == {"worker_prefetch": 9}
    assert from_object("settings_two:Production") == {"worker_prefetch": 9}
    assert load("settings_two:Production").worker_prefetch == 9


def test_an_attribute_that_looks_like_a_misspelt_setting_is_refused() -> None:
    class Settings:
        task_seralizer = "json"

    with pytest.raises(ImproperlyConfigured, match=r"Settings: no setting is named 'task_seralizer'; is 'task_serial"):
        from_object(Settings)


def test_in_a_namespace_only_its_own_names_count() -> None:
    class Settings:
        CELERY_TASK_DEFAULT_QUEUE = "q"
        CELERY_BROKER_URL = "memory://x"
        CELERY_ALWAYS_EAGER = True  # an old name in the namespace
        CELERY_EMAIL_CHUNK_SIZE = 10  # somebody else's
        TIME_ZONE = "Europe/Berlin"
        task_default_queue = "not this"

    assert from_object(Settings, "CELERY") == {
        "task_default_queue": "q",
        "broker_url": "memory://x",
        "task_always_eager": True,
    }


def test_a_misspelt_name_in_a_namespace_is_refused() -> None:
    class Settings:
        CELERY_TASK_DEFAULT_QUEU = "q"

    with pytest.raises(ImproperlyConfigured, match="is 'CELERY_TASK_DEFAULT_QUEUE' meant"):
        from_object(Settings, "CELERY")


def test_attributes_that_cannot_be_settings_are_not_even_read() -> None:
    class Lazy:
        task_default_queue = "q"

        @property
        def SECRET_KEY(self) -> str:
            raise ValueError("not set")

    assert from_object(Lazy()) == {"task_default_queue": "q"}


def test_old_and_new_names_in_one_source_are_refused_with_what_to_rename() -> None:
    class Settings:
        CELERYD_CONCURRENCY = 2
        task_default_queue = "q"

    with pytest.raises(ImproperlyConfigured, match="rename CELERYD_CONCURRENCY -> worker_concurrency"):
        from_object(Settings)


def test_both_spellings_of_one_setting_may_be_given_and_the_new_one_counts() -> None:
    class Settings:
        CELERYD_CONCURRENCY = 2
        worker_concurrency = 3

    assert from_object(Settings) == {"worker_concurrency": 3}


def test_old_names_alone_are_fine() -> None:
    assert from_mapping({"CELERYD_CONCURRENCY": 2, "BROKER_URL": "memory://x"}) == {
        "worker_concurrency": 2,
        "broker_url": "memory://x",
    }


def test_in_a_dictionary_every_name_must_be_a_setting() -> None:
    with pytest.raises(ImproperlyConfigured, match="no setting is named 'colour'"):
        from_object({"colour": "red"})


def test_a_wrong_value_in_a_source_is_refused(folder: Path) -> None:
    (folder / "settings_three.py").write_text("worker_prefetch = 'many'\n")
    app = Umbel(set_as_current=False)
    app.config_from_object("settings_three")
    with pytest.raises(ImproperlyConfigured, match="'worker_prefetch' must be a whole number, 1 or more, not 'many'"):
        app.conf.worker_prefetch  # noqa: B018


def test_a_module_that_is_not_there_is_an_error_unless_silent() -> None:
    app = Umbel(set_as_current=False)
    app.config_from_object("no_such_settings")
    with pytest.raises(ImproperlyConfigured, match="no_such_settings"):
        app.conf.worker_prefetch  # noqa: B018
    app.config_from_object("no_such_settings", silent=True)
    assert app.conf.worker_prefetch == 500


def test_an_error_in_the_module_is_raised_as_it_is(folder: Path) -> None:
    (folder / "settings_four.py").write_text("import no_such_library\n")
    app = Umbel(set_as_current=False)
    app.config_from_object("settings_four", silent=True)
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        app.conf.worker_prefetch  # noqa: B018


def test_with_force_the_source_is_read_at_once() -> None:
    app = Umbel(set_as_current=False)
    with pytest.raises(ImproperlyConfigured):
        app.config_from_object("no_such_settings", force=True)


def test_the_environment_may_name_the_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "settings_five.py").write_text("worker_prefetch = 11\n")
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "settings_five")
    assert Umbel(set_as_current=False).conf.worker_prefetch == 11
    monkeypatch.delenv("CELERY_CONFIG_MODULE")
    monkeypatch.setenv("MINE", "settings_five")
    app = Umbel(set_as_current=False)
    assert app.config_from_envvar("MINE")
    assert app.conf.worker_prefetch == 11
    assert not app.config_from_envvar("NOT_SET", silent=True)
    with pytest.raises(ImproperlyConfigured, match="NOT_SET"):
        app.config_from_envvar("NOT_SET")
