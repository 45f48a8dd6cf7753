"""The harness sees what is broken: a toy queue passes it, and each way of breaking the toy is found by its name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults.checker import Rules, check
from tests.faults.fairness import mixed
from tests.faults.history import read
from tests.faults.kills import Plan, Run, Target
from tests.faults.report import report

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the harness finds a worker's processes in /proc"),
]


def toy(broken: str) -> Target:
    """The toy, broken in this way."""
    program = (sys.executable, "-m", "tests.faults.toy")
    sender, worker = (*program, "sender"), (*program, "worker")
    return Target(sender=sender, worker=worker, environ={"TOY": broken}, patience=2.0, die_within=2.0)


def findings(folder: Path, broken: str, plan: Plan) -> set[str]:
    with Run(folder, plan, toy(broken)) as run:
        run.go()
    log = read(run.history.path)
    found = check(log, Rules(recovery=2.0, quiescent=True))
    assert report(log, found).interrupted > 0
    return {each.name for each in found}


def test_a_queue_that_keeps_its_promises_passes(tmp_path: Path) -> None:
    assert findings(tmp_path, "", Plan(child_kills=8, worker_kills=4, quiet_kills=3)) == set()


@pytest.mark.parametrize(
    ("broken", "plan", "finding"),
    [
        ("pop", Plan(child_kills=6, worker_kills=0, quiet_kills=0), "lost"),
        ("late", Plan(child_kills=5, worker_kills=0, quiet_kills=0), "slow-recovery"),
        ("orphans", Plan(child_kills=5, worker_kills=2, quiet_kills=0, worker_kinds=("supervisor",)), "survived"),
        ("twice", Plan(child_kills=6, worker_kills=0, quiet_kills=0), "overlap"),
    ],
)
def test_a_broken_queue_is_found_out(tmp_path: Path, broken: str, plan: Plan, finding: str) -> None:
    assert finding in findings(tmp_path, broken, plan)


@pytest.mark.parametrize(("broken", "fair"), [("", True), ("hoard", False)])
def test_a_child_that_hoards_is_found_out(tmp_path: Path, broken: str, fair: bool) -> None:
    mixed(tmp_path, tasks=150, short=0.001, long=1.0, share=0.02, children=4, seed=3, target=toy(broken))
    found = check(read(tmp_path / "history.jsonl"), Rules(idle=0.25, spawn=1.0, children=4, quiescent=True))
    assert {each.name for each in found} == (set() if fair else {"idle"})
