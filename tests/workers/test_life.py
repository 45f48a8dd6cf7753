"""The life of a real worker: it starts, runs, is stopped, is killed."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.workers.conftest import children_running, until
from umbel.worker.supervisor import SAME

if TYPE_CHECKING:
    from tests.workers.conftest import Project

TASKS = """
    @app.task
    def add(x, y):
        return x + y

    @app.task
    def nap(name, seconds):
        mark(f"begin {name}")
        time.sleep(seconds)
        mark(f"end {name}")
        return name

    @app.task
    def die_once(name):
        mark(f"die {name}")
        if sum(line.startswith(f"die {name} ") for line in open(__MARKS__)) == 1:
            os.kill(os.getpid(), 9)
        return name

    @app.task(reject_on_worker_lost=False)
    def die_for_good():
        mark("die for good")
        os.kill(os.getpid(), 9)

    @app.task
    def poison():
        mark("poison")
        os.kill(os.getpid(), 9)

    @app.task
    async def wait_a_little(n):
        import asyncio
        await asyncio.sleep(0.05)
        return n
"""


@pytest.fixture
def running(project: Project) -> Project:
    project.write(TASKS.replace("__MARKS__", repr(str(project.marks))))
    return project


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_of_each_pool_runs_plain_and_async_tasks(running: Project, pool: str) -> None:
    running.worker("-P", pool, "-c", "2")
    sums = running.task("add").delay_many([(n, n) for n in range(200)])
    waits = running.task("wait_a_little").delay_many([(n,) for n in range(50)])
    assert [result.get(timeout=30) for result in sums] == [2 * n for n in range(200)]
    started = time.monotonic()
    assert [result.get(timeout=30) for result in waits] == list(range(50))
    assert time.monotonic() - started < 2.5  # one after the other they would take at least that


def test_a_killed_child_is_replaced_and_its_task_is_back_within_a_second(running: Project) -> None:
    worker = running.worker("-c", "2")
    result = running.task("die_once").delay("a")
    assert result.get(timeout=30) == "a"
    (_, first, died), (_, second, again) = running.lines()
    assert first != second
    assert again - died < 1.5
    until(lambda: len(children_running(worker)) == 3, "agent and two children run")


def test_a_task_that_asks_for_it_fails_with_its_process(running: Project) -> None:
    running.worker("-c", "1")
    with pytest.raises(Exception, match="died"):
        running.task("die_for_good").delay().get(timeout=30)
    assert running.task("add").delay(1, 1).get(timeout=30) == 2
    assert running.texts() == ["die for good"]


def test_siblings_of_a_killed_child_are_untouched(running: Project) -> None:
    running.worker("-c", "2")
    sibling = running.task("nap").delay("sibling", 1.0)
    until(lambda: "begin sibling" in running.texts(), "the sibling runs")
    assert running.task("die_once").delay("b").get(timeout=30) == "b"
    assert sibling.get(timeout=30) == "sibling"
    assert running.texts().count("begin sibling") == 1


def test_a_poison_task_goes_to_the_dead_letters_and_no_other_does(running: Project) -> None:
    running.worker("-c", "2")
    good = running.task("add").delay_many([(n, 1) for n in range(300)])
    bad = running.task("poison").delay()
    more = running.task("add").delay_many([(n, 2) for n in range(300)])
    with pytest.raises(Exception, match="worker lost"):
        bad.get(timeout=60)
    assert [result.get(timeout=30) for result in (*good, *more)] == [n + k for k in (1, 2) for n in range(300)]
    assert running.texts() == ["poison"] * 3
    dead = until(lambda: running.app.broker.browse("celery.dead", 10), "the letter is there")
    assert [letter.id for letter in dead] == [bad.id]
    assert "worker lost" in dead[0].headers["umbel-death"]["reason"]


def test_a_warm_shutdown_finishes_what_runs_and_gives_the_rest_back(running: Project) -> None:
    worker = running.worker("-c", "1")
    first, *rest = running.task("nap").delay_many([(str(n), 0.5) for n in range(5)])
    until(lambda: "begin 0" in running.texts(), "the first runs")
    started = time.monotonic()
    assert running.stop(worker) == 0
    assert time.monotonic() - started < 3
    assert first.get(timeout=5) == "0"
    stats = running.app.broker.stats(["celery"])["celery"]
    assert (stats.ready, stats.leased) == (4, 0)
    assert running.texts() == ["begin 0", "end 0"]
    assert len(rest) == 4


def test_a_task_longer_than_the_grace_is_handed_back_uncharged(running: Project) -> None:
    worker = running.worker("-c", "1", "--grace", "0.5")
    running.task("nap").delay("long", 60)
    until(lambda: "begin long" in running.texts(), "it runs")
    started = time.monotonic()
    assert running.stop(worker) == 0
    assert time.monotonic() - started < 2.5
    until(lambda: running.app.broker.stats(["celery"])["celery"].ready == 1, "it is back")


def test_a_second_signal_stops_at_once(running: Project) -> None:
    worker = running.worker("-c", "1")
    running.task("nap").delay("long", 60)
    until(lambda: "begin long" in running.texts(), "it runs")
    worker.send_signal(signal.SIGINT)
    until(lambda: "to finish" in running.log(), "the worker has heard")
    time.sleep(2 * SAME)  # a signal that comes twice at once counts once
    started = time.monotonic()
    running.stop(worker, signal.SIGINT)
    assert time.monotonic() - started < 2


def test_a_killed_supervisor_takes_its_family_with_it_and_loses_nothing(running: Project) -> None:
    worker = running.worker("-c", "2")
    results = running.task("nap").delay_many([(str(n), 0.2) for n in range(10)])
    until(lambda: "begin 0" in running.texts(), "the first runs")
    family = children_running(worker)
    worker.kill()
    worker.wait()
    until(lambda: not any(psutil.pid_exists(pid) and alive(pid) for pid in family), "the family is gone", 5)
    running.worker("-c", "2")
    assert [result.get(timeout=30) for result in results] == [str(n) for n in range(10)]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_agent_is_replaced(running: Project) -> None:
    worker = running.worker("-c", "1")
    before = set(children_running(worker))
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(children_running(worker)) - before) == 2, "agent and child are new")
    assert running.task("add").delay(1, 1).get(timeout=30) == 2


def test_children_are_recycled_after_so_many_tasks(running: Project) -> None:
    running.worker("-c", "1", "--max-tasks-per-child", "5")
    results = running.task("nap").delay_many([(str(n), 0.0) for n in range(20)])
    assert len([result.get(timeout=30) for result in results]) == 20
    assert len({pid for _, pid, _ in running.lines()}) >= 3
    assert running.texts().count("begin 7") == 1


def test_tasks_longer_than_the_horizon_follow_each_other_without_a_pause(running: Project) -> None:
    running.worker("-c", "2")
    started = time.monotonic()
    for result in running.task("nap").delay_many([(str(n), 0.1) for n in range(20)]):
        result.get(timeout=30)
    assert time.monotonic() - started < 2.5  # 1.0 at best


def test_an_idle_worker_is_idle(running: Project) -> None:
    worker = running.worker("-c", "2")
    running.task("add").delay(1, 1).get(timeout=30)
    family = [psutil.Process(pid) for pid in (worker.pid, *children_running(worker))]

    def used() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in family)

    before = used()
    time.sleep(3)  # the span that is measured
    assert (used() - before) / 3 < 0.03  # of one core, for four processes: under 1 % each
