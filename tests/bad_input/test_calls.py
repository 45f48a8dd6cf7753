"""What a caller gets wrong is refused where it is wrong, by name, and nothing is lost by it."""

from __future__ import annotations

from typing import Any

import pytest

from umbel import Umbel, chord
from umbel.exceptions import EncodeError, ImproperlyConfigured, OperationalError, UmbelError
from umbel.testing import start_worker


@pytest.fixture
def app() -> Any:
    made = Umbel("bad", broker="memory://bad-input", backend="memory://bad-input", set_as_current=False)

    @made.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @made.task(name="odd")
    def odd() -> Any:
        return {"fine": 1, "culprit": [object()]}

    @made.task(name="deep")
    def deep() -> Any:
        value: Any = []
        for _ in range(200):
            value = [value]
        return value

    yield made
    made.close()


def test_a_mistyped_setting_suggests_the_right_one() -> None:
    app = Umbel("bad", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="task_serializer"):
        app.conf.update(task_serialiser="json")


def test_a_setting_of_the_wrong_type_is_named_with_its_value() -> None:
    app = Umbel("bad", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match=r"(?s)result_expires.*soon"):
        app.conf.update(result_expires="soon")


def test_wrong_arguments_are_refused_at_the_call(app: Any) -> None:
    with pytest.raises(TypeError):
        app.tasks["add"].delay(1)
    with pytest.raises(TypeError):
        app.tasks["add"].delay(1, 2, z=3)
    assert app.broker.stats(["celery"])["celery"].ready == 0


def test_an_argument_that_cannot_be_sent_is_named(app: Any) -> None:
    with pytest.raises(EncodeError, match=r"args\[1\]"):
        app.tasks["add"].delay(1, object())


def test_a_chord_without_a_result_store_is_refused_at_the_call() -> None:
    app = Umbel("bad", broker="memory://no-results", result_backend="disabled://", set_as_current=False)

    @app.task(name="one")
    def one(*values: Any) -> int:
        return 1

    with pytest.raises((NotImplementedError, UmbelError), match="result_backend"):
        chord([one.s(), one.s()])(one.s())
    app.close()


def test_a_result_that_cannot_be_stored_is_a_failure_that_names_the_culprit(app: Any) -> None:
    with start_worker(app):
        with pytest.raises(EncodeError, match="culprit"):
            app.tasks["odd"].delay().get(timeout=10)
        assert app.tasks["add"].delay(1, 2).get(timeout=10) == 3


def test_a_body_that_is_too_deep_is_refused_at_the_call(app: Any) -> None:
    value: Any = []
    for _ in range(200):
        value = [value]
    with pytest.raises(UmbelError, match="deep"):
        app.tasks["add"].delay(1, value)


def test_a_result_that_is_too_deep_is_a_failure(app: Any) -> None:
    with start_worker(app), pytest.raises(UmbelError, match="deep"):
        app.tasks["deep"].delay().get(timeout=10)


def test_a_body_that_is_too_large_is_refused_at_the_call(app: Any) -> None:
    app.conf.update(max_message_size=1000)
    with pytest.raises((UmbelError, ValueError), match="max_message_size"):
        app.tasks["add"].delay(1, "x" * 2000)


def test_a_broker_that_is_not_there_is_an_operational_error(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    app = Umbel("bad", broker=f"sqlite:///{tmp_path}/file/q.db", set_as_current=False)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    with pytest.raises(OperationalError, match="file"):
        add.delay(1, 2)
    app.close()
