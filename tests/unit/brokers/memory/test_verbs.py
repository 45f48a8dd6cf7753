"""What each verb of the memory broker does, one message or one batch at a time."""

from __future__ import annotations

import pickle

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.brokers.memory import MemoryBroker
from umbel.clock import ManualClock
from umbel.spec import DEATH, Queue


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker(clock: ManualClock) -> MemoryBroker:
    broker = MemoryBroker(clock=clock)
    broker.declare([Queue(name="q")])
    return broker


def test_messages_come_in_the_order_in_which_they_were_sent(broker: MemoryBroker) -> None:
    broker.publish([message("1"), message("2")])
    broker.publish([message("3")])
    assert bodies(consume(broker).receive(10, 0)) == ["1", "2", "3"]


def test_a_message_comes_exactly_as_it_was_sent(broker: MemoryBroker) -> None:
    headers = {"a": 1, "b": [None, {"c": "d"}], "é": "ü"}
    sent = message(b"\0\xff", headers=headers, content_type="x/y", content_encoding="binary", reply_to="r", key="k")
    broker.publish([sent])
    assert consume(broker).receive(1, 0)[0].message == sent


def test_a_batch_is_as_large_as_was_asked_for(broker: MemoryBroker) -> None:
    broker.publish([message(str(n)) for n in range(5)])
    consumer = consume(broker)
    assert bodies(consumer.receive(2, 0)) == ["0", "1"]
    assert bodies(consumer.receive(0, 0)) == []
    assert bodies(consumer.receive(99, 0)) == ["2", "3", "4"]


def test_what_is_held_is_bounded_by_the_prefetch(broker: MemoryBroker) -> None:
    broker.publish([message(str(n)) for n in range(5)])
    consumer = consume(broker, prefetch=3)
    held = consumer.receive(10, 0)
    assert len(held) == 3
    assert consumer.receive(10, 0) == []
    consumer.ack(held[:1])
    assert bodies(consumer.receive(10, 0)) == ["3"]


def test_a_larger_priority_comes_first_and_equals_keep_their_order(broker: MemoryBroker) -> None:
    wanted = [("a", None), ("b", 0), ("c", 9), ("d", 5), ("e", 9), ("f", 99), ("g", -1), ("h", 6)]
    broker.publish([message(body, priority=priority) for body, priority in wanted])
    assert bodies(consume(broker).receive(10, 0)) == ["c", "e", "f", "h", "d", "a", "b", "g"]


def test_the_earlier_queue_does_not_starve_the_later(broker: MemoryBroker) -> None:
    broker.publish([message(f"a{n}", "a") for n in range(100)] + [message("b", "b")])
    consumer = consume(broker, "a", "b")
    assert "b" in bodies(consumer.receive(2, 0)) + bodies(consumer.receive(2, 0))


def test_what_was_acked_is_gone(broker: MemoryBroker) -> None:
    broker.publish([message("1"), message("2")])
    consumer = consume(broker)
    consumer.ack(consumer.receive(1, 0))
    consumer.close()
    assert bodies(receive_all(consume(broker))) == ["2"]


def test_nobody_else_can_settle_a_delivery(broker: MemoryBroker) -> None:
    broker.publish([message("1")])
    mine, other = consume(broker, owner="mine"), consume(broker, owner="other")
    held = mine.receive(1, 0)
    other.ack(held)
    other.requeue(held)
    other.dead_letter(held, "no")
    assert broker.stats(["q"])["q"].leased == 1
    assert broker.stats(["q.dead"])["q.dead"].ready == 0


def test_the_same_owner_can_settle_by_its_next_consumer(broker: MemoryBroker) -> None:
    broker.publish([message("1")])
    held = consume(broker).receive(1, 0)
    consume(broker).ack(held)
    assert broker.stats(["q"])["q"].leased == 0


def test_a_receipt_survives_pickling(broker: MemoryBroker) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    consumer.ack(pickle.loads(pickle.dumps(consumer.receive(1, 0))))
    assert broker.stats(["q"])["q"].leased == 0


def test_what_is_requeued_comes_back_to_the_front_and_is_charged(broker: MemoryBroker) -> None:
    broker.publish([message(str(n)) for n in range(4)])
    consumer = consume(broker)
    consumer.requeue(consumer.receive(2, 0))
    again = consumer.receive(10, 0)
    assert bodies(again) == ["0", "1", "2", "3"]
    assert [delivery.attempt for delivery in again] == [2, 2, 1, 1]


def test_what_was_not_started_comes_back_uncharged(broker: MemoryBroker) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    for _ in range(3):
        consumer.requeue(consumer.receive(1, 0), charge=False)
    assert consumer.receive(1, 0)[0].attempt == 1


def test_messages_given_back_by_several_return_to_their_own_places(broker: MemoryBroker) -> None:
    broker.publish([message(str(n), priority=n % 2) for n in range(8)])
    consumers = [consume(broker, owner=str(n)) for n in range(4)]
    for consumer in consumers:
        consumer.receive(2, 0)
    for place in (1, 3, 0, 2):
        consumers[place].close()
    assert bodies(consume(broker).receive(10, 0)) == ["1", "3", "5", "7", "0", "2", "4", "6"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
@pytest.mark.parametrize("each", [1, 2, 3])
def test_it_does_not_matter_in_which_order_they_are_given_back(
    each: int, order: tuple[int, ...], broker: MemoryBroker
) -> None:
    broker.publish([message(str(n)) for n in range(3 * each + 1)])
    consumers = [consume(broker, owner=str(n)) for n in range(3)]
    for consumer in consumers:
        consumer.receive(each, 0)
    for place in order:
        consumers[place].close()
    assert bodies(receive_all(consume(broker))) == [str(n) for n in range(3 * each + 1)]


def test_what_was_delayed_returns_to_the_place_it_got_when_it_was_due(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("delayed", eta=clock.now() + 5), message("ready")])
    clock.advance(5)
    consumer = consume(broker)
    for _ in range(2):
        held = consumer.receive(9, 0)
        assert bodies(held) == ["ready", "delayed"]
        consumer.requeue(held, charge=False)


def test_a_requeue_with_a_delay_comes_when_the_delay_is_over(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    consumer.requeue(consumer.receive(1, 0), delay=5)
    clock.advance(4.75)
    assert consumer.receive(1, 0) == []
    clock.advance(0.25)
    assert consumer.receive(1, 0)[0].attempt == 2


def test_a_delayed_message_is_never_early(broker: MemoryBroker, clock: ManualClock) -> None:
    now = clock.now()
    broker.publish([message("late", eta=now + 10), message("soon", eta=now + 1), message("past", eta=now - 1)])
    consumer = consume(broker)
    assert bodies(receive_all(consumer)) == ["past"]
    clock.advance(0.75)
    assert receive_all(consumer) == []
    clock.advance(0.25)
    assert bodies(receive_all(consumer)) == ["soon"]
    clock.advance(9)
    assert bodies(receive_all(consumer)) == ["late"]


def test_what_falls_due_comes_behind_what_is_ready_in_the_order_of_its_eta(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    now = clock.now()
    broker.publish([message("b", eta=now + 2), message("a", eta=now + 1), message("ready")])
    clock.advance(5)
    assert bodies(consume(broker).receive(9, 0)) == ["ready", "a", "b"]


def test_setting_the_wall_clock_moves_delays_and_not_leases(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("held"), message("delayed", eta=clock.now() + 3600)])
    held = consume(broker).receive(1, 0)
    clock.set_wall_clock(clock.now() + 3600)
    other = consume(broker, owner="other")
    assert bodies(receive_all(other)) == ["delayed"]
    assert broker.stats(["q"])["q"].leased == 2
    assert bodies(held) == ["held"]


def test_a_dead_letter_keeps_bytes_and_headers_and_says_why(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message(b"\xff", headers={"a": 1}, priority=3)])
    consumer = consume(broker)
    consumer.dead_letter(consumer.receive(1, 0), "it is bad")
    assert broker.stats(["q"])["q"].leased == 0
    dead = consume(broker, "q.dead").receive(1, 0)[0].message
    assert (dead.body, dead.headers["a"], dead.priority) == (b"\xff", 1, 3)
    assert dead.headers[DEATH] == {"reason": "it is bad", "queue": "q", "at": clock.now(), "attempt": 1}


def test_stats_are_exact(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message(), message(), message(), message(eta=clock.now() + 60)])
    consume(broker).receive(1, 0)
    clock.advance(7)
    known = broker.stats(["q", "nowhere"])
    assert (known["q"].ready, known["q"].leased, known["q"].delayed) == (2, 1, 1)
    assert known["q"].oldest_age == 7
    assert (known["nowhere"].ready, known["nowhere"].oldest_age) == (0, None)


def test_the_age_of_a_delayed_message_counts_from_when_it_was_due(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message(eta=clock.now() + 10)])
    clock.advance(13)
    assert broker.stats(["q"])["q"].oldest_age == 3


def test_browsing_shows_what_comes_next_and_takes_nothing(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("a"), message("later", eta=clock.now() + 60), message("b", priority=1)])
    for _ in range(2):
        assert [found.body for found in broker.browse("q", 10)] == [b"b", b"a", b"later"]
    assert [found.body for found in broker.browse("q", 1)] == [b"b"]
    assert broker.browse("nowhere", 10) == []


def test_a_purge_deletes_what_is_ready_and_nothing_else(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("held"), message("ready"), message("urgent", priority=2), message(eta=clock.now() + 60)])
    consumer = consume(broker)
    assert bodies(consumer.receive(1, 0)) == ["urgent"]
    assert broker.purge("q") == 2
    known = broker.stats(["q"])["q"]
    assert (known.ready, known.leased, known.delayed) == (0, 1, 1)
    assert broker.purge("nowhere") == 0
    clock.advance(60)
    assert broker.purge("q") == 2, "the delay has ended, and the lease too"


def test_a_deleted_queue_takes_all_it_held_with_it(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("held"), message("ready"), message(eta=clock.now() + 60)])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    broker.delete(["q", "nowhere"])
    assert list(broker.queues()) == ["q.dead"]
    consumer.requeue(held)
    consumer.close()
    broker.declare([Queue(name="q")])
    clock.advance(100)
    assert broker.stats(["q"])["q"].ready == 0


def test_what_is_held_of_a_deleted_queue_does_not_come_back_to_its_successor(broker: MemoryBroker) -> None:
    broker.publish([message("old")])
    held = consume(broker).receive(1, 0)
    broker.delete(["q"])
    broker.publish([message("new")])
    consume(broker).requeue(held, delay=0)
    assert bodies(receive_all(consume(broker, owner="other"))) == ["new"]


def test_declaring_creates_the_dead_letter_queue_and_leaves_alone_what_is_there(broker: MemoryBroker) -> None:
    broker.publish([message()])
    broker.declare([Queue(name="q"), Queue(name="bare", dead=False)])
    assert list(broker.queues()) == ["q", "q.dead", "bare"]
    assert broker.stats(["q"])["q"].ready == 1


def test_queue_names_of_any_kind_are_kept_apart(broker: MemoryBroker) -> None:
    names = ["\u00e9", "e\u0301", "a b", "a/b", "a.dead", "A", "a"]
    broker.publish([message(name, name) for name in names])
    assert [bodies(consume(broker, name).receive(9, 0)) for name in names] == [[name] for name in names]
