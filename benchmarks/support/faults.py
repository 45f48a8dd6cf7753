"""The fault harness and the history checker of tests/faults, which the benchmarks share with the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.checker import Rules, check
from tests.faults.fairness import blame, mixed
from tests.faults.history import read
from tests.faults.kills import Plan, Run, Target
from tests.faults.report import Report, report
from tests.faults.story import tell
from tests.faults.timing import idle_intervals

__all__ = [
    "Plan",
    "Report",
    "Rules",
    "Run",
    "Target",
    "blame",
    "check",
    "idle_intervals",
    "mixed",
    "read",
    "report",
    "tell",
]
