"""Umbel against huey, both on one SQLite file: sending, draining, round trips.

Modes: `full` is equal durability (synchronous=FULL for both), with huey's polling tuned to 1 ms. `default` is what each
does when told nothing: FULL for both too, but huey polls with its own pauses. `relaxed` is the fastest each offers:
Umbel `fast=1` is NORMAL, huey `fsync=False` is OFF, which is weaker. huey delivers at most once, Umbel at least once.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from environment import environ, home, peers_versions, python_of, working_folder
from sides.base import Setting
from support.figures import describe, interleaved, judge, machine, median, number, save, table, times

SIDES = ("huey", "umbel")
MODES = ("full", "default", "relaxed")
PARTS = ("enqueue", "bulk", "drain", "latency")


def measure(side: str, scenario: str, setting: Setting, workers: int, *under: str) -> dict[str, Any]:
    """One scenario in a process of its own."""
    command = [*under, python_of(side), "-m", "sides.measure", side, scenario, "--workers", str(workers)]
    done = subprocess.run(
        command, env=environ(**setting.environ()), cwd=setting.folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{side} {scenario} {setting.mode} failed:\n{done.stderr}\n{done.stdout}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def compare(scenario: str, mode: str, *, results: bool, size: int, workers: int, repeat: int) -> dict[str, Any]:
    """Both sides in turn; medians of every figure."""

    def run(side: str) -> dict[str, Any]:
        with working_folder() as folder:
            return measure(side, scenario, Setting(Path(folder), mode, results, size), workers)

    runs = interleaved(SIDES, repeat, run)
    figures = {
        side: {
            name: median(answer[name] for answer in answers) if isinstance(value, (int, float)) else value
            for name, value in answers[0].items()
        }
        for side, answers in runs.items()
    }
    what = {"scenario": scenario, "mode": mode, "results": results, "size": size, "workers": workers}
    return {**what, "figures": figures, "runs": runs}


def syncs(side: str, mode: str) -> float | None:
    """How often the system was asked to sync, a call: what durability comes to. None without strace."""
    if not shutil.which("strace"):
        return None
    with working_folder() as name:
        trace, calls = Path(name) / "trace", 220
        spy = ("strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace))
        measure(side, "enqueue", Setting(Path(name), mode, True, calls), 0, *spy)
        return len(re.findall(r"\bf(?:data)?sync\(", trace.read_text())) / calls


def plan(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The comparisons asked for."""
    todo: list[dict[str, Any]] = []
    for mode in options.modes:
        common = {"mode": mode, "repeat": options.repeat}
        for scenario in ("enqueue", "bulk"):
            if scenario in options.parts:
                todo.append({"scenario": scenario, "results": True, "size": options.tasks, "workers": 0, **common})
        if "drain" in options.parts:
            for results in (True, False):
                for workers in options.workers:
                    size = options.tasks
                    todo.append({"scenario": "drain", "results": results, "size": size, "workers": workers, **common})
        if "latency" in options.parts:
            samples = options.samples + 5
            todo.append({"scenario": "latency", "results": True, "size": samples, "workers": 1, **common})
    return todo


def rows(comparison: dict[str, Any]) -> list[list[str]]:
    """A comparison as lines of the table; the ratio says how many times better Umbel is."""
    huey, umbel = (comparison["figures"][side] for side in SIDES)
    mode, workers = comparison["mode"], comparison["workers"] or "-"
    if comparison["scenario"] == "latency":
        return [
            [f"{label}, ms", mode, workers, number(huey[name]), number(umbel[name]), times(huey[name] / umbel[name])]
            for label, name in (
                ("start p50", "start_p50_ms"),
                ("round trip p50", "trip_p50_ms"),
                ("round trip p99", "trip_p99_ms"),
                ("its worker's CPU, %", "worker_cpu_percent"),
            )
        ]
    label = {"enqueue": "enqueue one by one", "bulk": "enqueue in bulk"}.get(comparison["scenario"])
    label = label or f"drain, results {'on' if comparison['results'] else 'off'}"
    speed = times(umbel["rate"] / huey["rate"])
    work = times(huey["cpu_us"] / umbel["cpu_us"])
    return [
        [f"{label}, tasks/s", mode, workers, number(huey["rate"]), number(umbel["rate"]), speed],
        ["  CPU us a task", "", "", number(huey["cpu_us"]), number(umbel["cpu_us"]), work],
    ]


def goals(comparisons: list[dict[str, Any]]) -> dict[str, tuple[str, bool]]:
    """What the project set itself."""
    found: dict[str, tuple[str, bool]] = {}
    for each in comparisons:
        huey, umbel = (each["figures"][side] for side in SIDES)
        if each["mode"] != "full":
            continue
        if each["scenario"] == "drain" and each["results"]:
            ratio = umbel["rate"] / huey["rate"]
            found[f"drain with results, {each['workers']} workers, 10 x huey"] = (times(ratio), ratio >= 10)
        if each["scenario"] == "latency":
            trip = umbel["trip_p50_ms"]
            found["round trip p50 under 3 ms"] = (f"{trip:.2f} ms", trip < 3)
    return found


def main() -> int:
    """Measure, print one table of ratios and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=300, help="round trips")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", metavar="PATH", help="also write everything as JSON; - is standard output")
    options = parser.parse_args()
    facts = {**machine(home()), **peers_versions()}
    print(describe(facts), flush=True)
    comparisons, lines = [], []
    for todo in plan(options):
        comparisons.append(compare(todo.pop("scenario"), todo.pop("mode"), **todo))
        lines += rows(comparisons[-1])
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(table(["", "mode", "workers", *SIDES, "umbel is better by"], lines))
    for mode in options.modes:
        figures = [each["figures"] for each in comparisons if each["mode"] == mode]
        counted = {side: syncs(side, mode) for side in SIDES} if "enqueue" in options.parts else {}
        for side in SIDES if figures else ():
            often = f", {counted[side]:.2f} syncs a call sent" if counted.get(side) is not None else ""
            print(f"{mode}: {side} {figures[0][side]['durability']}{often}")
    save(options.json, {"machine": facts, "comparisons": comparisons})
    return judge(goals(comparisons))


if __name__ == "__main__":
    sys.exit(main())
