"""kill -9 of children and of whole workers on SQLite under load: losses, recovery, duplicates.

Everything is read from what the task bodies wrote (tests/faults), nothing from a library's own counters. `--peer` puts
huey under the same harness, which shows that the harness sees losses where there are some.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from environment import HERE, home, peers_python, peers_versions, working_folder
from support.faults import Plan, Report, Rules, Run, Target, check, keep, read, report
from support.figures import describe, judge, machine, number, save, table

RECOVERY = 2.0
"""Seconds until what the kill of a whole worker interrupted runs again, with another worker started at once."""
CHILD_RECOVERY = 1.0
"""The same where a child was killed."""
TARGETS = {
    "child": "a child",
    "member": "any process but the supervisor",
    "worker": "the whole worker",
    "supervisor": "the supervisor alone",
}
"""What is killed, as the table says it."""


def target_of(side: str) -> Target:
    """The commands of a side."""
    if side == "umbel":
        return Target()
    python = str(peers_python())
    worker = ("-m", "huey.bin.huey_consumer", "peers.huey_faults.huey", "-q", "-k", "process", "-c", "1")
    return Target(
        sender=(python, "-c", "from peers.huey_faults import main; main()"),
        worker=(python, *worker, "-d", "0.001", "-m", "0.001", "-b", "1"),
        concurrency="-w",
        environ={"PYTHONPATH": str(HERE)},
        stop=2,
    )


def measure(side: str, plan: Plan, place: str | None) -> tuple[Report, list[Any], float]:
    """One run: its figures, its findings, how long it took."""
    begun = time.monotonic()
    with working_folder() as name:
        folder = Path(name)
        try:
            with Run(folder, plan, target_of(side)) as run:
                run.go()
        finally:
            keep(folder, place, side)
        log = read(folder / "history.jsonl")
        ours = side == "umbel"
        rules = Rules(recovery=RECOVERY, child_recovery=CHILD_RECOVERY, quiescent=True, results=True)
        findings = check(log, rules if ours else Rules())
    return report(log, findings), findings, time.monotonic() - begun


def rows(side: str, figures: Report) -> list[list[str]]:
    """The lines of the table."""
    lines = []
    for kind, label in TARGETS.items():
        for more, remark in (("", ""), ("+", ", killed again meanwhile")):
            times = figures.recovery.get(kind + more)
            if times:
                lines.append([f"{side}, recovery from a kill of {label}{remark}", *_recovery(times)])
    return lines


def _recovery(times: dict[str, float]) -> list[str]:
    return [number(times["count"]), *(f"{1e3 * times[name]:.0f}" for name in ("p50", "p99", "max"))]


def main() -> int:
    """Kill, print what came of it and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children-killed", type=int, default=1000)
    parser.add_argument("--members-killed", type=int, default=100, help="any process but the supervisor")
    parser.add_argument("--workers-killed", type=int, default=100)
    parser.add_argument("--quiet-kills", type=int, default=20, help="with nothing else in the queue")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--backlog", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peer", action="store_true", help="huey first, with a tenth of the kills")
    parser.add_argument("--keep", metavar="FOLDER", help="keep histories, logs and databases there")
    parser.add_argument("--json", metavar="PATH", help="also write everything as JSON; - is standard output")
    options = parser.parse_args()
    facts = {**machine(home()), **(peers_versions() if options.peer else {})}
    print(describe(facts), flush=True)
    sides = [("umbel", 1)]
    if options.peer:
        sides.insert(0, ("huey", 10))
    lines, recoveries, all_figures, goals = [], [], {}, {}
    for side, share in sides:
        plan = Plan(
            child_kills=options.children_killed // share,
            member_kills=options.members_killed if side == "umbel" else 0,
            worker_kills=options.workers_killed // share,
            worker_kinds=("worker", "supervisor") if side == "umbel" else ("worker",),  # huey's children outlive theirs
            quiet_kills=options.quiet_kills if side == "umbel" else 0,
            in_a_row=0.25 if side == "umbel" else 1.0,  # what does not come back is not waited for
            children=options.concurrency,
            backlog=options.backlog,
            seed=options.seed,
            progress=lambda kind: print(kind[0], end="", file=sys.stderr, flush=True),
        )
        figures, findings, seconds = measure(side, plan, options.keep)
        print(file=sys.stderr)
        all_figures[side] = {**figures.as_dict(), "seconds": seconds, "findings": [str(found) for found in findings]}
        per_kill = figures.lost / figures.kills if figures.kills else 0.0
        counts = [figures.sent, figures.kills, figures.interrupted, figures.lost, figures.repeated, figures.duplicates]
        lines.append([side, *counts, f"{per_kill:.3f}", f"{figures.loss_bound:.4f}"])
        recoveries += rows(side, figures)
        for name, count in Counter(found.name for found in findings).items():
            print(f"{side}: {count} x {name}, for example {next(str(each) for each in findings if each.name == name)}")
        if side == "umbel":
            goals["no task lost"] = (f"{figures.lost} in {figures.kills} kills", figures.lost == 0)
            for bound, what, kinds in (
                (CHILD_RECOVERY, "a child", ("child", "member")),
                (RECOVERY, "a whole worker", ("worker", "supervisor")),
            ):
                slowest = max(
                    (figures.recovery[kind]["max"] for kind in kinds if kind in figures.recovery), default=0.0
                )
                goals[f"{what}'s tasks running again within {bound:.0f} s"] = (f"{slowest:.2f} s", slowest <= bound)
            goals["no broken promise of any other kind"] = (f"{len(findings)} findings", not findings)
    header = ["", "tasks", "kills", "interrupted", "lost", "repeated", "completed twice", "lost/kill", "at most (95 %)"]
    print(table(header, lines))
    print()
    print(table(["", "times", "p50 ms", "p99 ms", "max ms"], recoveries))
    save(options.json, {"machine": facts, "seed": options.seed, "figures": all_figures})
    return judge(goals)


if __name__ == "__main__":
    sys.exit(main())
