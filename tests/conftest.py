"""What every test gets: an order, a queue file of its own, and an account of the servers at the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.servers import SERVERS, Choice, choose
from umbel import current

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST = ("architecture", "unit", "typing", "docs")
"""Folders of tests/ in the order in which they run; then the others, and last all that is marked slow."""

CHOICE = pytest.StashKey[Choice]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --servers."""
    help = "which servers tests may use: all (default; those that this machine has), none, or names: redis,rabbitmq"
    parser.addoption("--servers", default="all", metavar="NAMES", help=help)


def pytest_configure(config: pytest.Config) -> None:
    """Find out which servers this run is about; a wrong name ends it here."""
    try:
        config.stash[CHOICE] = choose(SERVERS, config.getoption("--servers"), os.environ)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast tests first, so that a mistake shows early."""
    here = config.rootpath / "tests"

    def place(item: pytest.Item) -> tuple[bool, int]:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return item.get_closest_marker("slow") is not None, FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=place)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose server is missing; fail it if that server is required."""
    choice = item.config.stash[CHOICE]
    for mark in item.iter_markers("needs_server"):
        name = mark.args[0]
        reason = choice.why_not(name)
        if reason is None:
            choice.ran[name] = choice.ran.get(name, 0) + 1
        elif name in choice.required:
            pytest.fail(f"{name} is required and missing: {reason}", pytrace=False)
        else:
            pytest.skip(f"no {name}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A required server that is missing fails the run, also if no test asked for it."""
    if session.config.stash[CHOICE].missing() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which servers were run and which not, and why."""
    terminalreporter.section("servers")
    for line in config.stash[CHOICE].report():
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _no_app_of_others(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test has the current app, or the default one, of a test before it."""
    monkeypatch.setattr(current, "_default", [])
    token = current.current_app.set(None)
    yield
    current.current_app.reset(token)


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test finds, or leaves, a queue file where another or the developer keeps theirs."""
    monkeypatch.setenv("UMBEL_HOME", str(tmp_path / "umbel-home"))
