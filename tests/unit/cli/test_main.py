"""The group of commands."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from umbel.cli.main import COMMANDS, umbel
from umbel.version import __version__


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys; from umbel.cli.main import umbel\n"
        "try: umbel.main(['--help'], 'umbel')\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.startswith('umbel.') or m in ('sqlite3', 'asyncio', 'pluggy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    help, modules = done.stdout.rsplit("\n", 2)[0], done.stdout.splitlines()[-1]
    for name in COMMANDS:
        assert f"  {name}" in help
    for heavy in ("umbel.app", "umbel.worker", "umbel.plugins", "sqlite3", "asyncio", "pluggy"):
        assert f"'{heavy}" not in modules


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_a_person_can_read(name: str) -> None:
    done = CliRunner().invoke(umbel, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Usage: ")
    assert len(done.output.splitlines()) > 4


def test_the_version_is_the_distributions() -> None:
    assert __version__ in CliRunner().invoke(umbel, ["--version"]).output
