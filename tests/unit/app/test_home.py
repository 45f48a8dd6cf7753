"""Where an app without a broker keeps its queue."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from umbel import Umbel
from umbel.exceptions import ImproperlyConfigured
from umbel.message.ids import new_id

MODULE = "from umbel import Umbel\napp = Umbel('proj', set_as_current=False)\n"


def located(code: str, cwd: Path, **environ: str) -> str:
    """What a program says its app's broker is."""
    env = {name: value for name, value in os.environ.items() if name != "UMBEL_HOME"} | environ
    answer = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def test_the_queue_is_beside_the_module_whatever_folder_the_program_runs_in(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    (project / "proj.py").write_text(MODULE + "if __name__ == '__main__': print(app.broker_url)\n")
    imported = "import proj; print(proj.app.broker_url)"
    urls = {
        located(imported, elsewhere, PYTHONPATH=str(project)),
        located(imported, project),
        located(f"import runpy; runpy.run_path({str(project / 'proj.py')!r}, run_name='__main__')", elsewhere),
    }
    assert urls == {f"sqlite:///{project.resolve()}/.umbel/queue.db"}


def test_a_session_without_a_file_keeps_it_in_the_current_folder(tmp_path: Path) -> None:
    assert located(MODULE + "print(app.home)", tmp_path) == str(tmp_path.resolve() / ".umbel")


def test_the_module_of_a_subclass_counts_for_nothing_but_the_one_that_makes_the_app(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "base_of_mine.py").write_text(
        "from umbel import Umbel\nclass Mine(Umbel):\n    def __init__(self, *args):\n        super().__init__(*args)\n"
    )
    (tmp_path / "proj.py").write_text("from base_of_mine import Mine\napp = Mine('proj')\n")
    url = located("import proj; print(proj.app.home)", tmp_path, PYTHONPATH=str(tmp_path / "lib"))
    assert url == str(tmp_path.resolve() / ".umbel")


def test_umbel_home_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_HOME", str(tmp_path / "a folder"))
    app = Umbel(set_as_current=False)
    assert app.home == str(tmp_path / "a folder")
    assert app.broker_url == app.result_url == f"sqlite:///{tmp_path}/a%20folder/queue.db"


def test_the_folder_is_made_and_the_queue_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_HOME", str(tmp_path / "a folder"))
    with Umbel("home", set_as_current=False) as app:
        app.send_task("some.task")
        assert app.broker.stats(["celery"])["celery"].ready == 1
    assert (tmp_path / "a folder" / "queue.db").is_file()


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UMBEL_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ImproperlyConfigured, match="set UMBEL_HOME"):
        Umbel(set_as_current=False).broker  # noqa: B018


@pytest.mark.parametrize(
    ("given", "results"),
    [
        ({"broker": "memory://a"}, "memory://a"),
        ({"broker": "sqlite:////tmp/a.db?fast=1"}, "sqlite:////tmp/a.db?fast=1"),
        ({"broker": "redis://host"}, None),
        ({"broker": "redis://host", "backend": "memory://b"}, "memory://b"),
        ({"broker": "memory://a", "backend": "disabled"}, None),
        ({"broker": "memory://a", "backend": "disabled://"}, None),
    ],
)
def test_results_go_with_the_messages_where_that_is_possible(given: dict[str, Any], results: str | None) -> None:
    app = Umbel(set_as_current=False, **given)
    assert app.result_url == results
    assert app.backend_is_set is (results is not None)


def test_without_a_store_there_is_no_backend_and_nobody_to_wait_for_it() -> None:
    with Umbel(set_as_current=False, broker=f"memory://{new_id()}", backend="disabled") as app:
        assert app.backend is None
        with pytest.raises(NotImplementedError, match="set result_backend"):
            app.waiter  # noqa: B018


@pytest.mark.parametrize("url", ["memory://a;memory://b", ["memory://a", "memory://b"]])
def test_several_brokers_are_refused_for_the_time_being(url: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="name one"):
        Umbel(set_as_current=False, broker=url).broker_url  # noqa: B018


def test_a_semicolon_may_be_part_of_a_url() -> None:
    assert Umbel(set_as_current=False, broker="redis://:a;b@host").broker_url == "redis://:a;b@host"


@pytest.mark.parametrize("name", ["broker_write_url", "broker_read_url"])
def test_settings_that_would_send_messages_elsewhere_are_refused(name: str) -> None:
    app = Umbel(set_as_current=False, broker="memory://a", changes={name: "memory://b"})
    with pytest.raises(ImproperlyConfigured, match=name):
        app.broker_url  # noqa: B018


def test_the_old_way_to_name_a_broker_is_refused_only_where_there_is_no_url() -> None:
    with pytest.raises(ImproperlyConfigured, match="broker_host"):
        Umbel(set_as_current=False, broker_host="host").broker_url  # noqa: B018
    assert Umbel(set_as_current=False, broker_host="host", broker="memory://a").broker_url == "memory://a"
