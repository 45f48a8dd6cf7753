"""Priorities on a broker that keeps none apart."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, receive_all, until
from umbel.backends.memory import MemoryBackend
from umbel.brokers import sorting
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.brokers.sorting import HOLD, SortingBroker
from umbel.clock import ManualClock
from umbel.spec import BrokerError, Consumer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def inner(clock: ManualClock) -> MemoryBroker:
    return MemoryBroker(clock=clock, capabilities=replace(FULL, priorities=1))


@pytest.fixture
def broker(inner: MemoryBroker, clock: ManualClock):
    broker = SortingBroker(inner, clock=clock)
    yield broker
    broker.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "umbel-sorting"]


def test_it_promises_no_more_levels_than_the_broker_keeps_apart(broker: SortingBroker) -> None:
    assert broker.capabilities.priorities == 1


def test_what_is_fetched_together_comes_by_priority_and_equals_in_order(broker: SortingBroker) -> None:
    broker.publish([message(body, priority=p) for body, p in zip("abcdef", (None, 3, 9, 0, 3, 9), strict=True)])
    assert bodies(consume(broker).receive(10, 0)) == ["c", "f", "b", "e", "a", "d"]


def test_a_small_batch_is_chosen_from_a_few_more(broker: SortingBroker, inner: MemoryBroker) -> None:
    broker.publish([message(str(n), priority=n) for n in range(8)])
    consumer = consume(broker)
    received = [bodies(consumer.receive(1, 0)) for _ in range(8)]
    assert received == [[str(n)] for n in reversed(range(8))]
    assert receive_all(consumer) == []


def test_a_newcomer_overtakes_what_is_kept(broker: SortingBroker) -> None:
    broker.publish([message("low", priority=1), message("mid", priority=5)])
    consumer = consume(broker)
    assert bodies(consumer.receive(1, 0)) == ["mid"]
    broker.publish([message("high", priority=9)])
    assert bodies(consumer.receive(2, 0)) == ["high", "low"]


def test_what_is_kept_is_bounded_and_what_is_held_stays_within_the_prefetch(
    broker: SortingBroker, inner: MemoryBroker
) -> None:
    broker.publish([message(priority=1) for _ in range(100)])
    consume(broker).receive(1, 0)
    assert inner.stats(["q"])["q"].leased == 1 + sorting.LOOKAHEAD
    small = consume(broker, owner="small", prefetch=3)
    assert len(small.receive(2, 0)) == 2
    assert inner.stats(["q"])["q"].leased == 1 + sorting.LOOKAHEAD + 3


def test_what_is_not_asked_for_soon_goes_back_for_others_uncharged(
    broker: SortingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message(str(n), priority=5) for n in range(4)])
    busy = consume(broker)
    assert bodies(busy.receive(1, 0)) == ["0"]
    clock.advance(HOLD)
    until(lambda: inner.stats(["q"])["q"].ready == 3, clock=clock)
    idle = receive_all(consume(inner, owner="idle"))
    assert [(one.message.body, one.attempt) for one in idle] == [(b"1", 1), (b"2", 1), (b"3", 1)]


def test_asking_again_in_time_keeps_it(broker: SortingBroker, inner: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message(str(n), priority=5) for n in range(4)])
    consumer = consume(broker)
    received = []
    for _ in range(4):
        received += bodies(consumer.receive(1, 0))
        clock.advance(HOLD * 0.9)
    assert received == ["0", "1", "2", "3"]


def test_a_give_back_that_fails_is_tried_again(clock: ManualClock) -> None:
    failing = True
    failures = 0

    def fault(verb: str) -> None:
        nonlocal failures
        if failing and verb == "requeue":
            failures += 1
            raise BrokerError("down")

    inner = MemoryBroker(clock=clock, capabilities=replace(FULL, priorities=1), fault=fault)
    broker = SortingBroker(inner, clock=clock)
    broker.publish([message(str(n), priority=5) for n in range(3)])
    consumer = consume(broker)
    consumer.receive(1, 0)

    def failed_twice() -> bool:
        clock.advance(HOLD)
        return failures >= 2

    until(failed_twice)
    assert inner.stats(["q"])["q"].leased == 3
    failing = False

    def back() -> bool:
        clock.advance(HOLD)
        return inner.stats(["q"])["q"].ready == 2

    until(back)
    assert bodies(consumer.receive(2, 0)) == ["1", "2"]
    broker.close()


def test_while_nothing_has_a_priority_nothing_is_kept(broker: SortingBroker, inner: MemoryBroker) -> None:
    broker.publish([message() for _ in range(sorting.PLAIN)])
    consumer = consume(broker)
    consumer.ack(consumer.receive(sorting.PLAIN, 0))
    broker.publish([message(str(n)) for n in range(50)])
    consumer.ack(consumer.receive(1, 0))
    assert inner.stats(["q"])["q"].leased == 0
    broker.publish([message("urgent", priority=1)])
    consumer.ack(receive_all(consumer))
    broker.publish([message("low"), message("high", priority=1)])
    assert bodies(consumer.receive(1, 0)) == ["high"]


def test_a_broker_that_can_only_copy_has_nothing_kept(inner: MemoryBroker, broker: SortingBroker) -> None:
    consumer = consume(broker)

    class Copying(type(consumer.inner)):
        requeue = Consumer.requeue

    copying = Copying(inner, consumer.inner._session, ["q"], "copying", 1000)
    inner.hub.holders.append(copying.holder)
    sorted_one = sorting.SortingConsumer(broker, copying, 1000)
    broker.publish([message(str(n), priority=n) for n in range(5)])
    assert bodies(sorted_one.receive(1, 0)) == ["0"]
    assert inner.stats(["q"])["q"].leased == 1
    assert bodies(sorted_one.receive(9, 0)) == ["4", "3", "2", "1"]
    sorted_one.close()


def test_what_came_back_uncertain_is_handed_out_alone(
    broker: SortingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message("poison", priority=2), message("a", priority=2), message("b", priority=9)])
    consume(inner, owner="dead").receive(1, 0)
    clock.advance(31)
    consumer = consume(broker)
    batches = [bodies(consumer.receive(10, 0)) for _ in range(3)]
    assert ["poison"] in batches
    assert sorted(body for batch in batches for body in batch) == ["a", "b", "poison"]


def test_what_came_back_uncertain_does_not_share_a_batch_with_what_is_kept(
    broker: SortingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message("poison", priority=1)])
    consume(inner, owner="dead").receive(1, 0)
    clock.advance(29)
    broker.publish([message(body, priority=5) for body in "abc"])
    consumer = consume(broker)
    assert bodies(consumer.receive(1, 0)) == ["a"]
    clock.advance(1)
    assert [bodies(consumer.receive(9, 0)) for _ in range(3)] == [["b", "c"], ["poison"], []]


def test_a_blocked_receive_wakes_and_closing_ends_it(broker: SortingBroker, inner: MemoryBroker) -> None:
    consumer = consume(broker)
    blocked = Background(lambda: consumer.receive(1, 3600.0))
    until(lambda: inner.hub.waiting)
    broker.publish([message("1", priority=1)])
    assert bodies(blocked.wait()) == ["1"]
    blocked = Background(lambda: consumer.receive(1, 3600.0))
    until(lambda: inner.hub.waiting)
    consumer.close()
    assert blocked.wait() == []


def test_closing_gives_back_what_is_kept(broker: SortingBroker, inner: MemoryBroker) -> None:
    broker.publish([message(str(n), priority=n) for n in range(5)])
    consumer = consume(broker)
    consumer.receive(1, 0)
    consumer.close()
    consumer.close()
    assert inner.stats(["q"])["q"].ready == 5
    assert consumer.receive(1, 0) == []


def test_settling_in_one_step_works(broker: SortingBroker, inner: MemoryBroker) -> None:
    settler = broker.settler(MemoryBackend(inner.hub))
    assert settler is not None
    broker.publish([message(str(n), priority=n) for n in range(3)])
    consumer = consume(broker)
    held = consumer.receive(3, 0)
    assert settler.settle(consumer, [], [], held, ttl=None) == []
    assert inner.stats(["q"])["q"].leased == 0
