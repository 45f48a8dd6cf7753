"""What a person gets wrong at the command line gives one clear line, and no traceback."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

APP = """
    import os
    from umbel import Umbel
    app = Umbel("proj", broker=os.environ.get("TEST_BROKER", "sqlite:///" + os.path.dirname(__file__) + "/q.db"))

    @app.task
    def add(x, y):
        return x + y
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text(textwrap.dedent(APP))
    (tmp_path / "broken.py").write_text("import no_such_dependency\n")
    (tmp_path / "empty.py").write_text("")
    return tmp_path


def umbel(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "umbel", *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of the error; the test fails if there is a traceback, or no error."""
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_no_app_at_all_says_how_to_name_one(folder: Path) -> None:
    assert "-A" in complaint(umbel(folder, "queues"))


def test_a_missing_module_is_named(folder: Path) -> None:
    text = complaint(umbel(folder, "-A", "prjo", "worker"))
    assert "prjo" in text


def test_a_missing_attribute_is_named(folder: Path) -> None:
    assert "nothing" in complaint(umbel(folder, "-A", "proj:nothing", "worker"))


def test_a_module_without_an_app_is_named(folder: Path) -> None:
    assert "empty" in complaint(umbel(folder, "-A", "empty", "worker"))


def test_a_module_that_fails_shows_its_own_error(folder: Path) -> None:
    done = umbel(folder, "-A", "broken", "worker")
    assert done.returncode != 0
    assert "no_such_dependency" in done.stderr


def test_an_unknown_scheme_says_which_package_to_install(folder: Path) -> None:
    text = complaint(umbel(folder, "-A", "proj", "-b", "redis://localhost", "queues"))
    assert "umbel-redis" in text


def test_a_url_without_a_scheme_is_refused(folder: Path) -> None:
    assert "localhost" in complaint(umbel(folder, "-A", "proj", "-b", "localhost", "queues"))


def test_a_mistyped_command_suggests_the_right_one(folder: Path) -> None:
    assert "worker" in complaint(umbel(folder, "-A", "proj", "wroker"))


def test_arguments_that_are_not_json_are_named(folder: Path) -> None:
    assert "[1," in complaint(umbel(folder, "-A", "proj", "call", "proj.add", "-a", "[1,"))


def test_memory_with_prefork_says_which_pools_work(folder: Path) -> None:
    text = complaint(umbel(folder, "-A", "proj", "worker", "-P", "prefork", TEST_BROKER="memory://"))
    assert "memory" in text
    assert "threads" in text


def test_a_file_that_is_no_database_is_named(folder: Path) -> None:
    (folder / "q.db").write_bytes(b"this is no database at all, but long enough to be looked at" * 100)
    text = complaint(umbel(folder, "-A", "proj", "queues"))
    assert "q.db" in text


def test_a_database_of_a_newer_version_is_refused(folder: Path) -> None:
    assert umbel(folder, "-A", "proj", "call", "proj.add", "-a", "[1, 2]").returncode == 0
    with sqlite3.connect(folder / "q.db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    text = complaint(umbel(folder, "-A", "proj", "queues"))
    assert "999" in text
    assert "q.db" in text


def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    text = complaint(umbel(folder, "-A", "proj", "-b", f"sqlite:///{folder}/file/q.db", "queues"))
    assert "file" in text


def test_a_worker_name_given_twice_is_refused(folder: Path) -> None:
    command = [sys.executable, "-m", "umbel", "-A", "proj", "worker", "-c", "1", "-n", "same@here", "-l", "info"]
    first = subprocess.Popen(command, cwd=folder, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        for line in first.stdout:
            if "ready" in line:
                break
        text = complaint(umbel(folder, *command[3:]))
        assert "same@here" in text
    finally:
        first.terminate()
        first.communicate(timeout=30)


def test_a_result_that_is_not_there_yet_has_its_own_exit_code(folder: Path) -> None:
    done = umbel(folder, "-A", "proj", "result", "no-such-id")
    assert done.returncode == 2
    assert "PENDING" in done.stderr
