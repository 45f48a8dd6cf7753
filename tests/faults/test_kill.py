"""kill -9 of children and of whole workers under load: nothing is lost, and all comes back in time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults.checker import Rules, check
from tests.faults.history import read
from tests.faults.kills import Plan, Run
from tests.faults.report import report

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the harness finds a worker's processes in /proc"),
]


def test_no_task_is_lost_when_children_and_workers_are_killed(tmp_path: Path) -> None:
    with Run(tmp_path, Plan(child_kills=20, member_kills=6, worker_kills=4, quiet_kills=3)) as run:
        run.go()
    log = read(run.history.path)
    rules = Rules(recovery=2.0, child_recovery=1.0, quiescent=True, results=True, exit_within=27.0)
    findings = check(log, rules)
    figures = report(log, findings)
    assert [str(finding) for finding in findings] == []
    assert figures.kills == 33
    assert figures.interrupted >= 20, "the kills have to hit running tasks, else this shows nothing"
    assert figures.completed == figures.sent
