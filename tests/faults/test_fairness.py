"""Short tasks do not wait behind long ones of their name, and a poison task is the only one to die."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults.checker import Rules, check
from tests.faults.fairness import blame, mixed
from tests.faults.history import read
from tests.faults.story import tell

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the harness finds a worker's processes in /proc"),
]


def test_no_ready_task_waits_while_a_child_is_idle(tmp_path: Path) -> None:
    mixed(tmp_path, tasks=600, short=0.001, long=2.0, share=0.02, children=4, seed=1)
    rules = Rules(idle=0.25, spawn=1.0, children=4, quiescent=True)
    assert [str(finding) for finding in check(read(tmp_path / "history.jsonl"), rules)] == []


def test_a_poison_task_goes_to_the_dead_letters_and_no_other_does(tmp_path: Path) -> None:
    blame(tmp_path, good=200, limit=5, children=2)
    log = read(tmp_path / "history.jsonl")
    assert [str(finding) for finding in check(log, Rules(delivery_limit=5))] == []
    story = tell(log)
    assert set(story.dead) == {"poison"}
    assert len(story.executions["poison"]) == 5
    # What had just ended and was not settled runs again, but once only: a task that killed comes alone from then on.
    assert max(len(runs) for id, runs in story.executions.items() if id != "poison") <= 2
