"""The app sends: what the broker gets, and what the caller is told when it does not."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from umbel import Umbel, chain, group, signals
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.hub import Hub
from umbel.exceptions import (
    AlwaysEagerIgnored,
    BrokerError,
    EncodeError,
    Fatal,
    OperationalError,
    PublishError,
    QueueNotFound,
    Unsupported,
)
from umbel.message.call import Call
from umbel.message.ids import new_id
from umbel.results.result import AsyncResult
from umbel.spec import Failure, Message, Result
from umbel.spec.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Flaky(MemoryBroker):
    """Asks `answer` before each publish what to do: nothing, or raise."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.tries: list[list[str]] = []
        self.answer: Callable[[Sequence[Message]], None] = lambda messages: None

    def publish(self, messages: Sequence[Message]) -> None:
        self.tries.append([message.id for message in messages])
        self.answer(messages)
        super().publish(messages)


class Plugin:
    """The scheme flaky://."""

    UMBEL_SPEC = 1

    @hookimpl
    def umbel_broker(self, url: str, options: Any) -> Flaky:
        return Flaky(Hub())


@pytest.fixture
def flaky() -> Iterator[tuple[Umbel, Flaky]]:
    """An app on a broker that can be made to fail, and that broker."""
    app = Umbel("flaky", broker="flaky://", set_as_current=False)
    app.plugins.register("flaky", Plugin())
    app.conf.task_publish_retry_policy = {"max_retries": 3, "interval_step": 0.001, "interval_max": 0.002}
    with app:
        broker: Any = app.broker
        while not isinstance(broker, Flaky):
            broker = broker.inner
        yield app, broker


def failing(times: int, error: Exception) -> Callable[[Sequence[Message]], None]:
    """Raise so many times."""
    left = [times]

    def answer(messages: Sequence[Message]) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    return answer


def browse(app: Umbel, queue: str = "celery") -> Sequence[Message]:
    return app.broker.browse(queue, 1000)


def test_a_task_is_sent_by_a_name_that_is_not_known_here(app: Umbel) -> None:
    result = app.send_task("far.away", [1], {"x": 2}, countdown=10, queue="q", priority=3, shadow="other")
    assert isinstance(result, AsyncResult)
    assert app.broker.stats(["q"])["q"].delayed == 1
    app.send_task("far.away", (1,), task_id="mine")
    (message,) = browse(app)
    assert (message.id, message.headers["task"], message.headers["argsrepr"]) == ("mine", "far.away", "(1,)")
    assert message.headers["origin"] == f"gen{os.getpid()}@{os.uname().nodename}"
    assert message.reply_to == app.thread_oid


def test_a_task_that_is_known_here_has_its_options_also_when_sent_by_name(app: Umbel) -> None:
    @app.task(name="known", queue="own", priority=7, expires=100)
    def known() -> None: ...

    app.send_task("known")
    app.send_task("known", queue="other", priority=1)
    assert browse(app, "own")[0].priority == 7
    assert browse(app, "own")[0].headers["expires"] is not None
    assert browse(app, "other")[0].priority == 1


def test_send_task_says_that_it_does_not_run_anything_here(app: Umbel) -> None:
    app.conf.task_always_eager = True
    with pytest.warns(AlwaysEagerIgnored):
        app.send_task("far.away")
    assert len(browse(app)) == 1


def test_arguments_must_be_lists_and_mappings(app: Umbel) -> None:
    with pytest.raises(TypeError, match="args must be a list or a tuple"):
        app.send_task("far.away", "abc")
    with pytest.raises(TypeError, match="kwargs must be a mapping"):
        app.send_task("far.away", (), [1])  # type: ignore[arg-type]


def test_many_of_any_kind_are_sent_in_one_publish(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    results = app.send_tasks(
        [
            add.s(1, 2),
            ("add", (3, 4)),
            (add, (5,), {"y": 6}),
            ("far.away", (), {}, {"queue": "far"}),
            chain(add.s(7, 8), add.s(9)),
            group(add.s(n, n) for n in range(3)),
        ],
        priority=4,
    )
    assert len(broker.tries) == 1
    sent = browse(app)
    assert [message.headers["argsrepr"] for message in sent] == [
        *("(1, 2)", "(3, 4)", "(5,)", "(7, 8)", "(0, 0)", "(1, 1)", "(2, 2)"),
    ]
    assert {message.priority for message in sent} == {4}
    assert len(browse(app, "far")) == 1
    assert [type(result).__name__ for result in results] == ["AsyncResult"] * 5 + ["GroupResult"]
    assert results[1].id == sent[1].id
    assert app.send_tasks([]) == []


def test_one_wrong_call_among_many_sends_none(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        app.send_tasks([("add", (1, 2)), ("add", (1,))])
    with pytest.raises(EncodeError, match=r"args\[0\]"):
        app.send_tasks([("add", (1, 2)), ("add", (object(), 1))])
    with pytest.raises(TypeError, match="neither a signature nor a tuple"):
        app.send_tasks(["add"])
    assert broker.tries == []


def test_publishing_is_tried_again_with_the_same_ids(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky
    broker.answer = failing(3, BrokerError("gone for a moment"))
    result = app.send_task("job")
    assert broker.tries == [[result.id]] * 4
    assert [message.id for message in browse(app)] == [result.id]


def test_after_the_last_try_the_caller_is_told_with_the_broker_s_own_error(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky
    broker.answer = failing(99, BrokerError("gone for good"))
    with pytest.raises(OperationalError, match=r"the message was not taken by the broker .*gone for good") as caught:
        app.send_task("job")
    assert isinstance(caught.value.__cause__, BrokerError)
    assert len(broker.tries) == 4
    assert not browse(app)


@pytest.mark.parametrize(
    ("options", "tries"),
    [({"retry": False}, 1), ({"retry_policy": {"max_retries": 1}}, 2), ({"retry": True}, 4)],
)
def test_the_call_may_say_how_often_to_try(flaky: tuple[Umbel, Flaky], options: dict[str, Any], tries: int) -> None:
    app, broker = flaky
    broker.answer = failing(99, BrokerError("gone"))
    with pytest.raises(OperationalError):
        app.send_task("job", **options)
    assert len(broker.tries) == tries


def test_the_settings_may_say_not_to_try_again(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky
    app.send_task("job")
    app.conf.task_publish_retry = False
    broker.answer = failing(99, BrokerError("gone"))
    with pytest.raises(OperationalError):
        app.send_task("job")
    assert len(broker.tries) == 2


def test_without_an_end_it_is_tried_until_it_works(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky
    broker.answer = failing(20, BrokerError("gone"))
    app.send_task("job", retry_policy={"max_retries": None})
    assert len(broker.tries) == 21


def test_a_misspelt_retry_policy_is_refused(app: Umbel) -> None:
    with pytest.raises(TypeError, match="max_retires"):
        app.send_task("job", retry_policy={"max_retires": 1})


def test_what_cannot_help_is_not_tried_again(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky
    broker.answer = failing(99, Fatal("wrong password"))
    with pytest.raises(OperationalError, match="wrong password"):
        app.send_task("job")
    assert len(broker.tries) == 1
    broker.answer = failing(99, Unsupported("this broker cannot delay"))
    with pytest.raises(Unsupported, match="cannot delay"):
        app.send_task("job")
    assert len(broker.tries) == 2


def test_only_those_that_failed_are_sent_again(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky

    def answer(messages: Sequence[Message]) -> None:
        if len(broker.tries) == 1:
            MemoryBroker.publish(broker, messages[:2])
            raise PublishError([Failure(message, BrokerError("full"), True) for message in messages[2:]])

    broker.answer = answer
    results = app.send_tasks([("job", (n,)) for n in range(4)])
    ids = [result.id for result in results]
    assert broker.tries == [ids, ids[2:]]
    assert [message.id for message in browse(app)] == ids


def test_the_error_names_how_many_of_a_batch_failed_and_has_them_in_its_cause(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky

    def answer(messages: Sequence[Message]) -> None:
        raise PublishError([Failure(message, BrokerError("full"), True) for message in messages[-1:]])

    broker.answer = answer
    with pytest.raises(OperationalError, match=r"1 of 3 messages were not taken by the broker: full"):
        app.send_tasks([("job", (n,)) for n in range(3)])


def test_the_password_is_not_in_the_error(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky
    app.conf.broker_url = "flaky://me:hunter2@host"
    broker.answer = failing(99, BrokerError("flaky://me:hunter2@host does not answer"))
    with pytest.raises(OperationalError) as caught:
        app.send_task("job")
    assert "hunter2" not in str(caught.value)


def test_a_queue_is_declared_when_it_is_first_sent_to(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky
    declared: list[str] = []
    declare = broker.declare
    broker.declare = lambda queues: (declared.extend(queue.name for queue in queues), declare(queues))[1]  # type: ignore[method-assign,func-returns-value]
    for _ in range(3):
        app.send_tasks([("job",), ("job", (), {}, {"queue": "other"}), ("job",)])
    assert declared == ["celery", "other"]
    assert set(app.broker.queues()) >= {"celery", "celery.dead", "other", "other.dead"}


def test_a_queue_that_may_not_be_made_is_refused(app: Umbel) -> None:
    app.conf.task_create_missing_queues = False
    with pytest.raises(QueueNotFound, match="'other' is not among task_queues"):
        app.send_task("job", queue="other")


def test_routes_count_also_after_they_were_changed(app: Umbel) -> None:
    app.conf.task_routes = {"job": {"queue": "first"}}
    app.send_task("job")
    app.conf.task_routes = {"jo*": {"queue": "second"}}
    app.send_task("job")
    assert (len(browse(app, "first")), len(browse(app, "second"))) == (1, 1)


def test_who_connects_is_told_of_each_task_and_may_add_headers(app: Umbel) -> None:
    told: list[tuple[str, Any]] = []

    def before(sender: Any, headers: dict[str, Any], body: Any, routing_key: str, **named: Any) -> None:
        headers["trace"] = "abc"
        told.append(("before", (sender, body[0], routing_key)))

    def after(sender: Any, headers: dict[str, Any], **named: Any) -> None:
        told.append(("after", (sender, headers["trace"])))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        app.send_task("job", (1,))
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert told == [("before", ("job", (1,), "celery")), ("after", ("job", "abc"))]
    assert browse(app)[0].headers["trace"] == "abc"


def test_nobody_is_told_that_a_task_was_sent_that_was_not(flaky: tuple[Umbel, Flaky]) -> None:
    app, broker = flaky
    broker.answer = failing(1, Fatal("no"))
    told: list[str] = []

    def after(sender: Any, **named: Any) -> None:
        told.append(sender)

    signals.after_task_publish.connect(after)
    try:
        with pytest.raises(OperationalError):
            app.send_task("job")
    finally:
        signals.after_task_publish.disconnect(after)
    assert told == []


def test_an_id_of_one_s_own_that_has_ended_before_begins_the_next_generation(app: Umbel) -> None:
    app.send_task("job", task_id="mine")
    app.send_task("job", task_id="mine")
    assert app.backend is not None
    app.backend.store([Result(id="mine", state="SUCCESS", terminal=True, generation=2)], ttl=None)
    app.send_task("job", task_id="mine")
    assert [message.headers.get("umbel_generation", 0) for message in browse(app)] == [0, 0, 3]


def test_without_a_result_store_an_id_of_one_s_own_is_always_of_the_first_generation() -> None:
    with Umbel(broker=f"memory://{new_id()}", backend="disabled", set_as_current=False) as app:
        app.send_task("job", task_id="mine")
        assert "umbel_generation" not in browse(app)[0].headers


def test_encode_makes_messages_for_others_to_publish_to_queues_that_exist(app: Umbel) -> None:
    (message,) = app.encode([Call(task="job", id=new_id(), options={"queue": "elsewhere"})])
    assert message.queue == "elsewhere"
    assert "elsewhere" in app.broker.queues()
    assert not browse(app, "elsewhere")


def test_threads_send_at_the_same_time(app: Umbel) -> None:
    def send() -> None:
        for _ in range(50):
            app.send_task("job")

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({message.id for message in browse(app)}) == 400
