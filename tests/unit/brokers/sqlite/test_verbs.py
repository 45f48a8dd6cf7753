"""What each verb of the SQLite broker does, one message or one batch at a time."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.spec import DEATH, Message, PublishError, Queue

if TYPE_CHECKING:
    from pathlib import Path

    from umbel.clock import ManualClock


def test_messages_come_in_the_order_in_which_they_were_sent(broker: SqliteBroker) -> None:
    broker.publish([message("1"), message("2")])
    broker.publish([message("3")])
    assert bodies(consume(broker).receive(10, 0)) == ["1", "2", "3"]


def test_the_order_survives_a_wall_clock_that_is_set_back(broker: SqliteBroker, clock: ManualClock) -> None:
    for number in range(4):
        broker.publish([message(str(number))])
        clock.set_wall_clock(clock.now() - 3600)
    assert bodies(consume(broker).receive(10, 0)) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"a": 1, "b": [None, {"c": 1.5}], "é": "ü\ud800", "big": 1 << 80}},
        {"content_type": "x/y", "content_encoding": "binary", "reply_to": "r", "key": "k", "dedup": "d"},
        {"exchange": "e", "routing_key": "r.k", "priority": 0, "correlation_id": "c"},
        {"id": "an-id", "correlation_id": "an-id", "headers": {"id": "an-id", "an-id": ["xan-idx\x01"]}},
        {"id": '"\\\x01', "headers": {"id": '"\\\x01'}},
        {"id": "", "headers": {"": ""}},
        {"eta": 1.25},
    ],
)
def test_a_message_comes_exactly_as_it_was_sent(fields: dict[str, Any], broker: SqliteBroker) -> None:
    sent = message(b"\0\xff", **fields)
    broker.publish([sent])
    assert broker.browse("q", 1) == [sent]
    assert consume(broker).receive(1, 0)[0].message == sent


def test_a_batch_is_as_large_as_was_asked_for(broker: SqliteBroker) -> None:
    broker.publish([message(str(n)) for n in range(5)])
    consumer = consume(broker)
    assert bodies(consumer.receive(2, 0)) == ["0", "1"]
    assert bodies(consumer.receive(0, 0)) == []
    assert bodies(consumer.receive(99, 0)) == ["2", "3", "4"]


def test_a_batch_of_large_bodies_is_cut_and_the_rest_keeps_its_place(
    broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.brokers.sqlite.consumer.MAX_BYTES", 25)
    broker.publish([message(f"{n}........."[:10]) for n in range(6)])
    consumer = consume(broker)
    batches = [[body[0] for body in bodies(consumer.receive(10, 0))] for _ in range(4)]
    assert batches == [["0", "1"], ["2", "3"], ["4", "5"], []]


def test_what_is_held_is_bounded_by_the_prefetch(broker: SqliteBroker) -> None:
    broker.publish([message(str(n)) for n in range(5)])
    consumer = consume(broker, prefetch=3)
    held = consumer.receive(10, 0)
    assert len(held) == 3
    assert consumer.receive(10, 0) == []
    consumer.ack(held[:1])
    assert bodies(consumer.receive(10, 0)) == ["3"]


def test_what_was_lost_takes_no_room(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message(str(n)) for n in range(2)])
    consumer = consume(broker, prefetch=2)
    assert len(consumer.receive(2, 0)) == 2
    clock.advance(31)
    assert bodies(receive_all(consumer)) == ["0", "1"]


def test_a_larger_priority_comes_first_and_equals_keep_their_order(broker: SqliteBroker) -> None:
    wanted = [("a", None), ("b", 0), ("c", 9), ("d", 5), ("e", 9), ("f", 99), ("g", -1), ("h", 6)]
    broker.publish([message(body, priority=priority) for body, priority in wanted])
    assert bodies(consume(broker).receive(10, 0)) == ["c", "e", "f", "h", "d", "a", "b", "g"]


def test_the_earlier_queue_does_not_starve_the_later(broker: SqliteBroker) -> None:
    broker.publish([message(f"a{n}", "a") for n in range(100)] + [message("b", "b")])
    consumer = consume(broker, "a", "b")
    assert "b" in bodies(consumer.receive(2, 0)) + bodies(consumer.receive(2, 0))


def test_what_was_acked_is_gone(broker: SqliteBroker) -> None:
    broker.publish([message("1"), message("2")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    consumer.ack(held)
    consumer.ack(held)
    consumer.close()
    assert bodies(receive_all(consume(broker))) == ["2"]


def test_of_a_batch_any_part_can_be_acked(broker: SqliteBroker) -> None:
    broker.publish([message(str(n)) for n in range(300)])
    consumer = consume(broker)
    held = consumer.receive(300, 0)
    consumer.ack([*held[::2], *held[:10]])
    consumer.close()
    assert bodies(receive_all(consume(broker))) == [str(n) for n in range(11, 300, 2)]


def test_nobody_else_can_settle_a_delivery(broker: SqliteBroker) -> None:
    broker.publish([message("1")])
    mine, other = consume(broker, owner="mine"), consume(broker, owner="other")
    held = mine.receive(1, 0)
    other.ack(held)
    other.requeue(held)
    other.dead_letter(held, "no")
    assert broker.stats(["q"])["q"].leased == 1
    assert broker.stats(["q.dead"])["q.dead"].ready == 0


def test_the_same_owner_can_settle_by_its_next_consumer(broker: SqliteBroker) -> None:
    broker.publish([message("1")])
    held = consume(broker).receive(1, 0)
    consume(broker).ack(held)
    assert broker.stats(["q"])["q"].leased == 0


def test_a_receipt_survives_pickling(broker: SqliteBroker) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    consumer.ack(pickle.loads(pickle.dumps(consumer.receive(1, 0))))
    assert broker.stats(["q"])["q"].leased == 0


def test_what_is_requeued_comes_back_to_its_place_and_is_charged(broker: SqliteBroker) -> None:
    broker.publish([message(str(n)) for n in range(4)])
    consumer = consume(broker)
    consumer.requeue(consumer.receive(2, 0))
    again = consumer.receive(10, 0)
    assert bodies(again) == ["0", "1", "2", "3"]
    assert [delivery.attempt for delivery in again] == [2, 2, 1, 1]


def test_what_was_not_started_comes_back_uncharged(broker: SqliteBroker) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    for _ in range(3):
        consumer.requeue(consumer.receive(1, 0), charge=False)
    assert consumer.receive(1, 0)[0].attempt == 1


def test_messages_given_back_by_several_return_to_their_own_places(broker: SqliteBroker) -> None:
    broker.publish([message(str(n), priority=n % 2) for n in range(8)])
    consumers = [consume(broker, owner=str(n)) for n in range(4)]
    for consumer in consumers:
        consumer.receive(2, 0)
    for place in (1, 3, 0, 2):
        consumers[place].close()
    assert bodies(consume(broker).receive(10, 0)) == ["1", "3", "5", "7", "0", "2", "4", "6"]


def test_a_requeue_with_a_delay_comes_when_the_delay_is_over(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    consumer.requeue(consumer.receive(1, 0), delay=5)
    clock.advance(4.75)
    assert consumer.receive(1, 0) == []
    clock.advance(0.25)
    assert consumer.receive(1, 0)[0].attempt == 2


def test_a_delayed_message_is_never_early(broker: SqliteBroker, clock: ManualClock) -> None:
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


def test_a_delay_may_be_as_long_as_it_likes(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("never", eta=float("inf")), message("a year", eta=clock.now() + 365 * 86400)])
    clock.advance(366 * 86400)
    assert bodies(receive_all(consume(broker))) == ["a year"]


def test_what_fell_due_comes_in_the_order_of_its_eta(broker: SqliteBroker, clock: ManualClock) -> None:
    now = clock.now()
    broker.publish([message("b", eta=now + 2), message("a", eta=now + 1), message("ready")])
    clock.advance(5)
    assert bodies(consume(broker).receive(9, 0)) == ["ready", "a", "b"]


def test_many_that_fall_due_at_once_all_come(broker: SqliteBroker, clock: ManualClock) -> None:
    due = clock.now() + 1
    broker.publish([message(str(n), eta=due) for n in range(2500)])
    clock.advance(2)
    assert len(receive_all(consume(broker, prefetch=9999), limit=500)) == 2500


def test_setting_the_wall_clock_moves_delays_and_not_leases(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("held"), message("delayed", eta=clock.now() + 3600)])
    held = consume(broker).receive(1, 0)
    clock.set_wall_clock(clock.now() + 3600)
    other = consume(broker, owner="other")
    assert bodies(receive_all(other)) == ["delayed"]
    clock.set_wall_clock(clock.now() - 9999)
    assert receive_all(other) == []
    assert broker.stats(["q"])["q"].leased == 2
    assert bodies(held) == ["held"]


def test_a_dead_letter_keeps_bytes_and_headers_and_says_why(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message(b"\xff", headers={"a": 1}, priority=3), message("next")])
    consumer = consume(broker)
    consumer.requeue(consumer.receive(1, 0))
    held = consumer.receive(1, 0)
    held[0].message.headers["a"] = 2
    consumer.dead_letter(held, "it is bad")
    consumer.dead_letter(held, "twice")
    assert broker.stats(["q"])["q"].leased == 0
    (delivery,) = receive_all(consume(broker, "q.dead"))
    dead = delivery.message
    assert (delivery.attempt, dead.body, dead.headers["a"], dead.priority) == (1, b"\xff", 1, 3)
    assert dead.headers[DEATH] == {"reason": "it is bad", "queue": "q", "at": clock.now(), "attempt": 2}
    assert bodies(receive_all(consumer)) == ["next"]


def test_stats_are_exact(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message(), message(), message(priority=4), message(eta=clock.now() + 60)])
    consume(broker).receive(1, 0)
    clock.advance(7)
    known = broker.stats(["q", "nowhere"])
    assert (known["q"].ready, known["q"].leased, known["q"].delayed) == (2, 1, 1)
    assert known["q"].oldest_age == pytest.approx(7, abs=0.001)
    assert (known["nowhere"].ready, known["nowhere"].oldest_age) == (0, None)
    clock.advance(60)
    known = broker.stats(["q"])
    assert (known["q"].ready, known["q"].leased, known["q"].delayed) == (4, 0, 0), "the delay and the lease are over"


def test_the_age_of_a_delayed_message_counts_from_when_it_was_due(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message(eta=clock.now() + 10)])
    clock.advance(13)
    assert broker.stats(["q"])["q"].oldest_age == pytest.approx(3, abs=0.001)
    consume(broker).close()
    assert broker.stats(["q"])["q"].oldest_age == pytest.approx(3, abs=0.001)


def test_browsing_shows_what_comes_next_and_takes_nothing(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("a"), message("later", eta=clock.now() + 60), message("b", priority=1)])
    for _ in range(2):
        assert [found.body for found in broker.browse("q", 10)] == [b"b", b"a", b"later"]
    assert [found.body for found in broker.browse("q", 1)] == [b"b"]
    assert list(broker.browse("q", 0)) == list(broker.browse("nowhere", 10)) == []


def test_a_purge_deletes_what_is_ready_and_nothing_else(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("held"), message("ready"), message("urgent", priority=2), message(eta=clock.now() + 60)])
    consumer = consume(broker)
    assert bodies(consumer.receive(1, 0)) == ["urgent"]
    assert broker.purge("q") == 2
    known = broker.stats(["q"])["q"]
    assert (known.ready, known.leased, known.delayed) == (0, 1, 1)
    assert broker.purge("nowhere") == 0
    clock.advance(60)
    assert broker.purge("q") == 2, "the delay has ended, and the lease too"


def test_a_large_purge_counts_exactly(broker: SqliteBroker) -> None:
    broker.publish([message("{}", priority=n % 3) for n in range(2345)])
    broker.publish([message("kept", "other")])
    assert broker.purge("q") == 2345
    assert broker.purge("q") == 0
    assert broker.stats(["other"])["other"].ready == 1


def test_a_deleted_queue_takes_all_it_held_with_it(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("x") for _ in range(1500)] + [message(eta=clock.now() + 60), message("kept", "other")])
    broker.declare([Queue(name="q")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    broker.delete(["q", "nowhere"])
    assert list(broker.queues()) == ["other", "q.dead"]
    consumer.requeue(held)
    consumer.close()
    broker.declare([Queue(name="q")])
    clock.advance(100)
    assert broker.stats(["q"])["q"].ready == 0
    assert broker.stats(["other"])["other"].ready == 1


def test_what_is_held_of_a_deleted_queue_does_not_come_back_to_its_successor(broker: SqliteBroker) -> None:
    broker.publish([message("old")])
    holder = consume(broker)
    held = holder.receive(1, 0)
    broker.delete(["q"])
    broker.publish([message("new")])
    holder.requeue(held)
    assert bodies(receive_all(consume(broker, owner="other"))) == ["new"]


def test_declaring_creates_the_dead_letter_queue_and_leaves_alone_what_is_there(broker: SqliteBroker) -> None:
    broker.publish([message()])
    broker.declare([Queue(name="q"), Queue(name="bare", dead=False)])
    assert list(broker.queues()) == ["q", "q.dead", "bare"]
    assert broker.stats(["q"])["q"].ready == 1


def test_queue_names_of_any_kind_are_kept_apart(broker: SqliteBroker) -> None:
    names = ["\u00e9", "e\u0301", "a b", "a/b", "a.dead", "A", "a", "a\0b", "'; DROP TABLE message; --"]
    broker.publish([message(name, name) for name in names])
    assert [bodies(consume(broker, name).receive(9, 0)) for name in names] == [[name] for name in names]


@pytest.mark.parametrize(
    "bad",
    [
        message(headers={"x": object()}),
        message(headers={"x": {1, 2}}),
        message("x", "q\ud800"),
        message("x", id="\ud800"),
        Message(queue="q", body="text", id="b"),  # type: ignore[arg-type]
        Message(queue="q", body=b"", id=7),  # type: ignore[arg-type]
    ],
)
def test_a_message_that_cannot_be_kept_does_not_fail_its_siblings(bad: Message, broker: SqliteBroker) -> None:
    with pytest.raises(PublishError) as caught:
        broker.publish([message("1"), bad, message("2")])
    (failure,) = caught.value.failures
    assert failure.message is bad
    assert failure.certain
    assert bodies(receive_all(consume(broker))) == ["1", "2"]


def test_a_body_beyond_the_limit_is_refused_and_one_at_the_limit_is_not(
    broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.brokers.sqlite.messages.MAX_BODY", 1000)
    large = message(b"x" * 1001)
    with pytest.raises(PublishError, match="a body of 1001 bytes"):
        broker.publish([message(b"y" * 1000), large, message("small")])
    assert [len(body) for body in bodies(receive_all(consume(broker)))] == [1000, 5]


def test_a_published_batch_of_any_size_comes_in_order(broker: SqliteBroker) -> None:
    broker.publish([])
    broker.publish([message(str(n)) for n in range(5001)])
    assert bodies(receive_all(consume(broker, prefetch=9999))) == [str(n) for n in range(5001)]


def test_the_file_outlives_the_broker(path: Path, clock: ManualClock) -> None:
    first = SqliteBroker(path, clock=clock)
    first.publish([message("1")])
    first.close()
    first.close()
    second = SqliteBroker(path, clock=clock)
    assert bodies(receive_all(consume(second))) == ["1"]
    second.close()
