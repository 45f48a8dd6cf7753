"""The codebase example, through a real worker on the SQLite default."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from examples.codebase.worker import Journal

EXAMPLE = Path(__file__).parents[2] / "examples" / "codebase"
FILES = 40


def start(cwd: Path, *options: str) -> subprocess.Popen[str]:
    """Start the example as a person does, from another directory."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), *options],
        cwd=cwd,
        env={**os.environ, "UMBEL_HOME": str(cwd / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(cwd: Path, *options: str) -> tuple[int, str, str]:
    """Run it to its end: exit status, output, errors."""
    process = start(cwd, *options)
    output, errors = process.communicate(timeout=100)
    return process.returncode, output, errors


def alive(pid: int) -> bool:
    """Whether the process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def journal(cwd: Path) -> Journal:
    """What the tasks of the run in this directory wrote."""
    (path,) = (cwd / "home").glob("journal-*.tsv")
    return Journal(path)


def test_every_file_of_a_run_is_in_the_report_once(tmp_path: Path) -> None:
    status, output, errors = run(tmp_path, "--json", f"--limit={FILES}")
    assert status == 0, errors
    report: dict[str, Any] = json.loads(output)
    happened = report["run"]
    assert report["files"] == FILES
    assert report["functions"] > 0
    assert happened["tasks"] == FILES + 1
    assert (happened["missing"], happened["more_than_once"], happened["started_again"]) == ([], [], [])
    assert set(journal(tmp_path).starts().values()) == {1}
    assert not [pid for pid in happened["processes"] if alive(pid)]


def test_a_file_that_does_not_parse_is_in_the_report_and_nothing_fails(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "good.py").write_text("def f():\n    return 1\n")
    (code / "bad.py").write_text("print 'old'\n")
    status, output, errors = run(tmp_path, f"--path={code}")
    assert status == 0, errors
    assert "1 files do not parse, and say why, for example\n  bad.py: SyntaxError" in output
    assert "each of the 2 files is in the report exactly once" in output
    assert "2 of 2 files" in errors


def test_a_folder_without_python_is_told(tmp_path: Path) -> None:
    status, _, errors = run(tmp_path, f"--path={tmp_path}")
    assert status == 2
    assert "There is no Python file in" in errors


@pytest.mark.slow
def test_nothing_is_missing_after_a_process_was_killed(tmp_path: Path) -> None:
    status, output, errors = run(tmp_path, "--kill", "--json", "--limit=300")
    assert status == 0, errors
    happened = json.loads(output)["run"]
    assert happened["killed"] in happened["processes"]
    assert len(happened["processes"]) == 3, "two, and the one that took the dead one's place"
    assert happened["missing"] == happened["more_than_once"] == []
    assert happened["was_reading"] in happened["started_again"]
    assert "SIGKILL to process" in errors


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_interrupted_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "home").glob("journal-*.tsv")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert not [pid for pid in journal(tmp_path).processes() if alive(pid)]
