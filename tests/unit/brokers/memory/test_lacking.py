"""A memory broker told to lack something truly lacks it, and one told to fail fails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.clock import ManualClock
from umbel.spec import BrokerError, Capabilities, PublishError, QueueStats, Unsupported


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def lacking(clock: ManualClock, **fields: object) -> MemoryBroker:
    return MemoryBroker(clock=clock, capabilities=replace(FULL, **fields))


@pytest.mark.parametrize("most", [0.0, 10.0])
def test_a_delay_beyond_the_most_is_refused_before_anything_is_sent(most: float, clock: ManualClock) -> None:
    broker = lacking(clock, max_delay=most)
    with pytest.raises(Unsupported):
        broker.publish([message("now"), message("later", eta=clock.now() + most + 1)])
    assert broker.stats(["q"])["q"].ready == 0
    broker.publish([message("at the edge", eta=clock.now() + most)])
    consumer = consume(broker)
    clock.advance(most)
    held = consumer.receive(1, 0)
    assert bodies(held) == ["at the edge"]
    with pytest.raises(Unsupported):
        consumer.requeue(held, delay=most + 1)
    consumer.requeue(held, delay=most)


def test_one_priority_level_means_the_order_of_sending(clock: ManualClock) -> None:
    broker = lacking(clock, priorities=1)
    broker.publish([message(str(n), priority=n) for n in range(10)])
    assert bodies(consume(broker).receive(10, 0)) == [str(n) for n in range(10)]


def test_a_few_priority_levels_keep_a_few_apart(clock: ManualClock) -> None:
    broker = lacking(clock, priorities=2)
    broker.publish([message(str(n), priority=n) for n in range(10)])
    assert bodies(consume(broker).receive(10, 0)) == ["5", "6", "7", "8", "9", "0", "1", "2", "3", "4"]


def test_too_large_a_body_is_refused_with_certainty_and_the_others_are_sent(clock: ManualClock) -> None:
    broker = lacking(clock, max_body=4)
    large = message("12345")
    with pytest.raises(PublishError) as caught:
        broker.publish([message("1"), large, message("1234")])
    assert [(failure.message, failure.certain) for failure in caught.value.failures] == [(large, True)]
    assert bodies(receive_all(consume(broker))) == ["1", "1234"]


def test_no_fan_out_means_none(clock: ManualClock) -> None:
    broker = lacking(clock, fan_out=False)
    with pytest.raises(Unsupported):
        broker.broadcast("a", b"")
    with pytest.raises(Unsupported):
        broker.subscribe(["a"])


def test_unknown_stats_are_unknown(clock: ManualClock) -> None:
    assert lacking(clock, exact_stats=False).stats(["q"]) == {"q": QueueStats()}


def test_attempts_that_are_not_counted_stay_at_one(clock: ManualClock) -> None:
    broker = lacking(clock, attempts="no")
    broker.publish([message()])
    consumer = consume(broker)
    consumer.requeue(consumer.receive(1, 0))
    assert consumer.receive(1, 0)[0].attempt == 1


def test_held_by_connection_lasts_until_the_consumer_is_closed(clock: ManualClock) -> None:
    broker = lacking(clock, held_by="connection", lease=None)
    broker.publish([message("1")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    clock.advance(1e9)
    assert receive_all(consume(broker, owner="other")) == []
    for refused in (
        lambda: broker.renew("owner"),
        lambda: broker.release("owner", ()),
        lambda: consumer.extend(held),
    ):
        with pytest.raises(Unsupported):
            refused()
    consumer.close()
    assert bodies(receive_all(consume(broker, owner="other"))) == ["1"]


def test_held_by_message_lasts_as_long_as_it_is_extended(clock: ManualClock) -> None:
    broker = lacking(clock, held_by="message", lease=30.0)
    with pytest.raises(Unsupported):
        broker.renew("owner")
    broker.publish([message("kept"), message("dropped")])
    consumer, other = consume(broker), consume(broker, owner="other")
    kept, dropped = consumer.receive(2, 0)
    clock.advance(20)
    assert consumer.extend([kept]) == []
    clock.advance(20)
    assert consumer.extend([kept, dropped]) == [dropped]
    assert bodies(receive_all(other)) == ["dropped"]


def test_no_message_is_held_for_longer_than_the_longest_lease(clock: ManualClock) -> None:
    broker = lacking(clock, held_by="message", lease=30.0, max_lease=50.0)
    broker.publish([message("old"), message("new")])
    consumer, other = consume(broker), consume(broker, owner="other")
    old = consumer.receive(1, 0)
    clock.advance(25)
    new = consumer.receive(1, 0)
    assert consumer.extend([*old, *new]) == []
    clock.advance(24)
    assert receive_all(other) == []
    clock.advance(1)
    assert bodies(receive_all(other)) == ["old"]
    assert consumer.extend([*old, *new]) == old


@pytest.mark.parametrize(
    "wrong",
    [
        {"exchanges": True},
        {"deduplicates": 300.0},
        {"durable": "disk"},
        {"processes": True},
        {"ordered": "key"},
        {"priorities": 11},
        {"priorities": 0},
        {"held_by": "connection"},
        {"held_by": "owner", "lease": None},
    ],
)
def test_it_cannot_be_told_to_promise_what_it_has_not(wrong: dict[str, object], clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="cannot be made to promise"):
        lacking(clock, **wrong)


def test_the_contracts_defaults_can_be_had_too(clock: ManualClock) -> None:
    broker = MemoryBroker(clock=clock, capabilities=Capabilities(processes=False))
    broker.publish([message("1", priority=1)])
    assert bodies(receive_all(consume(broker))) == ["1"]


def test_a_fault_before_a_verb_means_that_nothing_was_done(clock: ManualClock) -> None:
    verbs: list[str] = []

    def fault(verb: str) -> None:
        verbs.append(verb)
        if verb == "publish":
            raise BrokerError("down")

    broker = MemoryBroker(clock=clock, fault=fault)
    with pytest.raises(BrokerError, match="down"):
        broker.publish([message()])
    assert broker.stats(["q"])["q"].ready == 0
    assert verbs == ["publish", "stats"]


def test_a_fault_after_a_verb_means_that_it_was_done_and_nobody_knows(clock: ManualClock) -> None:
    def fault(verb: str) -> None:
        if verb == "publish: done":
            raise BrokerError("the reply was lost")

    broker = MemoryBroker(clock=clock, fault=fault)
    with pytest.raises(BrokerError, match="the reply was lost"):
        broker.publish([message()])
    assert broker.stats(["q"])["q"].ready == 1


def test_a_hub_brings_its_clock_along(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="a hub has its clock"):
        MemoryBroker(MemoryBroker().hub, clock=clock)
