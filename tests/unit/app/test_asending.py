"""Sending from an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from umbel import Umbel
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.hub import Hub
from umbel.exceptions import EncodeError, Fatal, OperationalError, PublishError
from umbel.spec import Failure, Message
from umbel.spec.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Slow(MemoryBroker):
    """Waits before each publish until it may go on, and remembers what it was given."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.batches: list[list[Any]] = []
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()
        self.called = threading.Event()
        self.wrong: set[Any] = set()

    def publish(self, messages: Sequence[Message]) -> None:
        self.called.set()
        self.batches.append([message.headers["argsrepr"] for message in messages])
        self.threads.add(threading.current_thread().name)
        self.go.wait(10)
        bad = [message for message in messages if message.headers["argsrepr"] in self.wrong]
        good = [message for message in messages if message not in bad]
        super().publish(good)
        if bad:
            raise PublishError([Failure(message, Fatal("refused"), True) for message in bad])


class Plugin:
    UMBEL_SPEC = 1

    @hookimpl
    def umbel_broker(self, url: str, options: Any) -> Slow:
        return Slow(Hub())


@pytest.fixture
def slow() -> Iterator[tuple[Umbel, Slow, Any]]:
    app = Umbel("slow", broker="slow://", set_as_current=False)
    app.plugins.register("slow", Plugin())

    @app.task(name="job")
    def job(x: int) -> int:
        return x

    with app:
        broker: Any = app.broker
        while not isinstance(broker, Slow):
            broker = broker.inner
        yield app, broker, job


def test_what_one_turn_of_the_loop_sends_goes_out_together_and_in_order(slow: tuple[Umbel, Slow, Any]) -> None:
    app, broker, job = slow

    async def main() -> list[str]:
        results = await asyncio.gather(*(job.adelay(n) for n in range(100)))
        return [result.id for result in results]

    ids = asyncio.run(main())
    assert broker.batches == [[f"({n},)" for n in range(100)]]
    assert [message.id for message in app.broker.browse("celery", 1000)] == ids


def test_the_loop_goes_on_while_the_broker_is_slow_and_what_comes_meanwhile_is_the_next_batch(
    slow: tuple[Umbel, Slow, Any],
) -> None:
    _app, broker, job = slow
    broker.go.clear()

    async def main() -> None:
        first = asyncio.create_task(job.adelay(0))
        await asyncio.to_thread(broker.called.wait, 10)
        others = [asyncio.create_task(job.adelay(n)) for n in range(1, 6)]
        started = time.monotonic()
        await asyncio.sleep(0.02)
        assert time.monotonic() - started < 5  # the loop was not blocked
        assert not first.done()
        broker.go.set()
        await asyncio.gather(first, *others)

    asyncio.run(main())
    assert broker.batches == [["(0,)"], ["(1,)", "(2,)", "(3,)", "(4,)", "(5,)"]]
    assert threading.current_thread().name not in broker.threads


def test_only_those_whose_message_was_refused_are_told(slow: tuple[Umbel, Slow, Any]) -> None:
    app, broker, job = slow
    broker.wrong = {"(1,)", "(3,)"}

    async def main() -> list[Any]:
        return await asyncio.gather(*(job.adelay(n) for n in range(5)), return_exceptions=True)

    outcomes = asyncio.run(main())
    assert [isinstance(outcome, OperationalError) for outcome in outcomes] == [False, True, False, True, False]
    assert len(app.broker.browse("celery", 10)) == 3


def test_a_wrong_call_is_refused_at_once_and_disturbs_nobody(slow: tuple[Umbel, Slow, Any]) -> None:
    _app, broker, job = slow

    async def main() -> list[Any]:
        return await asyncio.gather(job.adelay(), job.adelay(object()), job.adelay(1), return_exceptions=True)

    wrong, unwritable, right = asyncio.run(main())
    assert isinstance(wrong, TypeError)
    assert isinstance(unwritable, EncodeError)
    assert right.id
    assert broker.batches == [["(1,)"]]


def test_calls_of_different_policies_are_published_apart(slow: tuple[Umbel, Slow, Any]) -> None:
    _app, broker, job = slow

    async def main() -> None:
        await asyncio.gather(job.adelay(1), job.aapply_async((2,), retry=False), job.adelay(3))

    asyncio.run(main())
    assert broker.batches == [["(1,)", "(3,)"], ["(2,)"]]


def test_who_was_cancelled_before_the_publish_sends_nothing(slow: tuple[Umbel, Slow, Any]) -> None:
    _app, broker, job = slow

    async def main() -> None:
        task = asyncio.create_task(job.adelay(1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await job.adelay(2)

    asyncio.run(main())
    assert broker.batches == [["(2,)"]]


def test_an_error_of_another_kind_reaches_everybody_in_the_batch(
    slow: tuple[Umbel, Slow, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _app, broker, job = slow

    def broken(messages: Sequence[Message]) -> None:
        raise RuntimeError("a bug in the transport")

    monkeypatch.setattr(broker, "publish", broken)

    async def main() -> list[Any]:
        outcomes = await asyncio.gather(*(job.adelay(n) for n in range(3)), return_exceptions=True)
        monkeypatch.undo()
        await job.adelay(5)
        return list(outcomes)

    assert [str(outcome) for outcome in asyncio.run(main())] == ["a bug in the transport"] * 3


def test_it_works_on_one_loop_after_another(slow: tuple[Umbel, Slow, Any]) -> None:
    _app, broker, job = slow
    for n in range(3):
        asyncio.run(job.adelay(n))
    assert len(broker.batches) == 3


def test_a_result_can_be_awaited_where_it_was_sent(app: Umbel) -> None:
    from umbel.testing import start_worker

    @app.task(name="double")
    async def double(x: int) -> int:
        return 2 * x

    async def main() -> list[int]:
        results = await asyncio.gather(*(double.adelay(n) for n in range(20)))
        return [await result for result in results]

    with start_worker(app):
        assert asyncio.run(main()) == [2 * n for n in range(20)]
