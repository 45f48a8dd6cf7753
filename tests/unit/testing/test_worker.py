"""The worker for the duration of a test."""

from __future__ import annotations

import threading
import time

import pytest

from umbel import Umbel
from umbel.exceptions import ImproperlyConfigured
from umbel.testing import start_worker


def made(name: str) -> Umbel:
    app = Umbel(name, broker=f"memory://{name}", set_as_current=False)

    @app.task(name="whoami")
    def whoami() -> str:
        return threading.current_thread().name

    @app.task(name="double")
    def double(n: int) -> int:
        return 2 * n

    @app.task(name="nap")
    def nap(seconds: float) -> str:
        time.sleep(seconds)
        return "rested"

    return app


@pytest.mark.parametrize(("pool", "thread"), [("solo", "umbel-embedded"), ("threads", "umbel-task-")])
def test_tasks_run_on_threads_of_this_process_while_the_block_runs(pool: str, thread: str) -> None:
    app = made(f"testing-{pool}")
    with start_worker(app, pool=pool, concurrency=2):
        assert str(app.tasks["whoami"].delay().get(timeout=10)).startswith(thread)
    assert not [t.name for t in threading.enumerate() if t.name.startswith("umbel-")]
    app.close()


def test_what_was_sent_before_and_after_the_block_waits() -> None:
    app = made("testing-waits")
    before = app.tasks["double"].delay(1)
    with start_worker(app):
        assert before.get(timeout=10) == 2
    app.tasks["double"].delay(2)
    assert app.broker.stats(["celery"])["celery"].ready == 1
    app.close()


def test_leaving_the_block_finishes_what_runs() -> None:
    app = made("testing-finishes")
    with start_worker(app) as worker:
        result = app.tasks["nap"].delay(0.2)
        deadline = time.monotonic() + 10
        while not app.broker.stats(["celery"])["celery"].leased and time.monotonic() < deadline:
            time.sleep(0.005)
    assert result.get(timeout=1) == "rested"
    assert worker.stop()
    app.close()


def test_a_task_that_is_registered_while_it_runs_is_found() -> None:
    app = made("testing-late")
    with start_worker(app):

        @app.task(name="late")
        def late() -> str:
            return "found"

        assert late.delay().get(timeout=10) == "found"
    app.close()


def test_only_the_queues_asked_for_are_consumed() -> None:
    app = made("testing-queues")
    with start_worker(app, queues="other"):
        app.tasks["double"].apply_async((1,), queue="celery")
        assert app.tasks["double"].apply_async((2,), queue="other").get(timeout=10) == 4
    assert app.broker.stats(["celery"])["celery"].ready == 1
    app.close()


def test_a_pool_that_does_not_exist_is_refused() -> None:
    app = made("testing-pool")
    with pytest.raises(ImproperlyConfigured, match="gevent"), start_worker(app, pool="gevent"):
        pass
    app.close()
