"""Delays beyond what a broker can do by itself: by hops, or not at all. The delay store has a file of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, receive_all, until
from umbel.backends.memory import MemoryBackend
from umbel.brokers.delaying import DelayingBroker
from umbel.brokers.envelope import DELAY
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.clock import ManualClock
from umbel.spec import BrokerError, Delivery, Failure, Message, PublishError, Unsupported

MOST = 900.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def inner(clock: ManualClock) -> MemoryBroker:
    return MemoryBroker(clock=clock, lease=1e9, capabilities=replace(FULL, max_delay=MOST))


@pytest.fixture
def broker(inner: MemoryBroker, clock: ManualClock) -> DelayingBroker:
    return DelayingBroker(inner, clock=clock)


def seconds_until_it_comes(broker: DelayingBroker, clock: ManualClock, step: float) -> tuple[float, Delivery]:
    consumer = consume(broker)
    begin = clock.now()
    for _ in range(1000):
        if found := consumer.receive(10, 0):
            assert len(found) == 1
            return clock.now() - begin, found[0]
        clock.advance(step)
    raise AssertionError("it never came")


def test_it_says_that_any_delay_can_be_had(broker: DelayingBroker) -> None:
    assert broker.capabilities == FULL_WITH_LEASE
    assert DelayingBroker(lacking_delay()).capabilities.max_delay == 0


FULL_WITH_LEASE = replace(FULL, lease=1e9)


def lacking_delay(clock: ManualClock | None = None) -> MemoryBroker:
    return MemoryBroker(clock=clock, capabilities=replace(FULL, max_delay=0.0))


@pytest.mark.parametrize("delay", [1.0, MOST, MOST + 1, 10 * MOST - 1, 10 * MOST])
def test_a_message_hops_until_it_is_due_and_is_never_early(
    delay: float, broker: DelayingBroker, clock: ManualClock
) -> None:
    sent = message("1", eta=clock.now() + delay, headers={"a": 1}, dedup="d", priority=4)
    broker.publish([sent])
    waited, delivery = seconds_until_it_comes(broker, clock, step=1.0 if delay < 10 else 50.0)
    assert delay <= waited < delay + 50
    assert delivery.message == sent
    assert delivery.attempt == 1


def test_within_the_brokers_own_reach_nothing_is_rewritten(
    broker: DelayingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    sent = [message(eta=clock.now() + MOST), message(eta=clock.now() - 5), message()]
    broker.publish(sent)
    clock.advance(MOST)
    received = [delivery.message for delivery in receive_all(consume(inner))]
    assert sorted(map(id, received)) == sorted(map(id, sent))


def test_every_hop_has_the_same_id_and_another_dedup(
    broker: DelayingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    seen: list[tuple[str, str | None]] = []
    broker.publish([message("1", id="i", dedup="d", eta=clock.now() + 3 * MOST + 1)])
    consumer = consume(broker)
    while not consumer.receive(1, 0):
        seen += [(one.id, one.dedup) for one in inner.browse("q", 9)]
        clock.advance(MOST)
    assert seen == [("i", "d"), ("i", "d#2"), ("i", "d#3"), ("i", "d#4")]


def test_a_message_without_dedup_gets_one_for_its_later_hops(
    broker: DelayingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message("1", id="i", eta=clock.now() + 2 * MOST)])
    assert [one.dedup for one in inner.browse("q", 9)] == [None]
    clock.advance(MOST)
    consumer = consume(broker)
    assert consumer.receive(1, 0) == []
    assert [one.dedup for one in inner.browse("q", 9)] == ["i#2"]
    clock.advance(MOST)
    assert consumer.receive(1, 0)[0].message.dedup is None


def test_a_message_is_sent_on_before_it_is_acked(clock: ManualClock) -> None:
    order: list[str] = []

    def fault(verb: str) -> None:
        order.append(verb)

    inner = MemoryBroker(clock=clock, capabilities=replace(FULL, max_delay=10.0), fault=fault)
    broker = DelayingBroker(inner, clock=clock)
    broker.publish([message("1", eta=clock.now() + 15)])
    consumer = consume(broker)
    clock.advance(10)
    del order[:]
    assert consumer.receive(1, 0) == []
    assert order == ["receive", "publish", "publish: done", "ack", "ack: done", "receive"]


def test_a_hop_that_fails_is_tried_again_and_what_is_due_comes_anyway(clock: ManualClock) -> None:
    failing = False

    def fault(verb: str) -> None:
        if failing and verb == "publish":
            raise BrokerError("down")

    inner = MemoryBroker(clock=clock, lease=1e9, capabilities=replace(FULL, max_delay=10.0), fault=fault)
    broker = DelayingBroker(inner, clock=clock)
    broker.publish([message("late", eta=clock.now() + 100), message("due", eta=clock.now() + 10)])
    consumer = consume(broker)
    clock.advance(10)
    failing = True
    assert bodies(consumer.receive(9, 0)) == ["due"]
    clock.advance(10)
    assert consumer.receive(9, 0) == []
    failing = False
    for _ in range(20):
        clock.advance(5)
        if found := consumer.receive(9, 0):
            break
    assert [(one.message.body, one.attempt) for one in found] == [(b"late", 1)]


def test_what_falls_due_while_its_hop_fails_comes_uncharged(clock: ManualClock) -> None:
    failing = False

    def fault(verb: str) -> None:
        if failing and verb == "publish":
            raise BrokerError("down")

    inner = MemoryBroker(clock=clock, lease=1e9, capabilities=replace(FULL, max_delay=10.0), fault=fault)
    broker = DelayingBroker(inner, clock=clock)
    broker.publish([message("1", eta=clock.now() + 12)])
    consumer = consume(broker)
    clock.advance(10)
    failing = True
    assert consumer.receive(9, 0) == []
    clock.advance(5)
    assert [one.attempt for one in consumer.receive(9, 0)] == [1]


def test_of_several_hops_only_the_refused_are_tried_again(
    broker: DelayingBroker, inner: MemoryBroker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.publish([message(body, id=body, eta=clock.now() + MOST + 100) for body in "ab"])
    clock.advance(MOST)
    publish = inner.publish

    def refuse_b(messages):
        publish([one for one in messages if one.id != "b"])
        raise PublishError([Failure(one, BrokerError("no"), True) for one in messages if one.id == "b"])

    monkeypatch.setattr(inner, "publish", refuse_b)
    consumer = consume(broker)
    assert consumer.receive(9, 0) == []
    monkeypatch.undo()
    assert sorted(one.id for one in inner.browse("q", 9)) == ["a", "b"]
    clock.advance(5)
    assert consumer.receive(9, 0) == []
    clock.advance(95)
    assert sorted(bodies(receive_all(consumer))) == ["a", "b"]


def test_a_blocked_receive_sends_hops_on_and_keeps_waiting(
    broker: DelayingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message("1", eta=clock.now() + 2 * MOST)])
    blocked = Background(lambda: consume(broker).receive(1, 3600.0))
    until(lambda: inner.hub.waiting)
    clock.advance(MOST)
    until(lambda: [one.dedup for one in inner.browse("q", 1)] != [None], clock=clock)
    assert not blocked.done
    clock.advance(MOST)
    assert bodies(blocked.wait(clock)) == ["1"]


def test_hops_without_end_do_not_keep_receive_beyond_its_time(broker: DelayingBroker, clock: ManualClock) -> None:
    broker.publish([message(eta=clock.now() + 2 * MOST) for _ in range(100)])
    clock.advance(MOST)
    assert consume(broker).receive(1, 0) == []
    assert broker.stats(["q"])["q"].ready == 90


def test_browsing_shows_messages_as_they_were_sent(broker: DelayingBroker, clock: ManualClock) -> None:
    sent = message("1", eta=clock.now() + 5 * MOST, headers={"a": 1})
    broker.publish([sent])
    assert list(broker.browse("q", 9)) == [sent]


def test_a_header_of_that_name_that_is_not_ours_delays_nothing(broker: DelayingBroker, inner: MemoryBroker) -> None:
    for header in ("x", None, [], {}, {"eta": "x", "hop": 1, "charged": 0}, {"eta": 9e9, "hop": None, "charged": 0}):
        inner.publish([message("1", headers={"a": 1, DELAY: header})])
        delivery = consume(broker).receive(1, 0)[0]
        assert delivery.message.headers == {"a": 1}
        consume(broker).ack([delivery])
        assert inner.stats(["q"])["q"].leased == 0


def test_a_requeue_beyond_reach_is_sent_on_and_its_attempts_go_on_counting(
    broker: DelayingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    sent = message("1", id="i", headers={"a": 1})
    broker.publish([sent])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    dedups: list[str | None] = []
    for charge, expected in ((True, 2), (False, 2), (True, 3)):
        consumer.requeue(held, delay=2.5 * MOST, charge=charge)
        dedups += [one.dedup for one in inner.browse("q", 9)]
        eta = clock.now() + 2.5 * MOST
        assert inner.stats(["q"])["q"].leased == 0
        waited, delivery = seconds_until_it_comes(broker, clock, step=50.0)
        assert waited >= 2.5 * MOST
        assert delivery.attempt == expected
        assert delivery.message == replace(sent, eta=eta)
        held = [delivery]
    assert len(set(dedups)) == 3
    assert None not in dedups
    consumer.requeue(held, delay=1.0)
    clock.advance(1)
    assert consumer.receive(1, 0)[0].attempt == 4


def test_what_has_hopped_can_be_acked_and_dead_lettered_like_any_other(
    broker: DelayingBroker, inner: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message(body, eta=clock.now() + 2 * MOST) for body in "ab"])
    consumer = consume(broker)
    found: list[Delivery] = []
    while not found:
        clock.advance(MOST)
        found = list(consumer.receive(9, 0))
    consumer.ack(found[:1])
    consumer.dead_letter(found[1:], "why")
    known = inner.stats(["q", "q.dead"])
    assert (known["q"].leased, known["q.dead"].ready) == (0, 1)
    dead = consume(broker, "q.dead").receive(1, 0)[0].message
    assert DELAY not in dead.headers


def test_settling_in_one_step_hops_too(broker: DelayingBroker, inner: MemoryBroker, clock: ManualClock) -> None:
    settler = broker.settler(MemoryBackend(inner.hub))
    assert settler is not None
    broker.publish([message("1")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    settler.settle(consumer, [], [message("2", eta=clock.now() + 3 * MOST), message("3")], held, ttl=None)
    assert bodies(receive_all(consumer)) == ["3"]
    clock.advance(2.9 * MOST)
    assert receive_all(consumer) == []
    clock.advance(0.1 * MOST)
    assert bodies(receive_all(consumer)) == ["2"]


class TestWithNeitherHopsNorStore:
    def test_a_delayed_message_is_refused_with_what_would_help_and_nothing_is_sent(self, clock: ManualClock) -> None:
        inner = lacking_delay(clock)
        broker = DelayingBroker(inner, clock=clock)
        with pytest.raises(Unsupported, match="set `delay_store`"):
            broker.publish([message("now"), message("later", eta=clock.now() + 1)])
        assert inner.stats(["q"])["q"].ready == 0

    def test_an_eta_that_has_passed_is_no_delay(self, clock: ManualClock) -> None:
        broker = DelayingBroker(lacking_delay(clock), clock=clock)
        broker.publish([message("1", eta=clock.now())])
        assert bodies(receive_all(consume(broker))) == ["1"]

    def test_a_requeue_with_a_delay_is_refused_and_the_delivery_stays_ours(self, clock: ManualClock) -> None:
        broker = DelayingBroker(lacking_delay(clock), clock=clock)
        broker.publish([message("1")])
        consumer = consume(broker)
        held = consumer.receive(1, 0)
        with pytest.raises(Unsupported, match="set `delay_store`"):
            consumer.requeue(held, delay=1)
        consumer.requeue(held)
        assert consumer.receive(1, 0)[0].attempt == 2

    def test_settling_a_delayed_message_is_refused_as_a_whole(self, clock: ManualClock) -> None:
        inner = lacking_delay(clock)
        broker = DelayingBroker(inner, clock=clock)
        settler = broker.settler(MemoryBackend(inner.hub))
        assert settler is not None
        broker.publish([message("1")])
        consumer = consume(broker)
        held = consumer.receive(1, 0)
        children: list[Message] = [message("2"), message("3", eta=clock.now() + 1)]
        with pytest.raises(Unsupported, match="set `delay_store`"):
            settler.settle(consumer, [], children, held, ttl=None)
        known = inner.stats(["q"])["q"]
        assert (known.leased, known.ready) == (1, 0)
