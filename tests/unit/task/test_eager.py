"""Running a task here and now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from umbel import Task, Umbel
from umbel.exceptions import Ignore, Reject
from umbel.states import FAILURE, IGNORED, REJECTED, SUCCESS


def test_the_result_is_there_at_once(app: Umbel) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    result = add.apply((1,), {"y": 2}, task_id="mine")
    assert (result.id, result.state, result.get(), result.ready()) == ("mine", SUCCESS, 3, True)


def test_a_failure_is_in_the_result_unless_it_is_to_be_raised(app: Umbel) -> None:
    @app.task
    def broken() -> None:
        raise ValueError("no")

    result = broken.apply()
    assert result.state == FAILURE
    assert isinstance(result.result, ValueError)
    assert "ValueError: no" in (result.traceback or "")
    with pytest.raises(ValueError, match="no"):
        result.get()
    with pytest.raises(ValueError, match="no"):
        broken.apply(throw=True)
    app.conf.task_eager_propagates = True
    with pytest.raises(ValueError, match="no"):
        broken.apply()
    assert broken.apply(throw=False).state == FAILURE


def test_the_task_has_a_request_and_is_the_child_of_the_one_that_runs_it(app: Umbel) -> None:
    @app.task(bind=True)
    def child(self: Any) -> Any:
        request = self.request
        return request.is_eager, request.called_directly, request.root_id, request.parent_id, dict(request.headers)

    @app.task(bind=True)
    def parent(self: Any) -> Any:
        return child.apply(headers={"mine": 1}).result

    assert parent.apply(task_id="above").get() == (True, False, "above", "above", {"mine": 1})


def test_retries_are_run_at_once_with_their_arguments(app: Umbel) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    def job(self: Any, x: int) -> int:
        seen.append((self.request.id, self.request.retries, x))
        if self.request.retries < 2:
            self.retry(args=(x + 1,), countdown=1000)
        return x

    result = job.apply((1,), task_id="same")
    assert (result.state, result.get()) == (SUCCESS, 3)
    assert seen == [("same", 0, 1), ("same", 1, 2), ("same", 2, 3)]


def test_automatic_retries_end_with_the_error(app: Umbel) -> None:
    tries: list[int] = []

    @app.task(autoretry_for=(OSError,), max_retries=2)
    def job() -> None:
        tries.append(1)
        raise ConnectionError("no")

    assert isinstance(job.apply().result, ConnectionError)
    assert len(tries) == 3


@pytest.mark.parametrize(("error", "state"), [(Ignore, IGNORED), (Reject, REJECTED)])
def test_a_task_may_ignore_or_reject_its_call(app: Umbel, error: type[Exception], state: str) -> None:
    @app.task
    def job() -> None:
        raise error

    result = job.apply(throw=True)
    assert result.state == state


def test_handlers_are_called_in_order(app: Umbel) -> None:
    told: list[Any] = []

    class Told(Task[Any, Any]):
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            told.append(("before_start", args))

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            told.append(("on_success", retval))

        def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append(("on_failure", str(exc)))

        def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append(("on_retry", str(exc)))

        def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append(("after_return", status))

    @app.task(base=Told, bind=True)
    def job(self: Any, x: int) -> int:
        if x < 0:
            raise ValueError("negative")
        if x > self.request.retries:
            raise self.retry(exc=KeyError("again"), countdown=0)
        return x

    job.apply((0,))
    assert told == [("before_start", [0]), ("on_success", 0), ("after_return", SUCCESS)]
    told.clear()
    job.apply((-1,))
    assert told == [("before_start", [-1]), ("on_failure", "negative"), ("after_return", FAILURE)]
    told.clear()
    job.apply((1,))
    assert [name for name, _ in told] == ["before_start", "on_retry", "before_start", "on_success", "after_return"]


def test_a_handler_may_be_an_option(app: Umbel) -> None:
    told: list[Any] = []

    def handler(self: Any, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        told.append((self.name, retval))

    app.task(name="job", on_success=handler)(lambda: 5).apply()
    assert told == [("job", 5)]


def test_callbacks_get_the_value_and_errbacks_the_failure(app: Umbel) -> None:
    told: list[Any] = []

    @app.task
    def half(x: int) -> float:
        return 12 / x

    @app.task
    def then(value: float, name: str) -> None:
        told.append((name, value))

    @app.task
    def old_style(task_id: str) -> None:
        told.append(task_id)

    @app.task
    def new_style(request: Any, exc: Exception, traceback: str) -> None:
        told.append((request.id, type(exc).__name__))

    half.apply((4,), link=[then.s("a"), then.s("b")], link_error=old_style.s())
    assert told == [("a", 3.0), ("b", 3.0)]
    told.clear()
    half.apply((0,), link=then.s("a"), link_error=[old_style.s(), new_style.s()], task_id="failed")
    assert set(told) == {"failed", ("failed", "ZeroDivisionError")}


def test_a_coroutine_is_run_to_its_end(app: Umbel) -> None:
    @app.task(bind=True)
    async def double(self: Any, x: int) -> Any:
        await asyncio.sleep(0)
        return self.request.id, 2 * x

    async def on_a_loop() -> Any:
        return double.apply((5,), task_id="b").get()

    assert double.apply((4,), task_id="a").get() == ("a", 8)
    assert asyncio.run(on_a_loop()) == ("b", 10)
