"""Calling a task: one, many, with options, as the child of another."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from umbel import AsyncResult, Umbel
from umbel.current import current_request
from umbel.exceptions import EncodeError
from umbel.message.context import Context
from umbel.results.eager import EagerResult
from umbel.spec import Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Sequence


def sent(app: Umbel, queue: str = "celery") -> Sequence[Message]:
    return app.broker.browse(queue, 1000)


@pytest.fixture
def add(app: Umbel) -> Any:
    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    return add


def test_delay_sends_the_arguments_and_returns_the_handle(app: Umbel, add: Any) -> None:
    result = add.delay(1, y=2)
    (message,) = sent(app)
    assert type(result) is AsyncResult
    assert (message.id, message.headers["task"], message.queue) == (result.id, "add", "celery")
    assert app.serializers.loads(message.body, message.content_type, "utf-8", ["application/json"])[:2] == [
        [1],
        {"y": 2},
    ]
    assert (result.app, result.name) == (app, "add")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda add: add.delay(1), "missing a required argument: 'y'"),
        (lambda add: add.delay(1, 2, 3), "too many positional arguments"),
        (lambda add: add.apply_async((1,), {"x": 2, "y": 2}), "multiple values for argument 'x'"),
        (lambda add: add.apply_async((1, 2), {"z": 2}), "unexpected keyword argument 'z'"),
        (lambda add: add.apply_async("ab"), "args must be a list or a tuple, not str"),
        (lambda add: add.apply_async((1, 2), [3]), "kwargs must be a mapping, not list"),
        (lambda add: add.delay_many([(1, 2), (3,)]), "missing a required argument: 'y'"),
        (lambda add: add.delay_many([5]), "tuple or list of its arguments, not 5"),
        (lambda add: add.delay_many([(1, 2)], task_id="one"), "one task_id"),
    ],
)
def test_a_wrong_call_is_refused_where_it_is_made_and_nothing_is_sent(
    app: Umbel, add: Any, call: Any, match: str
) -> None:
    app.broker.declare([])
    with pytest.raises(TypeError, match=match):
        call(add)
    assert app.broker.stats(["celery"])["celery"].ready in (0, None)


def test_checking_can_be_turned_off_for_a_task_and_for_an_app(app: Umbel) -> None:
    @app.task(typing=False)
    def loose(x: int) -> None: ...

    loose.delay(1, 2, 3)  # type: ignore[call-arg]
    app.strict_typing = False

    @app.task
    def also_loose(x: int) -> None: ...

    @app.task(typing=True)
    def strict(x: int) -> None: ...

    also_loose.delay()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        strict.delay()  # type: ignore[call-arg]


def test_what_cannot_be_written_is_refused_with_where_it_is(app: Umbel, add: Any) -> None:
    with pytest.raises(EncodeError, match=r"add: .*args\[1\]"):
        add.delay(1, object())


def test_the_options_of_the_call_are_in_the_message(app: Umbel, add: Any) -> None:
    eta = datetime.now(UTC) + timedelta(hours=1)
    add.apply_async(
        (1, 2),
        queue="q",
        priority=5,
        headers={"mine": 1},
        shadow="shown",
        time_limit=10,
        soft_time_limit=5,
        ignore_result=True,
        task_id="given",
        expires=60,
        compression="gzip",
        link=add.s(3),
        link_error=[add.s(4), add.s(5)],
    )
    add.apply_async((1, 2), eta=eta)
    (message,) = sent(app, "q")
    headers = message.headers
    assert (message.id, message.priority, headers["mine"], headers["shadow"]) == ("given", 5, 1, "shown")
    assert headers["timelimit"] == [10, 5]
    assert headers["ignore_result"] is True
    assert headers["compression"] == "application/x-gzip"
    assert headers["expires"] is not None
    assert app.broker.stats(["celery"])["celery"].delayed == 1


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"time_limit": 5, "soft_time_limit": 10}, ValueError, "soft_time_limit"),
        ({"priority": 300}, ValueError, "from 0 to 255"),
        ({"countdown": "soon"}, TypeError, "countdown"),
        ({"eta": "tomorrow"}, ValueError, "eta"),
        ({"task_id": 5}, TypeError, "task_id must be text"),
        ({"producer": object()}, NotImplementedError, "'producer'"),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    app: Umbel, add: Any, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        add.apply_async((1, 2), **options)


def test_the_task_s_own_options_count_less_than_the_call_s(app: Umbel) -> None:
    @app.task(queue="own", priority=2, serializer="json", expires=100, ignore_result=True)
    def job() -> None: ...

    first, second = job.delay(), job.apply_async(queue="other", priority=7, ignore_result=False)
    assert (sent(app, "own")[0].priority, sent(app, "other")[0].priority) == (2, 7)
    assert (first.ignored, second.ignored) == (True, False)
    assert first.get() is None


def test_settings_that_change_count_from_then_on(app: Umbel, add: Any) -> None:
    assert not add.delay(1, 2).ignored
    app.conf.task_ignore_result = True
    assert add.delay(1, 2).ignored
    assert add.ignore_result is True
    app.conf.task_ignore_result = False
    assert not add.delay(1, 2).ignored
    add.ignore_result = True
    assert add.delay(1, 2).ignored


def test_many_are_sent_in_one_publish_in_order(app: Umbel, add: Any) -> None:
    results = add.delay_many([(1, 2), [3, 4], ((5,), {"y": 6})], priority=3)
    messages = sent(app)
    assert [message.id for message in messages] == [result.id for result in results]
    assert [(m.headers["argsrepr"], m.headers["kwargsrepr"]) for m in messages] == [
        ("(1, 2)", "{}"),
        ("[3, 4]", "{}"),
        ("(5,)", "{'y': 6}"),
    ]
    assert {message.priority for message in messages} == {3}
    assert add.delay_many([]) == []
    assert len(add.delay_many((n, n) for n in range(50))) == 50


def test_a_name_for_logs_may_be_made_of_the_arguments(app: Umbel) -> None:
    def named(self: Any, args: Any, kwargs: Any, options: Any) -> str:
        return f"{self.name} of {args[0]}"

    @app.task(name="job", shadow_name=named)
    def job(x: str) -> None: ...

    job.delay("a")
    job.apply_async(("b",), shadow="said")
    assert [message.headers["shadow"] for message in sent(app)] == ["job of a", "said"]


def test_a_task_that_a_task_sends_is_its_child(app: Umbel, add: Any) -> None:
    @app.task(name="parent")
    def parent() -> None: ...

    request = Context(id="parent-id", root_id="root-id", called_directly=False, _task=parent)
    token = current_request.set(request)
    try:
        child = add.delay(1, 2)
        add.apply_async((1, 2), add_to_parent=False)
        others = add.delay_many([(3, 4)])
        named = app.send_task("far.away")
        many = app.send_tasks([add.s(1, 2)])
    finally:
        current_request.reset(token)
    assert {(m.headers["root_id"], m.headers["parent_id"]) for m in sent(app)} == {("root-id", "parent-id")}
    assert request.children == [child, *others, named, *many]
    add.delay(1, 2)
    last = sent(app)[-1]
    assert (last.headers["root_id"], last.headers["parent_id"]) == (last.id, None)


def test_a_task_that_leaves_no_trail_has_no_children(app: Umbel, add: Any) -> None:
    @app.task(name="parent", trail=False)
    def parent() -> None: ...

    request = Context(id="parent-id", called_directly=False, _task=parent)
    token = current_request.set(request)
    try:
        add.delay(1, 2)
    finally:
        current_request.reset(token)
    assert request.children == []


def test_a_child_has_its_parent_s_priority_if_the_settings_say_so(app: Umbel, add: Any) -> None:
    app.conf.task_inherit_parent_priority = True
    delivery = Delivery(message=Message(queue="q", body=b"", id="x", priority=6), receipt=None)
    token = current_request.set(Context(id="x", called_directly=False, delivery=delivery, _task=add))
    try:
        add.delay(1, 2)
        add.apply_async((1, 2), priority=1)
    finally:
        current_request.reset(token)
    assert [message.priority for message in sent(app)] == [6, 1]


def test_eager_tasks_run_here_with_arguments_as_they_would_arrive(app: Umbel) -> None:
    @app.task
    def look(x: Any) -> str:
        return f"{type(x).__name__} of {x}"

    app.conf.task_always_eager = True
    result = look.delay((1, 2))
    assert isinstance(result, EagerResult)
    assert result.get() == "list of [1, 2]"
    assert [each.get() for each in look.delay_many([(1,), (2,)])] == ["int of 1", "int of 2"]
    with pytest.raises(TypeError, match="'x'"):
        look.delay()  # type: ignore[call-arg]
    with pytest.raises(EncodeError):
        look.delay(object())
    assert asyncio.run(look.adelay(1)).get() == "int of 1"


def test_a_handle_is_made_of_an_id(app: Umbel, add: Any) -> None:
    result = add.AsyncResult("some-id")
    assert (result.id, result.app, result.name) == ("some-id", app, "add")


def test_signatures_are_of_the_task_and_its_app(app: Umbel, add: Any) -> None:
    assert add.s(1, y=2) == {
        "task": "add",
        "args": (1,),
        "kwargs": {"y": 2},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    assert add.si(1, 2).immutable
    assert add.signature((1,), {"y": 2}, {"queue": "q"}, immutable=True).options == {"queue": "q"}
    assert add.subtask((1, 2)).app is app
    assert add.map([1, 2]).task == "celery.map"
    assert add.starmap([(1, 2)]).task == "celery.starmap"
    assert len(add.chunks([(n, n) for n in range(10)], 3).group()) == 4


def test_what_is_to_come_says_so(add: Any) -> None:
    for call in (lambda: add.replace(add.s()), lambda: add.add_to_chord(add.s()), lambda: add.send_event("x")):
        with pytest.raises(NotImplementedError, match="is not supported yet"):
            call()
