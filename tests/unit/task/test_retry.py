"""Trying a task again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel import Task, Umbel
from umbel.current import current_request
from umbel.exceptions import Ignore, MaxRetriesExceededError, OperationalError, Reject, Retry
from umbel.message.context import Context
from umbel.spec import Delivery, Message
from umbel.task.retry import backoff

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def job(app: Umbel) -> Any:
    @app.task(bind=True, name="job", max_retries=3)
    def job(self: Any, x: int, y: int = 0) -> int:
        return x + y

    return job


def delivered(task: Any, **fields: Any) -> Context:
    """The request of a task that a worker runs."""
    message = Message(queue="q", body=b"", id="id-1", priority=4, routing_key="q", key="k", reply_to="reply")
    known: dict[str, Any] = {"id": "id-1", "args": [1], "kwargs": {"y": 2}, "root_id": "root", "called_directly": False}
    return Context({**known, "delivery": Delivery(message=message, receipt=None), "_task": task, **fields})


def while_handling(error: Exception, call: Callable[[], object]) -> None:
    """Call it in an ``except`` block."""
    try:
        raise error
    except Exception:
        call()


class running:
    """With a task running, as in a worker."""

    def __init__(self, task: Any, **fields: Any) -> None:
        self.request = delivered(task, **fields)

    def __enter__(self) -> Context:
        self._token = current_request.set(self.request)
        return self.request

    def __exit__(self, *error: object) -> None:
        current_request.reset(self._token)


def test_the_new_call_is_the_old_one_once_more_to_the_same_place(app: Umbel, job: Any) -> None:
    fields = {
        "retries": 1,
        "timelimit": [10, 5],
        "headers": {"mine": 1},
        "shadow": "shown",
        "expires": "2099-01-01T00:00:00+00:00",
        "group": "g",
        "group_index": 3,
        "chord": {"task": "body"},
        "chain": [{"task": "next"}],
        "callbacks": [{"task": "then"}],
        "errbacks": [{"task": "else"}],
        "umbel_generation": 5,
    }
    with running(job, **fields), pytest.raises(Retry) as caught:
        job.retry(countdown=7)
    call = caught.value.call
    assert (call.task, call.id, list(call.args), call.kwargs) == ("job", "id-1", [1], {"y": 2})
    assert (call.retries, call.generation, call.root_id) == (2, 5, "root")
    assert call.parent_id == "id-1"  # as Celery writes it
    assert (call.group_id, call.group_index, call.chord, call.chain) == ("g", 3, {"task": "body"}, [{"task": "next"}])
    assert (call.callbacks, call.errbacks) == ([{"task": "then"}], [{"task": "else"}])
    assert call.options == {
        "queue": "q",
        "priority": 4,
        "key": "k",
        "countdown": 7,
        "time_limit": 10,
        "soft_time_limit": 5,
        "headers": {"mine": 1},
        "shadow": "shown",
        "expires": "2099-01-01T00:00:00+00:00",
        "reply_to": "reply",
    }
    (message,) = app.encode([call])
    assert (message.id, message.headers["retries"], message.headers["umbel_generation"]) == ("id-1", 2, 5)
    assert caught.value.when == 7
    assert caught.value.sig.id == "id-1"
    assert app.broker.stats(["q"])["q"].ready == 0  # it leaves with the end of this run


def test_without_a_countdown_the_task_s_own_delay_counts(job: Any) -> None:
    with running(job), pytest.raises(Retry) as caught:
        job.retry()
    assert caught.value.call.options["countdown"] == 180


def test_options_of_the_retry_win(job: Any) -> None:
    with running(job), pytest.raises(Retry) as caught:
        job.retry(countdown=1, queue="other", priority=9, time_limit=3)
    options = caught.value.call.options
    assert (options["queue"], options["priority"], options["time_limit"]) == ("other", 9, 3)


def test_what_came_through_an_exchange_goes_back_through_it(job: Any) -> None:
    message = Message(queue="q", body=b"", id="x", exchange="topics", routing_key="a.b")
    with running(job, delivery=Delivery(message=message, receipt=None)), pytest.raises(Retry) as caught:
        job.retry(countdown=1)
    options = caught.value.call.options
    assert (options["exchange"], options["routing_key"], "queue" in options) == ("topics", "a.b", False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"args": (5,)}, ([5], {"y": 2})),
        ({"args": (5, 6)}, ([5, 6], {})),
        ({"kwargs": {"y": 7}}, ([1], {"y": 7})),
        ({"kwargs": {"x": 8}}, ([], {"x": 8, "y": 2})),
        ({"args": (), "kwargs": {"x": 9}}, ([], {"x": 9})),
    ],
)
def test_arguments_may_be_replaced_without_any_being_there_twice(job: Any, given: Any, expected: Any) -> None:
    with running(job), pytest.raises(Retry) as caught:
        job.retry(countdown=1, **given)
    call = caught.value.call
    assert (list(call.args), call.kwargs) == expected
    job.arguments.check(call.args, call.kwargs)


def test_after_the_last_retry_the_task_s_own_error_is_raised_or_one_that_says_so(job: Any) -> None:
    with running(job, retries=3):
        with pytest.raises(MaxRetriesExceededError, match="retried 3 times") as caught:
            job.retry()
        with pytest.raises(ConnectionError, match="the bank"):
            job.retry(exc=ConnectionError("the bank"))
    assert (caught.value.task_args, caught.value.task_kwargs) == ([1], {"y": 2})
    assert "[1]" not in str(caught.value)  # arguments may be secret


def test_the_call_may_set_another_limit_and_none_is_no_end(job: Any) -> None:
    with running(job, retries=3), pytest.raises(Retry):
        job.retry(max_retries=10)
    with running(job, retries=0), pytest.raises(MaxRetriesExceededError):
        job.retry(max_retries=0)
    job.max_retries = None
    with running(job, retries=10_000), pytest.raises(Retry):
        job.retry()


def test_the_error_that_was_being_handled_is_the_reason(job: Any) -> None:
    with running(job), pytest.raises(Retry) as caught:
        while_handling(KeyError("why"), lambda: job.retry(countdown=1))
    assert isinstance(caught.value.exc, KeyError)


def test_called_as_a_function_a_task_raises_the_present_error(job: Any) -> None:
    with pytest.raises(Retry, match="can be retried"):
        job.retry()
    with pytest.raises(ConnectionError, match="given"):
        job.retry(exc=ConnectionError("given"))
    with pytest.raises(KeyError, match="present"):
        while_handling(KeyError("present"), job.retry)
    with pytest.raises(ConnectionError) as caught:
        while_handling(KeyError("present"), lambda: job.retry(exc=ConnectionError("given")))
    assert isinstance(caught.value.__cause__, KeyError)


def test_with_throw_off_the_message_leaves_at_once_and_the_task_goes_on(app: Umbel, job: Any) -> None:
    with running(job):
        again = job.retry(countdown=0, throw=False)
    assert isinstance(again, Retry)
    assert again.call is None
    (message,) = app.broker.browse("q", 10)
    assert (message.id, message.headers["retries"]) == ("id-1", 1)


def test_a_retry_that_cannot_be_sent_at_once_is_a_rejection(
    app: Umbel, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(calls: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(app, "send", fail)
    with running(job), pytest.raises(Reject) as caught:
        job.retry(throw=False)
    assert caught.value.requeue is False


# Automatic retries


def automatic(app: Umbel, error: BaseException, **options: Any) -> Any:
    @app.task(name="automatic", **options)
    def job() -> None:
        raise error

    app.finalize()
    return job


def test_the_errors_that_are_named_are_retried(app: Umbel) -> None:
    job = automatic(app, ConnectionError("no"), autoretry_for=(OSError,), default_retry_delay=5)
    with running(job, args=[], kwargs={}), pytest.raises(Retry) as caught:
        job.run()
    assert isinstance(caught.value.exc, ConnectionError)
    assert caught.value.call.options["countdown"] == 5


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ValueError("other"), {"autoretry_for": (OSError,)}),
        (ConnectionError("excluded"), {"autoretry_for": (OSError,), "dont_autoretry_for": (ConnectionError,)}),
        (Ignore(), {"autoretry_for": (Exception,)}),
        (Reject(), {"autoretry_for": (Exception,)}),
    ],
)
def test_other_errors_and_those_excluded_pass(app: Umbel, error: BaseException, options: dict[str, Any]) -> None:
    job = automatic(app, error, **options)
    with running(job, args=[], kwargs={}), pytest.raises(type(error)) as caught:
        job.run()
    assert caught.value is error


def test_one_class_needs_no_tuple(app: Umbel) -> None:
    job = automatic(app, ConnectionError("no"), autoretry_for=ConnectionError)
    with running(job, args=[], kwargs={}), pytest.raises(Retry):
        job.run()


def test_at_the_end_the_error_itself_is_raised(app: Umbel) -> None:
    error = ConnectionError("no")
    job = automatic(app, error, autoretry_for=(OSError,), max_retries=2)
    with running(job, args=[], kwargs={}, retries=2), pytest.raises(ConnectionError) as caught:
        job.run()
    assert caught.value is error


def test_called_as_a_function_nothing_is_retried(app: Umbel) -> None:
    job = automatic(app, ConnectionError("no"), autoretry_for=(OSError,))
    with pytest.raises(ConnectionError, match="no"):
        job()


def test_how_to_retry_may_be_said(app: Umbel) -> None:
    job = automatic(
        app, ConnectionError("no"), autoretry_for=(OSError,), retry_kwargs={"max_retries": 1, "countdown": 3}
    )
    with running(job, args=[], kwargs={}), pytest.raises(Retry) as caught:
        job.run()
    assert caught.value.call.options["countdown"] == 3
    with running(job, args=[], kwargs={}, retries=1), pytest.raises(ConnectionError):
        job.run()


@pytest.mark.parametrize(("retries", "countdown"), [(0, 2), (1, 4), (2, 8), (9, 100), (5000, 100)])
def test_pauses_double_up_to_a_limit(app: Umbel, retries: int, countdown: float) -> None:
    job = automatic(
        app,
        ConnectionError("no"),
        autoretry_for=(OSError,),
        retry_backoff=2,
        retry_backoff_max=100,
        retry_jitter=False,
        max_retries=None,
    )
    with running(job, args=[], kwargs={}, retries=retries), pytest.raises(Retry) as caught:
        job.run()
    assert caught.value.call.options["countdown"] == countdown


@given(factor=st.floats(0.001, 1000), retries=st.integers(0, 10**6), maximum=st.floats(0, 10**6))
def test_a_jittered_pause_is_a_part_of_the_full_one(factor: float, retries: int, maximum: float) -> None:
    full = backoff(factor, retries, maximum, jitter=False)
    assert full <= maximum
    assert 0 <= backoff(factor, retries, maximum, jitter=True) <= full


def test_a_coroutine_is_retried_too(app: Umbel) -> None:
    @app.task(name="coroutine", autoretry_for=(OSError,), retry_backoff=True, retry_jitter=False)
    async def job() -> None:
        raise ConnectionError("no")

    app.finalize()
    assert job.is_async
    with running(job, args=[], kwargs={}), pytest.raises(Retry) as caught:
        asyncio.run(job.run())
    assert caught.value.call.options["countdown"] == 1


def test_a_class_of_one_s_own_is_retried_too(app: Umbel) -> None:
    class Job(Task[Any, Any]):
        name = "own"
        autoretry_for = (OSError,)

        def run(self) -> None:
            raise ConnectionError("no")

    job = app.register_task(Job)
    app.finalize()
    with running(job, args=[], kwargs={}), pytest.raises(Retry):
        job.run()
