"""The fault harness and the history checker of tests/faults, which the benchmarks share with the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.checker import Rules, check
from tests.faults.history import History, Tail, read
from tests.faults.kills import Plan, Run, Target
from tests.faults.processes import Sender, Worker, survivors
from tests.faults.report import Report, report

__all__ = [
    "History",
    "Plan",
    "Report",
    "Rules",
    "Run",
    "Sender",
    "Tail",
    "Target",
    "Worker",
    "check",
    "read",
    "report",
    "survivors",
]
