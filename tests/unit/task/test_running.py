"""A task while it runs, and what it is made of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from umbel import Task, Umbel, current_task
from umbel.current import current_request
from umbel.message.context import Context
from umbel.message.ids import new_id
from umbel.spec import Delivery, Message


def test_called_as_a_function_a_task_knows_its_arguments_and_that_no_worker_runs_it(app: Umbel) -> None:
    seen: list[Context] = []

    @app.task(bind=True)
    def job(self: Any, x: int, y: int) -> int:
        seen.append(self.request)
        return x + y

    assert job(1, y=2) == 3
    (request,) = seen
    assert (request.args, request.kwargs, request.called_directly, request.id) == ((1,), {"y": 2}, True, None)
    assert job.request.args is None
    assert current_request.get() is None


def test_each_task_sees_its_own_request_also_when_one_calls_another(app: Umbel) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    def inner(self: Any, x: int) -> None:
        seen.append((self.request.args, outer.request.args, current_task.name))

    @app.task(bind=True)
    def outer(self: Any, x: int) -> None:
        inner(x + 1)
        seen.append((self.request.args, inner.request.args, current_task.name))

    outer(1)
    assert seen == [((2,), (1,), inner.name), ((1,), None, outer.name)]


def test_an_error_leaves_no_request_behind(app: Umbel) -> None:
    @app.task
    def job() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        job()
    assert current_request.get() is None


def test_a_coroutine_has_its_request_while_it_runs(app: Umbel) -> None:
    @app.task(bind=True)
    async def job(self: Any, x: int) -> Any:
        await asyncio.sleep(0)
        return self.request.args

    assert job.is_async

    async def main() -> Any:
        return await asyncio.gather(job(1), job(2))

    assert asyncio.run(main()) == [(1,), (2,)]
    assert current_request.get() is None


def test_a_request_can_be_begun_and_ended_by_hand(app: Umbel) -> None:
    @app.task
    def job() -> None: ...

    job.push_request(id="one", retries=2)
    job.push_request(id="two")
    assert (job.request.id, job.pop_request().id) == ("two", "two")
    assert (job.request.id, job.request.retries) == ("one", 2)
    assert job.add_trail("child") == "child"
    assert job.request.children == ["child"]
    job.pop_request()
    assert job.request.id is None
    with pytest.raises(RuntimeError, match="no request to pop"):
        job.pop_request()


def running(task: Any, **fields: Any) -> Context:
    delivery = Delivery(message=Message(queue="q", body=b"", id="id-1"), receipt=None, attempt=fields.pop("attempt", 1))
    return Context({"id": "id-1", "called_directly": False, "delivery": delivery, "_task": task, **fields})


def test_progress_is_stored_with_what_there_is_to_know(app: Umbel) -> None:
    @app.task
    def job() -> None: ...

    token = current_request.set(running(job, group="g", parent_id="p"))
    try:
        job.update_state(state="PROGRESS", meta={"done": 5})
    finally:
        current_request.reset(token)
    result = job.AsyncResult("id-1")
    assert (result.state, result.result, result.ready()) == ("PROGRESS", {"done": 5}, False)


def test_a_later_attempt_s_state_replaces_an_earlier_one_s_and_not_the_other_way_round(app: Umbel) -> None:
    @app.task
    def job() -> None: ...

    def progress(n: int, **fields: Any) -> Any:
        job.update_state(state="PROGRESS", meta=n, request=running(job, **fields))
        return job.AsyncResult("id-1").result

    assert progress(1, attempt=2) == 1
    assert progress(2, attempt=1) == 1
    assert progress(3, attempt=1, retries=1) == 3
    assert progress(4, attempt=9, retries=0) == 3


def test_a_final_state_stays_and_errors_are_stored_as_errors(app: Umbel) -> None:
    @app.task
    def job() -> None: ...

    job.update_state("id-1", "FAILURE", ValueError("broken"), traceback="Traceback ...")
    job.update_state("id-1", "PROGRESS", 5)
    result = job.AsyncResult("id-1")
    assert (result.state, result.traceback) == ("FAILURE", "Traceback ...")
    assert result.date_done is not None
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=1)


def test_a_state_needs_a_task_and_a_name(app: Umbel) -> None:
    @app.task
    def job() -> None: ...

    with pytest.raises(RuntimeError, match="no task is running"):
        job.update_state(state="PROGRESS")
    with pytest.raises(ValueError, match="needs a state"):
        job.update_state("id-1")


def test_without_a_result_store_a_state_goes_nowhere() -> None:
    with Umbel(broker=f"memory://{new_id()}", backend="disabled", set_as_current=False) as app:

        @app.task
        def job() -> None: ...

        job.update_state("id-1", "PROGRESS", 5)
        assert job.backend is None


def test_a_task_without_an_app_belongs_to_the_current_one(app: Umbel) -> None:
    class Job(Task[Any, Any]):
        name = "job"

        def run(self) -> None: ...

    job = Job()
    with pytest.raises(RuntimeError, match="belongs to no app"):
        job.app  # noqa: B018
    assert repr(job) == "<@task: job of no app>"
    app.set_current()
    assert job.app is app
    with pytest.raises(NotImplementedError, match="method run"):
        Task().run()


def test_options_are_resolved_with_the_settings(app: Umbel) -> None:
    app.conf.update(task_acks_late=False, task_time_limit=60, task_default_rate_limit="5/m", task_track_started=True)

    @app.task(acks_late=True, soft_time_limit=5, throws=[KeyError], queue="q")
    def job() -> None: ...

    @app.task
    def plain() -> None: ...

    resolved = job.resolved
    assert (resolved.acks_late, resolved.time_limit, resolved.soft_time_limit) == (True, 60, 5)
    assert (resolved.rate_limit, resolved.track_started, resolved.throws) == ("5/m", True, (KeyError,))
    assert resolved.sent == {"queue": "q"}
    assert plain.resolved.acks_late is False
    assert (plain.acks_late, plain.rate_limit, plain.serializer) == (False, "5/m", "json")
    assert plain.time_limit is None  # a worker's command line is asked before the settings
    assert job.resolved is resolved
    app.conf.task_track_started = False
    assert job.resolved.track_started is False


def test_what_is_acked_follows_the_more_general_options(app: Umbel) -> None:
    @app.task(acks_on_failure_or_timeout=False, acks_on_timeout=True)
    def job() -> None: ...

    assert (job.resolved.acks_on_failure, job.resolved.acks_on_timeout) == (False, True)
    app.conf.task_acks_on_failure_or_timeout = False

    @app.task
    def other() -> None: ...

    assert (other.resolved.acks_on_failure, other.resolved.acks_on_timeout) == (False, False)
