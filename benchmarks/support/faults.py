"""The fault harness and the history checker of tests/faults, which the benchmarks share with the tests."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.checker import Rules, check
from tests.faults.fairness import blame, mixed
from tests.faults.history import Log, read
from tests.faults.kills import Plan, Run, Target
from tests.faults.report import Report, report
from tests.faults.story import tell
from tests.faults.timing import idle_intervals

__all__ = [
    "Log",
    "Plan",
    "Report",
    "Rules",
    "Run",
    "Target",
    "blame",
    "check",
    "idle_intervals",
    "keep",
    "mixed",
    "read",
    "report",
    "tell",
]


def keep(folder: Path, place: str | None, name: str) -> None:
    """Copy what a run has left to where `--keep` said; not the pipes by which processes wake each other."""
    if place is not None:
        shutil.copytree(folder, Path(place) / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-run"))
