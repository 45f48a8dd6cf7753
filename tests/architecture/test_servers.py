"""The account of servers is true: what is missing is skipped with its reason, and fails where it is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Server, choose

TESTS = Path(__file__).parents[1]
HERE = Server(name="here", missing=lambda: None)
GONE = Server(name="gone", missing=lambda: "no package of that name")

MADE_UP = """
SERVERS = (
    Server(name="here", missing=lambda: None),
    Server(name="gone", missing=lambda: "no package of that name"),
)

"""
INNER = """
import pytest

@pytest.mark.slow
def test_a_slow():
    pass

@pytest.mark.needs_server("gone")
def test_b_gone():
    pass

@pytest.mark.needs_server("here")
def test_c_here():
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our conftest, two made-up servers, and a test for each."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "__init__.py").touch()
    (tests / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    registry = (TESTS / "servers.py").read_text()
    before, after = registry.split("@dataclass(slots=True)\nclass Choice", 1)
    (tests / "servers.py").write_text(before + MADE_UP + "@dataclass(slots=True)\nclass Choice" + after)
    (tests / "test_inner.py").write_text(INNER)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\npythonpath = .\naddopts = --import-mode=importlib -p no:cacheprovider\n"
    )
    return tmp_path


def run(project: Path, *options: str, require: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run pytest on the made-up project."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "UMBEL"))}
    if require is not None:
        environ["UMBEL_REQUIRE_SERVERS"] = require
    command = [sys.executable, "-m", "pytest", "-v", *options]
    return subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)


def test_a_missing_server_is_skipped_and_its_reason_is_told(project: Path) -> None:
    ran = run(project)
    assert ran.returncode == 0, ran.stdout
    assert "here: 1 tests ran" in ran.stdout
    assert "gone: not run: no package of that name" in ran.stdout
    assert ran.stdout.splitlines()[-1].strip("= ").startswith("2 passed, 1 skipped")


def test_a_required_server_that_is_missing_fails(project: Path) -> None:
    ran = run(project, require="all")
    assert ran.returncode == 1
    assert "gone is required and missing: no package of that name" in ran.stdout
    assert "1 error" in ran.stdout.splitlines()[-1]


def test_a_required_server_that_is_missing_fails_the_run_even_if_no_test_asks_for_it(project: Path) -> None:
    ran = run(project, "-k", "here", require="gone")
    assert ran.returncode == 1
    assert "gone: not run (and is required): no package of that name" in ran.stdout


def test_a_server_that_was_left_out_on_purpose_is_not_run(project: Path) -> None:
    ran = run(project, "--servers=none")
    assert ran.returncode == 0
    assert "here: not run: left out by --servers" in ran.stdout


def test_slow_tests_run_last(project: Path) -> None:
    lines = run(project).stdout.splitlines()
    places = [
        next(i for i, line in enumerate(lines) if name in line)
        for name in ("test_b_gone", "test_c_here", "test_a_slow")
    ]
    assert places == sorted(places)


def test_a_wrong_name_is_refused_with_the_right_ones() -> None:
    with pytest.raises(ValueError, match=r"--servers names rediss; there are: here, gone \(or all, none\)"):
        choose((HERE, GONE), "rediss", {})
    with pytest.raises(ValueError, match="UMBEL_REQUIRE_SERVERS names redis; there are: no servers yet"):
        choose((), "all", {"UMBEL_REQUIRE_SERVERS": "redis"})
    assert choose((), "all", {"UMBEL_REQUIRE_SERVERS": "all"}).missing() == []
