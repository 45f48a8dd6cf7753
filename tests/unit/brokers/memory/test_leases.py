"""Who holds what, for how long, and what becomes of it."""

from __future__ import annotations

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.backends.memory import MemoryBackend
from umbel.brokers.memory import MemoryBroker
from umbel.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker(clock: ManualClock) -> MemoryBroker:
    return MemoryBroker(clock=clock, lease=30)


def test_what_is_not_renewed_comes_back_when_the_lease_ends(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    consume(broker, owner="dead").receive(1, 0)
    other = consume(broker, owner="other")
    clock.advance(29.9)
    assert other.receive(1, 0) == []
    clock.advance(0.1)
    again = other.receive(1, 0)
    assert (bodies(again), again[0].attempt) == (["1"], 2)


def test_one_renewal_holds_all_that_an_owner_has(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message(str(n)) for n in range(5)])
    mine, other = consume(broker, owner="mine"), consume(broker, owner="other")
    held = [*mine.receive(2, 0)]
    clock.advance(20)
    held += mine.receive(2, 0)
    for _ in range(10):
        broker.renew("mine")
        clock.advance(29)
        assert bodies(receive_all(other)) in (["4"], [])
        broker.renew("other")
    mine.ack(held)
    assert broker.stats(["q"])["q"].leased == 1


def test_a_renewal_does_not_shorten_what_was_claimed_after_it(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    mine = consume(broker, owner="mine")
    broker.renew("mine")
    clock.advance(20)
    mine.receive(1, 0)
    clock.advance(29)
    assert receive_all(consume(broker, owner="other")) == []


def test_a_renewal_after_the_end_brings_nothing_back(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("1")])
    mine = consume(broker, owner="mine")
    held = mine.receive(1, 0)
    clock.advance(31)
    broker.renew("mine")
    mine.ack(held)
    assert bodies(receive_all(consume(broker, owner="other"))) == ["1"]


def test_a_renewal_of_long_ago_does_not_end_a_later_claim(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message("1"), message("2")])
    mine, other = consume(broker, owner="mine"), consume(broker, owner="other")
    broker.renew("mine")
    other.receive(1, 0)  # so that somebody's lease ends when that renewal does
    clock.advance(20)
    mine.receive(1, 0)
    clock.advance(10)
    assert bodies(receive_all(other)) == ["1"]


@pytest.mark.parametrize("verb", ["ack", "requeue", "dead_letter", "settle"])
def test_a_claim_whose_lease_has_ended_is_lost_also_if_nobody_has_looked(
    verb: str, broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    late = consumer.receive(1, 0)
    clock.advance(30)
    if verb == "settle":
        settler = broker.settler(MemoryBackend(broker.hub))
        assert settler is not None
        assert settler.settle(consumer, [], [], late, ttl=None) == late
    else:
        getattr(consumer, verb)(late, *(("late",) if verb == "dead_letter" else ()))
    (again,) = receive_all(consume(broker, owner="other"))
    assert again.attempt == 2


@pytest.mark.parametrize("verb", ["ack", "requeue", "dead_letter"])
def test_a_claim_whose_lease_has_ended_settles_nothing(verb: str, broker: MemoryBroker, clock: ManualClock) -> None:
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
    broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message("1")])
    consumer = consume(broker)
    late = consumer.receive(1, 0)
    clock.advance(31)
    assert consumer.receive(1, 0)[0].attempt == 2
    consumer.ack(late)
    assert broker.stats(["q"])["q"].leased == 1


def test_what_came_back_by_the_end_of_its_lease_is_fetched_alone(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.publish([message(str(n)) for n in range(5)])
    consume(broker, owner="dead").receive(2, 0)
    clock.advance(31)
    other = consume(broker, owner="other")
    assert [bodies(other.receive(10, 0)) for _ in range(4)] == [["0"], ["1"], ["2", "3", "4"], []]


def test_what_is_to_be_fetched_alone_does_not_join_a_batch_of_another_queue(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message("a", "a"), message("b", "b")])
    consume(broker, "b", owner="dead").receive(1, 0)
    clock.advance(31)
    other = consume(broker, "a", "b", owner="other")
    assert [bodies(other.receive(10, 0)) for _ in range(3)] == [["a"], ["b"], []]


def test_once_somebody_has_said_what_became_of_it_it_comes_in_company_again(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.publish([message("0"), message("1")])
    consume(broker, owner="dead").receive(1, 0)
    clock.advance(31)
    other = consume(broker, owner="other")
    other.requeue(other.receive(10, 0))
    assert bodies(other.receive(10, 0)) == ["0", "1"]


def test_releasing_an_owner_charges_what_it_had_started_and_nothing_else(broker: MemoryBroker) -> None:
    broker.publish([message(str(n), id=str(n)) for n in range(4)])
    dead = consume(broker, owner="dead")
    held = dead.receive(3, 0)
    broker.release("dead", {"1"})
    broker.release("dead", {"1", "0"})
    other = consume(broker, owner="other")
    again = receive_all(other)
    assert bodies(again) == ["0", "1", "2", "3"]
    assert [delivery.attempt for delivery in again] == [1, 2, 1, 1]
    dead.ack(held)
    assert broker.stats(["q"])["q"].leased == 4


def test_releasing_one_owner_leaves_the_others_alone(broker: MemoryBroker) -> None:
    broker.publish([message("0"), message("1")])
    consume(broker, owner="dead").receive(1, 0)
    consume(broker, owner="alive").receive(1, 0)
    broker.release("dead", ())
    broker.release("unknown", ())
    assert broker.stats(["q"])["q"].leased == 1


def test_closing_gives_back_what_is_held_uncharged_and_in_order(broker: MemoryBroker) -> None:
    broker.publish([message(str(n)) for n in range(4)])
    consumer = consume(broker)
    consumer.receive(2, 0)
    consumer.receive(1, 0)
    consumer.close()
    consumer.close()
    again = consume(broker).receive(10, 0)
    assert bodies(again) == ["0", "1", "2", "3"]
    assert {delivery.attempt for delivery in again} == {1}


def test_a_closed_consumer_receives_and_settles_nothing(broker: MemoryBroker) -> None:
    broker.publish([message("0")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    consumer.close()
    consumer.ack(held)
    assert consumer.receive(1, 60) == []
    assert broker.stats(["q"])["q"].ready == 1


def test_closing_the_broker_closes_its_consumers_and_not_those_of_others(clock: ManualClock) -> None:
    mine = MemoryBroker(clock=clock)
    other = MemoryBroker(mine.hub)
    mine.publish([message("0"), message("1")])
    consume(mine, owner="mine").receive(1, 0)
    kept = consume(other, owner="other").receive(1, 0)
    mine.close()
    mine.close()
    known = other.stats(["q"])["q"]
    assert (known.ready, known.leased, bodies(kept)) == (1, 1, ["1"])


def test_attempts_are_counted_exactly_over_every_way_back(broker: MemoryBroker, clock: ManualClock) -> None:
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
