"""The measuring program: one scenario of one side, in the side's own interpreter; prints one JSON line.

python -m sides.measure SIDE SCENARIO [--workers N] [--samples N], with the set-up in the environment (sides/base.py).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import time
from typing import Any

from support.figures import median, quantile
from support.processes import Group

from sides.base import MISSING, Setting, Side

MODULES = {"umbel": "sides.umbel_side", "huey": "peers.huey_side"}
LAST = 500
"""Results that are looked for until they are there, before all are."""


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=MODULES)
    parser.add_argument("scenario", choices=["enqueue", "bulk", "drain", "latency", "first"])
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    setting = Setting.of_environ()
    begun = time.monotonic()  # before the library is imported
    side: Side = importlib.import_module(MODULES[options.side]).side
    answer = globals()[options.scenario](side, setting, options.workers)
    answer.update(side=options.side, durability=side.durability(), seconds_in_all=time.monotonic() - begun)
    print(json.dumps(answer))


def enqueue(side: Side, setting: Setting, workers: int) -> dict[str, Any]:
    """Calls one by one, each stored before the next; nobody works."""
    for n in range(20):
        side.send(n)
    start, cpu = time.perf_counter(), time.process_time()
    for n in range(20, setting.size):
        side.send(n)
    return _sending(side, setting, setting.size - 20, time.perf_counter() - start, time.process_time() - cpu)


def bulk(side: Side, setting: Setting, workers: int) -> dict[str, Any]:
    """All calls by the library's own call for many; nobody works."""
    side.send(0)
    start, cpu = time.perf_counter(), time.process_time()
    side.send_many(range(1, setting.size))
    return _sending(side, setting, setting.size - 1, time.perf_counter() - start, time.process_time() - cpu)


def _sending(side: Side, setting: Setting, sent: int, seconds: float, cpu: float) -> dict[str, Any]:
    if side.waiting() != setting.size:
        raise SystemExit(f"{side.waiting()} tasks are in the queue, {setting.size} were sent")
    return {"rate": sent / seconds, "cpu_us": 1e6 * cpu / sent}


def drain(side: Side, setting: Setting, workers: int) -> dict[str, Any]:
    """From the moment that all workers are up to the moment that all tasks have run and their results can be read."""
    marks = setting.marks()
    for index in range(workers):
        side.send_gate(index, workers)
    handles = side.send_many(range(setting.size))
    with _worker(side, setting, workers) as group:
        _until(group, lambda: marks.opened > 0, 30.0, "the workers did not come to the gate")
        cpu = group.cpu()
        marks.wait(range(setting.size), 600.0)
        end = max(marks.stamp(n) for n in range(setting.size))
        if setting.results:
            end = _all_stored(side, group, handles, sorted(range(setting.size), key=marks.stamp)[-LAST:])
        cpu = group.cpu() - cpu
        if setting.results and side.values(handles) != list(range(setting.size)):
            raise SystemExit("a result is missing or wrong")
        _until(group, lambda: side.waiting() == 0, 10.0, "the queue did not become empty")
    again = sum(count - 1 for count in marks.counts)
    if again or len(set(marks.at_gate())) != min(workers, len(marks.at_gate())):
        raise SystemExit(f"{again} tasks ran more than once; at the gate: {marks.at_gate()}")
    return {
        "rate": setting.size / (end - marks.opened),
        "cpu_us": 1e6 * cpu / setting.size,
        "threads_or_processes": len(set(marks.at_gate())),
    }


def _all_stored(side: Side, group: Group, handles: list[Any], last: list[int]) -> float:
    """When every result could be read. Those of the last to run are looked for first, since looking costs."""

    def absent(wanted: list[int]) -> list[int]:
        values = side.values([handles[n] for n in wanted])
        return [n for n, value in zip(wanted, values, strict=True) if value is MISSING]

    missing = last
    while missing:
        _until(group, lambda wanted=missing: not absent(wanted), 30.0, "results are missing")
        end = time.monotonic()
        missing = absent(list(range(len(handles))))
    return end


def latency(side: Side, setting: Setting, workers: int) -> dict[str, Any]:
    """Calls one at a time to a worker that has nothing else to do: until the body, and until its value is back."""
    marks = setting.marks()
    dice = random.Random(1)
    starts, trips = [], []
    with _worker(side, setting, workers) as group:
        for n in range(5):
            side.wait(side.send(n), 30.0)
        cpu, since = group.cpu(), time.monotonic()
        for n in range(5, setting.size):
            time.sleep(dice.uniform(0.01, 0.03))
            begin = time.monotonic()
            if side.wait(side.send(n), 30.0) != n:
                raise SystemExit(f"a wrong result for {n}")
            trips.append(time.monotonic() - begin)
            starts.append(marks.stamp(n) - begin)
        busy = (group.cpu() - cpu) / (time.monotonic() - since)
    if any(count != 1 for count in marks.counts):
        raise SystemExit("a task ran more than once, or not at all")
    return {
        "start_p50_ms": 1e3 * median(starts),
        "start_p99_ms": 1e3 * quantile(starts, 0.99),
        "trip_p50_ms": 1e3 * median(trips),
        "trip_p99_ms": 1e3 * quantile(trips, 0.99),
        "worker_cpu_percent": 100 * busy,
    }


def first(side: Side, setting: Setting, workers: int) -> dict[str, Any]:
    """From the worker's command to the body of a task that was there before."""
    marks = setting.marks()
    side.send(0)
    begin = time.monotonic()
    with _worker(side, setting, workers) as group:
        _until(group, lambda: marks.counts[0] > 0, 30.0, "the task did not run")
    return {"seconds": marks.stamp(0) - begin}


def _worker(side: Side, setting: Setting, workers: int) -> Group:
    return Group(
        side.worker(workers),
        env=dict(os.environ),
        log=setting.folder / "worker.log",
        cwd=setting.folder,
        stop=side.stop_signal,
    )


def _until(group: Group, is_so: Any, timeout: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout
    while not is_so():
        group.check()
        if time.monotonic() > deadline:
            raise SystemExit(f"{otherwise}; the worker's last words:\n{group.words()}")
        time.sleep(0.001)


if __name__ == "__main__":
    main()
