"""A disk that fills up under a running worker: callers are told, the worker waits, and nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.workers.conftest import Project, until
from umbel.exceptions import OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = """
    @app.task
    def keep(text):
        return text
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Project]:
    """A project on a file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "umbel-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a file system of a size of its own can only be mounted by root: {mounted.stderr.strip()}")
    project = Project(folder, "proj_disk_full")
    try:
        yield project
    finally:
        project.close()
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return ballast


def test_callers_get_the_error_and_the_worker_goes_on_when_there_is_room(small_disk: Project) -> None:
    small_disk.write(TASKS)
    worker = small_disk.worker("-c", "1")
    keep = small_disk.task("keep")
    assert keep.delay("before").get(timeout=30) == "before"
    ballast = fill(small_disk.folder)
    taken: list[Any] = []

    def refused() -> str:
        try:
            taken.append(keep.apply_async(("x" * 20_000,), retry=False))
        except OperationalError as exc:
            return str(exc)
        return ""

    assert "q.db" in until(refused, "a caller is told that the disk is full")
    assert worker.poll() is None
    os.unlink(ballast)
    after = until(lambda: keep.delay("after"), "there is room again")
    assert after.get(timeout=10) == "after"
    assert all(len(result.get(timeout=30)) == 20_000 for result in taken)
    assert small_disk.stop(worker) == 0
    with closing(sqlite3.connect(small_disk.folder / "q.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
