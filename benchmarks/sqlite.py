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


def compare(
    scenario: str, mode: str, *, results: bool, size: int, workers: int, repeat: int, control: bool
) -> dict[str, Any]:
    """Both sides in turn; medians of every figure. As a control, huey takes both places."""

    def run(side: str) -> dict[str, Any]:
        with working_folder() as folder:
            return measure("huey" if control else side, scenario, Setting(Path(folder), mode, results, size), workers)

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
        common = {"mode": mode, "repeat": options.repeat, "control": options.control}
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
    """A comparison as lines of the table: how many times better Umbel is, and the least and the most of the pairs."""
    mode, workers = comparison["mode"], comparison["workers"] or "-"
    if comparison["scenario"] == "latency":
        return [
            [label, mode, workers, *_ratio(comparison, name, less_is_better=True)]
            for label, name in (
                ("start p50, ms", "start_p50_ms"),
                ("round trip p50, ms", "trip_p50_ms"),
                ("round trip p99, ms", "trip_p99_ms"),
                ("its worker's CPU, %", "worker_cpu_percent"),
            )
        ]
    label = {"enqueue": "enqueue one by one", "bulk": "enqueue in bulk"}.get(comparison["scenario"])
    label = label or f"drain, results {'on' if comparison['results'] else 'off'}"
    return [
        [f"{label}, tasks/s", mode, workers, *_ratio(comparison, "rate", less_is_better=False)],
        ["  CPU us a task", "", "", *_ratio(comparison, "cpu_us", less_is_better=True)],
    ]


def _ratio(comparison: dict[str, Any], name: str, *, less_is_better: bool) -> list[str]:
    huey, umbel = (comparison["figures"][side][name] for side in SIDES)
    runs = (comparison["runs"][side] for side in SIDES)
    pairs = sorted(_better(one[name], other[name], less_is_better) for one, other in zip(*runs, strict=True))
    spread = f"{pairs[0]:.1f} - {pairs[-1]:.1f}" if len(pairs) > 1 else ""
    return [number(huey), number(umbel), times(_better(huey, umbel, less_is_better)), spread]


def _better(huey: float, umbel: float, less_is_better: bool) -> float:
    over, under = (huey, umbel) if less_is_better else (umbel, huey)
    return over / under if under else float("nan")


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
    parser.add_argument("--control", action="store_true", help="huey against huey: what the machine's noise comes to")
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
    other = "huey again" if options.control else "umbel"
    print(table(["", "mode", "workers", "huey", other, f"{other} is better by", "pairs"], lines))
    save(options.json, {"machine": facts, "comparisons": comparisons})
    if options.control:
        return 0
    for mode in options.modes:
        figures = [each["figures"] for each in comparisons if each["mode"] == mode]
        counted = {side: syncs(side, mode) for side in SIDES} if "enqueue" in options.parts else {}
        for side in SIDES if figures else ():
            often = f", {counted[side]:.2f} syncs a call sent" if counted.get(side) is not None else ""
            print(f"{mode}: {side} {figures[0][side]['durability']}{often}")
    return judge(goals(comparisons))


if __name__ == "__main__":
    sys.exit(main())
