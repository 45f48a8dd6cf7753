"""What the documentation shows is what happens: every block of every page is run, and every link leads somewhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "core" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LIMIT = 110.0
"""Seconds that a page may take."""


def play(page: Path, directory: Path) -> tuple[int, str]:
    """Run a page's blocks in a directory; the exit status and all output."""
    programs = Path(sys.executable).parent
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("UMBEL_", "PYTEST_"))},
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",  # a page may write a file twice within a second
        "UMBEL_HOME": str(directory / ".umbel"),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.docs.play", str(page)],
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\nkilled after {LIMIT:.0f} s"
    return process.returncode, output


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_every_block_of_the_page_works(page: Path, tmp_path: Path) -> None:
    status, output = play(page, tmp_path)
    assert status == 0, output
    assert "Exception ignored" not in output


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[A-Z]*.md")], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    dead = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not dead
