"""Umbel's worker embedded in this process, on the memory broker: python -m sides.inprocess POOL on|off TASKS."""

from __future__ import annotations

import json
import resource
import sys
import threading
import time

from umbel import Umbel
from umbel.testing import start_worker


def cpu() -> float:
    """CPU seconds of this process, all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(pool: str, results: bool, tasks: int) -> None:
    """Fill the queue, run the worker, and print one JSON line."""
    app = Umbel("bench", broker="memory://bench", backend="memory://bench")
    backend = app.backend
    assert backend is not None
    counts = bytearray(tasks)
    moments: list[tuple[float, float]] = []
    last = threading.Event()

    @app.task(name="begin", ignore_result=True)
    def begin() -> None:
        moments.append((time.perf_counter(), cpu()))

    @app.task(name="noop", ignore_result=not results)
    def noop(n: int) -> int:
        counts[n] += 1
        if n == tasks - 1:
            last.set()
        return n

    def fill() -> list[str]:
        begin.delay()
        return [result.id for result in noop.delay_many([(n,) for n in range(tasks)])]

    ids = fill()
    with start_worker(app, pool=pool, concurrency=1 if pool == "solo" else 4):
        if not last.wait(120):
            raise SystemExit(f"{counts.count(0)} of {tasks} tasks did not run")
        if results:
            while len(backend.fetch(ids[-500:])) < min(500, tasks):
                time.sleep(0.0005)
        while 0 in counts[-500:]:
            time.sleep(0.0005)
        moments.append((time.perf_counter(), cpu()))
        if results and len(backend.fetch(ids)) < tasks:
            raise SystemExit("results are missing")
    if counts != b"\x01" * tasks:
        raise SystemExit(f"{counts.count(0)} tasks did not run, {tasks - counts.count(0) - counts.count(1)} ran again")
    (since, used), (until, used_then) = moments
    print(json.dumps({"rate": tasks / (until - since), "cpu_us": 1e6 * (used_then - used) / tasks}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "on", int(sys.argv[3]))
