"""Who holds what, for how long, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location

if TYPE_CHECKING:
    from pathlib import Path

    from umbel.clock import ManualClock


def test_what_is_not_renewed_comes_back_when_the_lease_ends(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    consume(broker, owner="dead").receive(1, 0)
    other = consume(broker, owner="other")
    clock.advance(29.9)
    assert other.receive(1, 0) == []
    clock.advance(0.1)
    again = other.receive(1, 0)
    assert (bodies(again), again[0].attempt) == (["1"], 2)


def test_one_renewal_holds_all_that_an_owner_has(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message(str(n)) for n in range(4)])
    mine, other = consume(broker, owner="mine"), consume(broker, owner="other")
    held = [*mine.receive(2, 0)]
    clock.advance(20)
    held += mine.receive(2, 0)
    for _ in range(10):
        broker.renew("mine")
        clock.advance(29)
        assert receive_all(other) == []
    mine.ack(held)
    known = broker.stats(["q"])["q"]
    assert (known.ready, known.leased) == (0, 0)


def test_a_claim_does_not_prolong_an_earlier_one(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("1"), message("2")])
    mine = consume(broker, owner="mine")
    mine.receive(1, 0)
    clock.advance(20)
    mine.receive(1, 0)
    clock.advance(10)
    assert bodies(receive_all(consume(broker, owner="other"))) == ["1"]


def test_a_renewal_does_not_shorten_what_was_claimed_after_it(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    mine = consume(broker, owner="mine")
    broker.renew("mine")
    clock.advance(20)
    mine.receive(1, 0)
    clock.advance(29)
    assert receive_all(consume(broker, owner="other")) == []


def test_a_renewal_after_the_end_brings_nothing_back(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    mine = consume(broker, owner="mine")
    held = mine.receive(1, 0)
    clock.advance(31)
    broker.renew("mine")
    mine.ack(held)
    assert bodies(receive_all(consume(broker, owner="other"))) == ["1"]


def test_each_owner_has_the_lease_that_it_was_made_with(path: Path, broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    short = SqliteBroker(Location.of(path, lease=3.0), clock=clock)
    consume(short, owner="short").receive(1, 0)
    clock.advance(3)
    assert bodies(receive_all(consume(broker, owner="long"))) == ["1"]
    short.close()


@pytest.mark.parametrize("verb", ["ack", "requeue", "dead_letter", "settle"])
def test_a_claim_whose_lease_has_ended_is_lost_also_if_nobody_has_looked(
    verb: str, path: Path, broker: SqliteBroker, clock: ManualClock
) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    late = consumer.receive(1, 0)
    clock.advance(30)
    if verb == "settle":
        backend = SqliteBackend(path, clock=clock)
        settler = broker.settler(backend)
        assert settler is not None
        assert settler.settle(consumer, [], [], late, ttl=None) == late
        backend.close()
    else:
        getattr(consumer, verb)(late, *(("late",) if verb == "dead_letter" else ()))
    (again,) = receive_all(consume(broker, owner="other"))
    assert again.attempt == 2


@pytest.mark.parametrize("verb", ["ack", "requeue", "dead_letter"])
def test_a_stale_claim_settles_nothing(verb: str, broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    stale = consume(broker, owner="stale")
    late = stale.receive(1, 0)
    clock.advance(31)
    present = consume(broker, owner="present")
    held = present.receive(1, 0)
    getattr(stale, verb)(late, *(("late",) if verb == "dead_letter" else ()))
    known = broker.stats(["q", "q.dead"])
    assert (known["q"].leased, known["q"].ready, known["q.dead"].ready) == (1, 0, 0)
    present.ack(held)
    assert broker.stats(["q"])["q"].leased == 0


def test_a_late_ack_of_ones_own_earlier_claim_does_not_settle_the_present_one(
    broker: SqliteBroker, clock: ManualClock
) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    late = consumer.receive(1, 0)
    consumer.requeue(late)
    assert consumer.receive(1, 0)[0].attempt == 2
    consumer.ack(late)
    assert broker.stats(["q"])["q"].leased == 1
    clock.advance(31)
    assert consumer.receive(1, 0)[0].attempt == 3
    consumer.ack(late)
    assert broker.stats(["q"])["q"].leased == 1


def test_what_came_back_by_the_end_of_its_lease_is_fetched_alone(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message(str(n)) for n in range(6)])
    first = consume(broker, owner="first")
    held = first.receive(3, 0)
    first.ack(held[1:2])
    clock.advance(31)
    other = consume(broker, owner="other")
    assert [bodies(other.receive(10, 0)) for _ in range(4)] == [["0"], ["2"], ["3", "4", "5"], []]


def test_what_has_to_come_alone_ends_the_batch_before_it(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message(str(n)) for n in range(5)])
    dead, alive = consume(broker, owner="dead"), consume(broker, owner="alive")
    first = alive.receive(2, 0)
    dead.receive(1, 0)
    clock.advance(29)
    broker.renew("alive")
    clock.advance(1)
    assert broker.stats(["q"])["q"].ready == 3
    alive.requeue(first, charge=False)
    assert [bodies(alive.receive(10, 0)) for _ in range(4)] == [["0", "1"], ["2"], ["3", "4"], []]


def test_what_is_to_be_fetched_alone_does_not_join_a_batch_of_another_queue(
    broker: SqliteBroker, clock: ManualClock
) -> None:
    broker.publish([message("a", "a"), message("b", "b")])
    consume(broker, "b", owner="dead").receive(1, 0)
    clock.advance(31)
    other = consume(broker, "a", "b", owner="other")
    assert sorted(map(tuple, [bodies(other.receive(10, 0)) for _ in range(3)])) == [(), ("a",), ("b",)]


def test_once_somebody_has_said_what_became_of_it_it_comes_in_company_again(
    broker: SqliteBroker, clock: ManualClock
) -> None:
    broker.publish([message("0"), message("1")])
    consume(broker, owner="dead").receive(1, 0)
    clock.advance(31)
    other = consume(broker, owner="other")
    other.requeue(other.receive(10, 0))
    assert bodies(other.receive(10, 0)) == ["0", "1"]


def test_releasing_an_owner_charges_what_it_had_started_and_nothing_else(broker: SqliteBroker) -> None:
    broker.publish([message(str(n), id=str(n)) for n in range(4)])
    dead = consume(broker, owner="dead")
    held = dead.receive(3, 0)
    broker.release("dead", {"1"})
    broker.release("dead", {"1", "0"})
    again = receive_all(consume(broker, owner="other"))
    assert bodies(again) == ["0", "1", "2", "3"]
    assert [delivery.attempt for delivery in again] == [1, 2, 1, 1]
    dead.ack(held)
    assert broker.stats(["q"])["q"].leased == 4


def test_releasing_one_owner_leaves_the_others_alone(broker: SqliteBroker) -> None:
    broker.publish([message("0"), message("1")])
    consume(broker, owner="dead").receive(1, 0)
    consume(broker, owner="alive").receive(1, 0)
    broker.release("dead", ())
    broker.release("unknown", ())
    assert broker.stats(["q"])["q"].leased == 1


def test_closing_gives_back_what_is_held_uncharged_and_in_order(broker: SqliteBroker) -> None:
    broker.publish([message(str(n)) for n in range(4)])
    consumer = consume(broker)
    consumer.receive(2, 0)
    consumer.receive(1, 0)
    consumer.close()
    consumer.close()
    again = consume(broker).receive(10, 0)
    assert bodies(again) == ["0", "1", "2", "3"]
    assert {delivery.attempt for delivery in again} == {1}


def test_a_closed_consumer_receives_and_settles_nothing(broker: SqliteBroker) -> None:
    broker.publish([message("0")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    consumer.close()
    consumer.ack(held)
    assert consumer.receive(1, 60) == []
    assert broker.stats(["q"])["q"].ready == 1


def test_closing_the_broker_closes_its_consumers_and_not_those_of_others(
    path: Path, broker: SqliteBroker, clock: ManualClock
) -> None:
    mine = SqliteBroker(path, clock=clock)
    mine.publish([message("0"), message("1")])
    consume(mine, owner="mine").receive(1, 0)
    kept = consume(broker, owner="other").receive(1, 0)
    mine.close()
    mine.close()
    known = broker.stats(["q"])["q"]
    assert (known.ready, known.leased, bodies(kept)) == (1, 1, ["1"])


def test_attempts_are_counted_exactly_over_every_way_back(broker: SqliteBroker, clock: ManualClock) -> None:
    broker.publish([message("0", id="0")])
    consumer = consume(broker, owner="a")
    consumer.requeue(consumer.receive(1, 0))  # charged
    consumer.requeue(consumer.receive(1, 0), charge=False)
    consumer.requeue(consumer.receive(1, 0), delay=1)  # charged
    clock.advance(1)
    consumer.receive(1, 0)
    broker.release("a", {"0"})  # charged
    consumer.receive(1, 0)
    broker.release("a", ())
    consumer.receive(1, 0)
    clock.advance(31)  # charged
    assert consumer.receive(1, 0)[0].attempt == 5


class Interrupt(Exception):
    """As a signal handler may raise at any moment."""


def test_what_a_claim_took_before_it_was_interrupted_comes_at_the_next_receive(
    broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.publish([message(str(n)) for n in range(4)])
    consumer = consume(broker)
    held = consumer.receive(1, 0)

    def interrupted(*_: object) -> None:
        raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr("umbel.brokers.sqlite.consumer.to_message", interrupted)
        with pytest.raises(Interrupt):
            consumer.receive(2, 0)
    assert broker.stats(["q"])["q"].leased == 3, "the claim was committed"
    again = consumer.receive(10, 0)
    assert bodies(again) == ["1", "2", "3"]
    assert {delivery.attempt for delivery in again} == {1}
    consumer.ack(held)
    assert broker.stats(["q"])["q"].leased == 3
