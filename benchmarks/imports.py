"""What `import umbel` costs beside `import dramatiq`, and how long a worker takes from its command to its first task.

Both are imported by the same interpreter, that of the peers' environment, in turns; the start of the interpreter is
not counted. Since `import umbel` puts off what it can, "first task defined" is measured as well: import, app or broker,
and one task. Umbel's and huey's workers each start beside one task that waits on SQLite.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from environment import environ, home, peers_python, peers_versions, working_folder
from sides.base import Setting
from sqlite import measure
from support.figures import describe, interleaved, judge, machine, median, number, save, table, times

MODULES = ("dramatiq", "umbel")
HEAVY = (
    "asyncio click concurrent.futures dataclasses email http importlib.metadata inspect json logging logging.config "
    "multiprocessing pluggy prometheus_client redis socket sqlite3 ssl subprocess typing unittest urllib.request xml"
).split()
"""What an import is asked about: each costs milliseconds."""
UNWANTED = frozenset({"asyncio", "click", "sqlite3", "logging.config", "pluggy", "importlib.metadata"})
DEFINED = {
    "dramatiq": """
import dramatiq
from dramatiq.brokers.stub import StubBroker
dramatiq.set_broker(StubBroker())
@dramatiq.actor
def add(x, y): return x + y
""",
    "umbel": """
from umbel import Umbel
app = Umbel("probe", broker="memory://probe")
@app.task
def add(x, y): return x + y
""",
}
"""All that stands before a first task, without a server."""
PROBE = """
import sys
before = set(sys.modules)
from time import perf_counter, process_time
wall, cpu = perf_counter(), process_time()
{statements}
wall, cpu = perf_counter() - wall, process_time() - cpu
loaded = set(sys.modules) - before
heavy = {heavy!r}
print(__import__("json").dumps({{
    "wall_ms": 1e3 * wall, "cpu_ms": 1e3 * cpu, "modules": len(loaded), "heavy": [n for n in heavy if n in loaded]
}}))
"""


def load(module: str) -> dict[str, Any]:
    """Import it in fresh interpreters: alone, up to a task, and under -X importtime."""
    answer = _probe(f"import {module}")
    answer["defined_ms"] = _probe(DEFINED[module])["wall_ms"]
    lines = _python("-X", "importtime", "-c", f"import {module}").stderr.splitlines()
    found = [re.match(rf"import time:\s+\d+ \|\s+(\d+) \| {module}$", line) for line in lines]
    answer["importtime_ms"] = next(int(each[1]) for each in reversed(found) if each) / 1e3
    return answer


def _probe(statements: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_python("-c", PROBE.format(statements=statements, heavy=HEAVY)).stdout)
    return answer


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [peers_python(), *arguments], env=environ(), cwd=home(), capture_output=True, text=True, check=True
    )


def start(side: str) -> float:
    """Seconds from the worker's command to the body of its first task."""
    with working_folder() as folder:
        seconds: float = measure(side, "first", Setting(Path(folder), "full", True, 1), 1)["seconds"]
        return seconds


def main() -> int:
    """Measure, print the table and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--starts", type=int, default=10, help="worker starts; 0 leaves them out")
    parser.add_argument("--json", metavar="PATH", help="also write everything as JSON; - is standard output")
    options = parser.parse_args()
    facts = {**machine(home()), **peers_versions()}
    print(describe(facts), flush=True)
    for module in MODULES:
        load(module)  # the compiled files are there now
    runs = interleaved(MODULES, options.repeat, load)
    rows = []
    for name, label in (
        ("wall_ms", "import, wall ms"),
        ("cpu_ms", "import, CPU ms"),
        ("importtime_ms", "-X importtime, ms"),
        ("modules", "modules loaded"),
        ("defined_ms", "first task defined, wall ms"),
    ):
        dramatiq, umbel = (median(answer[name] for answer in runs[module]) for module in MODULES)
        rows.append([label, number(dramatiq), number(umbel), times(dramatiq / umbel)])
    print(table(["", *MODULES, "umbel is better by"], rows))
    for module in MODULES:
        print(f"{module} loads of the heavy ones: {', '.join(runs[module][0]['heavy']) or 'none'}")
    wall = {module: median(answer["wall_ms"] for answer in runs[module]) for module in MODULES}
    faster = wall["dramatiq"] / wall["umbel"]
    unwanted = sorted(UNWANTED & set(runs["umbel"][0]["heavy"]))
    goals = {
        "import umbel is faster than import dramatiq": (times(faster), faster > 1),
        f"it loads none of {', '.join(sorted(UNWANTED))}": (", ".join(unwanted) or "none", not unwanted),
    }
    starts: dict[str, list[float]] = {}
    if options.starts:
        starts = interleaved(("huey", "umbel"), options.starts, start)
        huey, umbel = (median(starts[side]) for side in ("huey", "umbel"))
        print()
        first = ["command to first task, ms", number(1e3 * huey), number(1e3 * umbel), times(huey / umbel)]
        print(table(["", "huey", "umbel", "umbel is better by"], [first]))
        goals["command to first task under 0.2 s"] = (f"{umbel:.3f} s", umbel < 0.2)
    save(options.json, {"machine": facts, "imports": runs, "starts": starts})
    return judge(goals)


if __name__ == "__main__":
    sys.exit(main())
