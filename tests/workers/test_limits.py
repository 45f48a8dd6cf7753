"""Limits of time, rate and memory, kept by a real worker."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests.workers.conftest import until
from umbel.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

if TYPE_CHECKING:
    from tests.workers.conftest import Project

TASKS = """
    from umbel.exceptions import SoftTimeLimitExceeded

    @app.task(soft_time_limit=0.3)
    def soft():
        try:
            while True:
                pass
        except SoftTimeLimitExceeded:
            mark("interrupted")
            raise

    @app.task(time_limit=0.5)
    def hard():
        mark("hard")
        while True:
            time.sleep(0.01)

    @app.task(soft_time_limit=0.2)
    async def coroutine():
        import asyncio
        await asyncio.sleep(60)

    @app.task
    def on_error(request, exc, traceback):
        mark(f"errback {type(exc).__name__}")

    @app.task(rate_limit="20/s")
    def limited(n):
        mark(f"limited {n}")

    @app.task
    def greedy():
        global hoard
        hoard = bytearray(80_000_000)
        mark("greedy")
        return os.getpid()

    @app.task
    def whoami():
        return os.getpid()
"""


@pytest.fixture
def limits(project: Project) -> Project:
    project.write(TASKS)
    return project


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_soft_limit_is_raised_inside_the_task(project: Project, pool: str) -> None:
    project.write(TASKS.replace("@app.task(time_limit=0.5)", "@app.task"))
    project.worker("-P", pool, "-c", "1")
    with pytest.raises(SoftTimeLimitExceeded):
        project.task("soft").delay().get(timeout=30)
    assert project.texts() == ["interrupted"]


def test_a_hard_limit_kills_the_child_and_fails_the_task_once(limits: Project) -> None:
    limits.worker("-c", "1")
    started = time.monotonic()
    result = limits.task("hard").apply_async(link_error=limits.task("on_error").s())
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=30)
    assert time.monotonic() - started < 0.5 + 1.0 + 1.0
    until(lambda: "errback TimeLimitExceeded" in limits.texts(), "the errback ran")
    assert limits.texts().count("hard") == 1
    stats = limits.app.broker.stats(["celery", "celery.dead"])
    until(lambda: limits.app.broker.stats(["celery"])["celery"].leased == 0, "it is settled")
    assert stats["celery.dead"].ready == 0


def test_a_coroutine_is_cancelled_at_its_limit(limits: Project) -> None:
    limits.worker("-c", "1")
    with pytest.raises(SoftTimeLimitExceeded):
        limits.task("coroutine").delay().get(timeout=30)


def test_a_rate_limit_spreads_the_starts_over_all_children(limits: Project) -> None:
    limits.worker("-c", "2")
    for result in limits.task("limited").delay_many([(n,) for n in range(20)]):
        result.get(timeout=30)
    moments = sorted(moment for _, _, moment in limits.lines())
    assert moments[-1] - moments[0] >= 19 * 0.05 * 0.95
    assert min(b - a for a, b in itertools.pairwise(moments)) > 0.02


def test_a_child_beyond_its_memory_is_replaced_after_its_task(limits: Project) -> None:
    limits.worker("-c", "1", "--max-memory-per-child", "80000")
    first = limits.task("greedy").delay().get(timeout=30)
    until(lambda: limits.task("whoami").delay().get(timeout=30) != first, "another child runs")


def test_threads_refuse_a_task_with_a_limit_they_cannot_keep(limits: Project) -> None:
    worker = limits.worker("-P", "threads", wait=False)
    assert worker.wait(20) != 0
    assert f"task {limits.module}.soft has soft_time_limit=0.3" in limits.log()
    assert "Traceback" not in limits.log()


@pytest.mark.slow
def test_a_task_that_holds_the_interpreter_for_several_leases_keeps_its_message(project: Project) -> None:
    source = """
        @app.task
        def hog():
            mark("begin")
            sum(range(150_000_000))  # one call into C: no other thread of this process runs meanwhile
            mark("end")
            return "done"
    """
    project.write(source, "?lease=0.6")
    project.worker("-c", "1")
    project.worker("-c", "1")
    assert project.task("hog").delay().get(timeout=90) == "done"
    (_, first, begin), (_, last, end) = project.lines()
    assert first == last
    assert end - begin > 2 * 0.6
