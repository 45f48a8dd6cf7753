"""The fetcher, on a memory broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty
from typing import Any

import pytest

from umbel.brokers.memory import MemoryBroker
from umbel.pools.ready import Ready
from umbel.spec import BrokerError, Consumer, Delivery, Fatal, Message
from umbel.worker.fetcher import Fetcher
from umbel.worker.room import Room


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.002)
    raise AssertionError("not within 10 s")


class Bench:
    """A fetcher with a pool that the test plays itself."""

    def __init__(self, *, slots: int = 1, prefetch: int = 100) -> None:
        self.broker = MemoryBroker()
        self.ready: Ready = Ready()
        self.room = Room(slots=slots, prefetch=prefetch, horizon=0.05)
        self.since: list[float] = []
        self.blocked = False
        self.connects = 0
        self.failures: list[BrokerError] = []
        self.fetcher = Fetcher(
            self.connect,
            self.ready,
            self.room,
            running=lambda: len(self.since),
            stuck=lambda: sum(time.monotonic() - since > self.room.horizon for since in self.since),
            dispatch=self.dispatch,
            async_room=lambda: 0,
            blocked=lambda: self.blocked,
            tick=lambda: None,
        )

    def connect(self) -> Consumer:
        self.connects += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.broker.consume(["q"], owner=f"me{self.connects}", prefetch=1000)

    def dispatch(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        return deliveries

    def publish(self, count: int, task: str = "t") -> None:
        self.broker.publish(
            [Message(queue="q", body=b"", id=f"{task}{n}", headers={"task": task}) for n in range(count)]
        )

    def ready_in_broker(self) -> int | None:
        return self.broker.stats(["q"])["q"].ready

    def take(self) -> Delivery:
        delivery = self.ready.get(timeout=10)
        assert delivery is not None
        self.fetcher.taken()
        return delivery


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.fetcher.stop()
    made.fetcher.join(10)
    made.fetcher.close()
    made.broker.close()


def test_only_what_can_start_is_fetched_while_nothing_was_timed(bench: Bench) -> None:
    bench.publish(10)
    bench.fetcher.start()
    until(lambda: bench.ready.qsize() == 1)
    assert bench.ready_in_broker() == 9


def test_short_tasks_are_fetched_many_at_a_time_and_again_before_they_run_out(bench: Bench) -> None:
    bench.room.took("t", 0.0001)
    bench.publish(150)
    bench.fetcher.start()
    until(lambda: bench.ready.qsize() == 100)
    seen = [bench.take().message.id for _ in range(60)]
    until(lambda: bench.ready_in_broker() == 0)
    seen += [bench.take().message.id for _ in range(90)]
    assert seen == [f"t{n}" for n in range(150)]


def test_the_next_task_is_fetched_as_soon_as_the_one_before_it_has_ended(bench: Bench) -> None:
    bench.publish(10)
    bench.fetcher.start()
    began = time.monotonic()
    for _ in range(10):
        bench.ready.get(timeout=10)
        bench.since = [time.monotonic()]
        bench.fetcher.taken()
        time.sleep(0.01)  # so that the fetcher has found that there is no room
        assert bench.ready.qsize() == 0
        bench.since = []
        bench.fetcher.taken()
    assert time.monotonic() - began < 2.0


def test_what_waits_behind_a_long_task_goes_back_uncharged_and_in_order(bench: Bench) -> None:
    bench.room.took("t", 0.0001)
    bench.publish(20)
    bench.fetcher.start()
    bench.take()
    bench.since.append(time.monotonic())  # it runs, and does not end
    until(lambda: bench.ready_in_broker() == 19)
    other = bench.broker.consume(["q"], owner="other", prefetch=100)
    got = other.receive(100, 1.0)
    assert [(d.message.id, d.attempt) for d in got] == [(f"t{n}", 1) for n in range(1, 20)]
    other.close()


def test_nothing_is_fetched_while_settling_fails(bench: Bench) -> None:
    bench.blocked = True
    bench.fetcher.start()
    assert bench.fetcher.connected.wait(10)
    bench.publish(1)
    with pytest.raises(Empty):
        bench.ready.get(timeout=0.2)
    bench.blocked = False
    assert bench.take().message.id == "t0"


def test_stopping_gives_back_what_was_not_started(bench: Bench) -> None:
    bench.room.took("t", 0.0001)
    bench.publish(5)
    bench.fetcher.start()
    until(lambda: bench.ready.qsize() == 5)
    bench.fetcher.stop()
    bench.fetcher.join(10)
    assert bench.ready_in_broker() == 5


def test_a_lost_connection_is_made_anew(bench: Bench) -> None:
    bench.failures = [BrokerError("gone"), BrokerError("gone")]
    bench.publish(1)
    bench.fetcher.start()
    assert bench.take().message.id == "t0"
    assert bench.connects == 3
    assert bench.fetcher.error is None


def test_a_fatal_error_at_the_start_ends_it(bench: Bench) -> None:
    bench.failures = [Fatal("wrong password")]
    bench.fetcher.start()
    assert bench.fetcher.connected.wait(10)
    assert str(bench.fetcher.error) == "wrong password"
    bench.fetcher.join(10)
    assert "umbel-fetcher" not in {thread.name for thread in threading.enumerate()}


def test_there_is_no_consumer_before_it_is_connected(bench: Bench) -> None:
    with pytest.raises(BrokerError, match="not connected"):
        bench.fetcher.consumer()
