"""What a user sends, from the call to the answer, through a real worker on SQLite."""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import TYPE_CHECKING

import pytest

from tests.workers.conftest import until
from umbel import chain, chord, group
from umbel.exceptions import ChordError, MaxRetriesExceededError, TaskRevokedError

if TYPE_CHECKING:
    from tests.workers.conftest import Project

TASKS = """
    @app.task
    def add(x, y):
        return x + y

    @app.task
    def total(values):
        return sum(values)

    @app.task
    def echo(value):
        mark(f"echo {value}")
        return value

    @app.task
    def fail(text="on purpose"):
        raise ValueError(text)

    @app.task(bind=True, max_retries=3, default_retry_delay=0.05)
    def flaky(self, times):
        mark("try")
        if self.request.retries < times:
            raise self.retry()
        return self.request.retries

    @app.task(autoretry_for=(ConnectionError,), retry_backoff=0.02, max_retries=2)
    def unreachable():
        mark("unreachable")
        raise ConnectionError("nobody there")

    @app.task
    def errback(request, exc, traceback):
        mark(f"errback {type(exc).__name__}")

    @app.task
    def old_errback(task_id):
        mark(f"old {app.AsyncResult(task_id).state}")

    @app.task(bind=True, track_started=True)
    def progress(self):
        self.update_state(state="PROGRESS", meta={"percent": 50})
        return "done"

    @app.task(ignore_result=True)
    def quiet():
        mark("quiet")

    @app.task(acks_late=False)
    def once():
        mark("once")
        os.kill(os.getpid(), 9)

    @app.task
    def size(text):
        return len(text)

    @app.task
    def parent():
        mark("parent")
        return [echo.delay(n).id for n in range(3)]
"""


@pytest.fixture
def work(project: Project) -> Project:
    project.write(TASKS)
    return project


def test_a_retry_keeps_its_id_and_counts(work: Project) -> None:
    work.worker("-c", "2")
    result = work.task("flaky").delay(2)
    assert result.get(timeout=30) == 2
    assert work.texts() == ["try"] * 3


def test_retries_end_with_the_error_that_caused_them(work: Project) -> None:
    work.worker("-c", "1")
    with pytest.raises(MaxRetriesExceededError):
        work.task("flaky").delay(99).get(timeout=30)
    with pytest.raises(ConnectionError, match="nobody there"):
        work.task("unreachable").delay().get(timeout=30)
    assert work.texts() == ["try"] * 4 + ["unreachable"] * 3


def test_an_eta_is_kept_and_survives_the_worker(work: Project) -> None:
    first = work.worker("-c", "1")
    due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1.5)
    result = work.task("echo").apply_async(("late",), eta=due)
    work.stop(first)
    assert work.texts() == []
    work.worker("-c", "1")
    assert result.get(timeout=30) == "late"
    assert 0 <= time.time() - due.timestamp() < 1.5


def test_workflows_give_their_values(work: Project) -> None:
    work.worker("-c", "2")
    add, total = work.task("add"), work.task("total")
    assert chain(add.s(1, 2), add.s(3), add.s(4)).delay().get(timeout=30) == 10
    assert group(add.s(n, n) for n in range(50)).delay().get(timeout=30) == [2 * n for n in range(50)]
    assert chord([add.s(n, 1) for n in range(50)])(total.s()).get(timeout=30) == sum(range(50)) + 50
    deep = chain(add.s(1, 1), group(add.s(n) for n in range(5)), total.s(), add.s(100))
    assert deep.delay().get(timeout=30) == 2 * 5 + 10 + 100
    assert chord([], total.s())().get(timeout=30) == 0
    assert add.chunks([(n, n) for n in range(10)], 3)().get(timeout=30) == [
        [0, 2, 4], [6, 8, 10], [12, 14, 16], [18],
    ]  # fmt: skip


def test_failures_reach_errbacks_chains_and_chords(work: Project) -> None:
    work.worker("-c", "2")
    add, total, fail = work.task("add"), work.task("total"), work.task("fail")
    handlers = [work.task("errback").s(), work.task("old_errback").s()]
    with pytest.raises(ValueError, match="on purpose"):
        fail.apply_async(link_error=handlers).get(timeout=30)
    until(lambda: sorted(work.texts()) == ["errback ValueError", "old FAILURE"], "both errbacks ran")
    with pytest.raises(ValueError, match="on purpose"):
        chain(add.s(1, 1), fail.si(), add.s(1)).delay().get(timeout=30)
    with pytest.raises(ChordError, match="on purpose"):
        chord([add.s(1, 1), fail.s(), add.s(2, 2)])(total.s()).get(timeout=30)


def test_an_expired_task_does_not_run_and_whoever_waits_is_told(work: Project) -> None:
    stale = work.task("echo").apply_async(("stale",), expires=0.05)
    fresh = work.task("echo").apply_async(("fresh",), expires=60)
    until(lambda: time.sleep(0.06) is None, "it has expired")
    work.worker("-c", "1")
    assert fresh.get(timeout=30) == "fresh"
    with pytest.raises(TaskRevokedError):
        stale.get(timeout=30)
    assert work.texts() == ["echo fresh"]


def test_a_revoked_task_does_not_run(work: Project) -> None:
    gone, stays = work.task("echo").delay("gone"), work.task("echo").delay("stays")
    gone.revoke()
    work.worker("-c", "1")
    assert stays.get(timeout=30) == "stays"
    with pytest.raises(TaskRevokedError):
        gone.get(timeout=30)
    assert work.texts() == ["echo stays"]


def test_the_larger_priority_runs_first(work: Project) -> None:
    results = [work.task("echo").apply_async((n,), priority=n) for n in (0, 3, 9, 6)]
    work.worker("-c", "1")
    for result in results:
        result.get(timeout=30)
    assert work.texts() == ["echo 9", "echo 6", "echo 3", "echo 0"]


def test_states_are_seen_on_the_way(work: Project) -> None:
    result = work.task("progress").delay()
    assert result.state == "PENDING"
    seen: list[str] = []
    work.worker("-c", "1")
    assert result.get(timeout=30, on_message=lambda body: seen.append(body["status"])) == "done"
    assert seen[-1] == "SUCCESS"
    assert [state for state in seen if state != "SUCCESS"] in ([], ["PROGRESS"], ["STARTED", "PROGRESS"])


def test_an_ignored_result_leaves_nothing(work: Project) -> None:
    work.worker("-c", "1")
    result = work.task("quiet").delay()
    until(lambda: work.texts() == ["quiet"], "it ran")
    assert result.get(timeout=5) is None
    assert work.app.backend.fetch([result.id]) == {}


def test_a_task_acknowledged_early_is_not_run_again_and_its_loss_is_told(work: Project) -> None:
    work.worker("-c", "1")
    result = work.task("once").delay()
    with pytest.raises(Exception, match="died"):
        result.get(timeout=30)
    assert work.task("add").delay(1, 1).get(timeout=30) == 2
    assert work.texts() == ["once"]


def test_large_bodies_go_through(work: Project) -> None:
    work.worker("-c", "1")
    assert work.task("size").delay("x" * 5_000_000).get(timeout=30) == 5_000_000
    assert len(work.task("echo").delay("y" * 2_000_000).get(timeout=30)) == 2_000_000


def test_children_know_their_parent(work: Project) -> None:
    work.worker("-c", "2")
    result = work.task("parent").delay()
    ids = result.get(timeout=30)
    assert [child.get(timeout=30) for child in result.children] == [0, 1, 2]
    assert [child.id for child in result.children] == ids
    stored = work.app.backend.fetch(ids)
    assert {entry.meta["parent_id"] for entry in stored.values()} == {result.id}


def test_coroutines_wait_for_results_without_blocking_the_loop(work: Project) -> None:
    work.worker("-c", "2")

    async def main() -> list[int]:
        sent = await asyncio.gather(*(work.task("add").adelay(n, n) for n in range(20)))
        return list(await asyncio.gather(*sent))

    assert asyncio.run(main()) == [2 * n for n in range(20)]
