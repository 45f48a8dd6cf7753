"""The run: a chord over all files, watched until its report is there, and an account of what happened on the way."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from examples.codebase.tasks import count, report
from examples.codebase.worker import Killer, WorkerFailed
from umbel import chord, exceptions

if TYPE_CHECKING:
    from pathlib import Path

    from examples.codebase.show import Progress
    from examples.codebase.worker import Journal, Worker

PATIENCE = 300.0
"""Seconds without any file done after which the run is given up."""


def run(
    paths: list[str], base: Path, worker: Worker, journal: Journal, progress: Progress, *, kill: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Send the chord and wait for its report, showing how far it is; the report, and what happened on the way."""
    killer = Killer(worker, journal, after=len(paths) // 4) if kill else None
    started = moved = time.monotonic()
    result = chord([count.s(path) for path in paths])(report.s(base=str(base)))
    sent = time.monotonic() - started
    done, pause = 0, 0.1
    while True:
        try:
            found = result.get(timeout=pause)
            break
        except exceptions.TimeoutError:
            worker.check()
        looked = time.monotonic()
        before, done = done, result.parent.completed_count()
        now = time.monotonic()
        pause = max(0.1, 10 * (now - looked))  # looking must not be what takes the time
        moved = now if done > before else moved
        if now - moved > PATIENCE:
            raise WorkerFailed(f"no file was done for {PATIENCE:.0f} s.\n{worker.last_words()}")
        progress.draw(done, now - started)
        if killer and killer.kill(done):
            progress.say(f"  SIGKILL to process {killer.victim}, which was reading {killer.reading}")
    took = time.monotonic() - started
    progress.end(took)
    happened = {
        "tasks": len(paths) + 1,
        "seconds": round(took, 3),
        "seconds_to_send": round(sent, 3),
        "tasks_a_second": round((len(paths) + 1) / took, 1),
        "killed": killer.victim if killer else None,
        "was_reading": killer.reading if killer else None,
        "redone_seconds": round(journal.redone(killer.victim), 4) if killer and killer.victim else None,
        **account(paths, found.pop("paths"), journal),
    }
    return found, happened


def account(paths: list[str], reported: list[str], journal: Journal) -> dict[str, Any]:
    """Compare the files that were sent with those in the report, and with what the tasks wrote down."""
    times, starts = Counter(reported), journal.starts()
    return {
        "processes": sorted(journal.processes()),
        "missing": sorted(set(paths) - set(times)),
        "more_than_once": sorted(path for path, number in times.items() if number > 1),
        "started_again": sorted(path for path in paths if starts[path] > 1),
    }
