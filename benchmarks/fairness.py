"""Fairness and blame, judged by what task bodies wrote (tests/faults).

Fairness: one task name that takes 1 ms in 99 % of its calls and 10 s in 1 %, so that no average tells what the next
will take; all are in the queue before the worker starts. No ready task may wait over 250 ms while a child is idle.
Blame: a task that kills its own process, among good ones. It goes to the dead letters, and nothing else does.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from environment import home, working_folder
from support.faults import Log, Rules, blame, check, idle_intervals, keep, mixed, read, tell
from support.figures import describe, judge, machine, number, quantile, save, table

IDLE = 0.25


def fairness(options: argparse.Namespace) -> tuple[dict[str, Any], list[Any]]:
    """Run the mix; its figures and findings."""
    with working_folder() as name:
        folder = Path(name)
        least = mixed(
            folder,
            tasks=max(1, round(options.tasks * options.scale)),
            short=0.001,
            long=options.long,
            share=0.01,
            children=options.children,
            seed=options.seed,
        )
        log = read(folder / "history.jsonl")
        keep(folder, options.keep, "fairness")
    return judged(log, least, options)


def judged(log: Log, least: float, options: argparse.Namespace) -> tuple[dict[str, Any], list[Any]]:
    """Figures and findings of a history; `least` is how long it takes if no child is ever idle."""
    findings = check(log, Rules(idle=IDLE, spawn=1.0, children=options.children, quiescent=True))
    story = tell(log)
    runs = story.all_executions()
    begin, end = runs[0].start, max(each.until for each in runs)
    last_start = runs[-1].start
    idle = [
        min(until, last_start) - since
        for intervals in idle_intervals(story, 1.0).values()
        for since, until in intervals
        if since < last_start
    ]
    figures = {
        "tasks": len(story.sent),
        "long": sum(each.until - each.start > options.long / 2 for each in runs),
        "seconds": end - begin,
        "ideal_seconds": least,
        "longest_idle_ms": 1e3 * max(idle, default=0.0),
        "idle_p99_ms": 1e3 * quantile(idle, 0.99),
    }
    return figures, findings


def blamed(options: argparse.Namespace) -> tuple[dict[str, Any], list[Any]]:
    """Run the poison; its figures and findings."""
    with working_folder() as name:
        folder = Path(name)
        blame(folder, good=options.good, limit=options.limit, children=options.children)
        log = read(folder / "history.jsonl")
        keep(folder, options.keep, "blame")
    findings = check(log, Rules(delivery_limit=options.limit))
    story = tell(log)
    figures = {
        "good": options.good,
        "good_completed": sum(story.completed(id) is not None for id in story.sent if id != "poison"),
        "good_repeated": sum(len(runs) - 1 for id, runs in story.executions.items() if id != "poison"),
        "poison_starts": len(story.executions.get("poison", ())),
        "dead": sorted(story.dead),
    }
    return figures, findings


def main() -> int:
    """Run both, print figures and goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the tasks; 1.0 takes over four minutes")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--long", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--children", type=int, default=4)
    parser.add_argument("--good", type=int, default=1000, help="good tasks beside the poison")
    parser.add_argument("--limit", type=int, default=10, help="starts after which a task is a dead letter")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="FOLDER", help="keep histories, logs and databases there")
    parser.add_argument("--json", metavar="PATH", help="also write everything as JSON; - is standard output")
    options = parser.parse_args()
    facts = machine(home())
    print(describe(facts), flush=True)
    fair, fair_findings = fairness(options)
    print(table(["fairness", ""], [[name, number(value)] for name, value in fair.items()]), flush=True)
    blame_figures, blame_findings = blamed(options)
    print()
    print(table(["blame", ""], [[name, value] for name, value in blame_figures.items()]))
    for name, findings in (("fairness", fair_findings), ("blame", blame_findings)):
        for kind, count in Counter(found.name for found in findings).items():
            print(f"{name}: {count} x {kind}, for example {next(str(each) for each in findings if each.name == kind)}")
    waits = sum(found.name in {"idle", "unused"} for found in fair_findings)
    ran = blame_figures["good_completed"]
    alone = blame_figures["dead"] == ["poison"]
    save(options.json, {"machine": facts, "fairness": fair, "blame": blame_figures})
    return judge(
        {
            "no ready task waits over 250 ms while a child is idle": (f"{waits} did", waits == 0),
            "the poison is a dead letter, and no other task": (", ".join(blame_figures["dead"]) or "none", alone),
            "every good task ran": (str(ran), ran == options.good),
            "no broken promise of any other kind": (
                f"{len(fair_findings) + len(blame_findings)} findings",
                not fair_findings and not blame_findings,
            ),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
