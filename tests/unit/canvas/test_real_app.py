"""The canvas with a real app, and a worker in this process."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from umbel import Umbel, chain, chord, group
from umbel.exceptions import ChordError
from umbel.testing import start_worker

names = itertools.count()


@pytest.fixture
def app() -> Iterator[Umbel]:
    url = f"memory://canvas{next(names)}"
    app = Umbel("canvas", broker=url, backend=url, set_as_current=False)
    app.task(lambda x, y=0: x + y, name="add")
    app.task(sum, name="total", typing=False)
    app.task(lambda value: value, name="same")

    @app.task(name="fail", throws=(ValueError,))
    def fail() -> None:
        raise ValueError("no")

    yield app
    app.close()


def test_workflows_run_to_their_end(app: Umbel) -> None:
    add, total, same = (app.tasks[name] for name in ("add", "total", "same"))
    with start_worker(app, pool="threads", concurrency=3):
        sig = chain(add.s(1, 1), add.s(2), group(add.s(1), add.s(2)), total.s())
        assert sig.delay().get(timeout=20) == 11
        header = [add.s(1), chain(add.s(1), group(add.s(1), add.s(2))), chord([add.s(3)], total.s())]
        assert chord(header, same.s())().get(timeout=20) == [1, [2, 3], 3]
        result = chord([add.s(number) for number in range(50)], total.s())()
        assert result.get(timeout=20) == sum(range(50))
        assert result.parent.get(timeout=20) == list(range(50))
        assert add.chunks([(number, 1) for number in range(5)], 2)().get(timeout=20) == [[1, 2], [3, 4], [5]]
        assert add.map([1, 2]).delay().get(timeout=20) == [1, 2]


def test_a_failed_chord_calls_its_errback_and_tells_who_waits(app: Umbel) -> None:
    called: list[Any] = []
    app.task(lambda request, exc, traceback: called.append((request.id, type(exc))), name="note")
    with start_worker(app):
        sig = chord([app.tasks["add"].s(1), app.tasks["fail"].s()], app.tasks["total"].s())
        result = sig.on_error(app.tasks["note"].s()).delay()
        with pytest.raises(ChordError, match=r"raised ValueError\('no'\)"):
            result.get(timeout=20)
    assert called == [(result.id, ChordError)]


def test_results_are_awaited_together(app: Umbel) -> None:
    async def main() -> Any:
        result = group(app.tasks["add"].s(number, 1) for number in range(20))()
        done = [member.id async for member in result]
        assert sorted(done) == sorted(member.id for member in result)
        return await result

    with start_worker(app, pool="threads", concurrency=2):
        assert asyncio.run(main()) == [number + 1 for number in range(20)]


def test_arguments_are_checked_of_each_member_before_any_is_sent(app: Umbel) -> None:
    add = app.tasks["add"]
    for sig in (add.s(1, 2, 3), group([add.s(1), add.s(1, 2, 3)]), chord([add.s(1, z=2)], add.s())):
        with pytest.raises(TypeError, match=r"add\(\)"):
            sig.apply_async()
    assert app.broker.stats(["celery"])["celery"].ready in (0, None)


def test_a_tasks_own_way_of_being_sent_is_used_by_its_signature(app: Umbel) -> None:
    class Special(app.Task):  # type: ignore[name-defined,misc]
        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            return ("sent", args, kwargs, options)

    task = app.task(lambda x: x, name="special", base=Special)
    assert task.s(1).clone(queue="fast").delay(2) == ("sent", (2, 1), {}, {"queue": "fast"})
