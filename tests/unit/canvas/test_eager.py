"""Workflows run here and now, without a worker."""

from typing import Any

import pytest

from tests.unit.canvas.harness import Harness
from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.chunks import chunks
from umbel.canvas.group import group
from umbel.results.eager import EagerResult
from umbel.results.group import GroupResult
from umbel.states import IGNORED


@pytest.fixture
def app() -> Harness:
    app = Harness()
    app.conf.task_always_eager = True
    app.task(lambda x, y=0: x + y, name="add")
    app.task(sum, name="total")

    def fail(*args: Any) -> None:
        raise ValueError("no")

    app.task(fail)
    return app


@pytest.fixture
def add(app: Harness) -> Any:
    return app.tasks["add"]


def test_a_task_and_a_chain(app: Harness, add: Any) -> None:
    assert add.s(1).delay(2).get() == 3
    result = chain(add.s(1), add.s(10), add.s(100))(2)
    assert isinstance(result, EagerResult)
    assert [result.get(), result.parent.get(), result.parent.parent.get()] == [113, 13, 3]
    assert chain.of([], app=app).apply() is None


def test_groups_chords_and_chunks(app: Harness, add: Any) -> None:
    both = group(add.s(1), add.s(2)).apply_async((10,))
    assert isinstance(both, GroupResult)
    assert both.get() == [11, 12]
    result = chord([add.s(1), chain(add.s(2), group(add.s(1), add.s(2)))], app.task(lambda x: x, name="same").s())()
    assert isinstance(result, EagerResult)
    assert result.get() == [1, [3, 4]]
    assert chain(add.s(1), group(add.s(1), add.s(2)), app.tasks["total"].s())().get() == 5
    assert chunks(add.s(), [(1, 1), (2, 2), (3, 3)], 2)().get() == [[2, 4], [6]]
    assert app.publishes == []


def test_a_failed_step_raises_and_nothing_after_it_runs(app: Harness, add: Any) -> None:
    with pytest.raises(ValueError, match="no"):
        chain(app.tasks["fail"].s(), add.s(1))()
    with pytest.raises(ValueError, match="no"):
        chord([app.tasks["fail"].s(), add.s(1)], app.tasks["total"].s())()
    assert chain(app.tasks["fail"].s())().failed()


def test_a_chain_stops_at_a_task_that_ignores_itself(app: Harness, add: Any) -> None:
    ignoring = app.task(lambda: None, name="ignoring")
    ignoring.apply = lambda *args, **kwargs: EagerResult("ignored", None, IGNORED)  # type: ignore[method-assign]
    result = chain(ignoring.s(), add.s(1))()
    assert result.id == "ignored"


def test_a_chord_may_get_its_body_with_the_call(app: Harness, add: Any) -> None:
    assert chord([add.s(1), add.s(2)])(app.tasks["total"].s()).get() == 3
    assert chord([add.s(1), add.s(2)]).apply(body=app.tasks["total"].s()).get() == 3
