"""The whole worker on the memory broker: tasks a second, CPU microseconds a task, and with --profile where they go.

There is no peer: nothing here leaves the process, so this is Umbel's own part of every other figure. The CPU time of
the process is taken between two moments: when the first body runs, all tasks being in the queue, and when all results
can be read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from environment import environ, home
from support.figures import describe, interleaved, judge, machine, median, number, save, table
from support.profile import breakdown

GOAL = 25.0
MOONSHOT = 15.0
CASES = [(pool, results) for pool in ("solo", "threads") for results in (True, False)]


def name_of(pool: str, results: bool) -> str:
    """How a case is called in the table."""
    return f"{pool}, results {'on' if results else 'off'}"


def command(pool: str, results: bool, tasks: int) -> list[str]:
    """The measuring program of one case."""
    return ["-m", "sides.inprocess", pool, "on" if results else "off", str(tasks)]


def measure(pool: str, results: bool, tasks: int) -> dict[str, Any]:
    """One run in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, *command(pool, results, tasks)],
        env=environ(),
        cwd=home(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name_of(pool, results)} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def profile(pool: str, results: bool, tasks: int) -> str:
    """Where the CPU time goes, by module and by function, sampled by py-spy."""
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        raw = Path(folder) / "raw"
        py_spy = str(Path(sys.executable).with_name("py-spy"))
        spy = [py_spy, "record", "--format", "raw", "--rate", "500", "--output", str(raw)]
        subprocess.run(
            [*spy, "--", sys.executable, *command(pool, results, tasks)],
            env=environ(),
            cwd=home(),
            capture_output=True,
            check=True,
        )
        return breakdown(raw.read_text(), leave_out="fill")


def main() -> int:
    """Measure, print the table and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="also record it with py-spy, which slows it down")
    parser.add_argument("--json", metavar="PATH", help="also write everything as JSON; - is standard output")
    options = parser.parse_args()
    facts = machine(home())
    print(describe(facts), flush=True)
    cases = {name_of(*case): case for case in CASES}
    runs = interleaved(list(cases), options.repeat, lambda name: measure(*cases[name], options.tasks))
    rows, goals = [], {}
    for name, (_pool, results) in cases.items():
        cpu = median(answer["cpu_us"] for answer in runs[name])
        least = min(answer["cpu_us"] for answer in runs[name])
        rows.append([name, number(median(answer["rate"] for answer in runs[name])), number(cpu), number(least)])
        if results:
            goals[f"{name}: under {GOAL:.0f} us of CPU a task (moonshot {MOONSHOT:.0f})"] = (
                f"{cpu:.1f} us",
                cpu < GOAL,
            )
    print(table(["memory broker, no-op task", "tasks/s", "CPU us a task, median", "least"], rows))
    if options.profile:
        for name, (pool, results) in cases.items():
            if results:
                print(f"\n{name}\n{profile(pool, results, 5 * options.tasks)}", flush=True)
    save(options.json, {"machine": facts, "runs": runs})
    return judge(goals)


if __name__ == "__main__":
    sys.exit(main())
