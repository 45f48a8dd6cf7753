"""Results, messages and acks in one step: all of it or nothing, and nothing for a claim that is no longer ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, receive_all, until
from umbel.backends.memory import MemoryBackend
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.clock import ManualClock
from umbel.spec import Delivery, PublishError, Result, Settler


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker(clock: ManualClock) -> MemoryBroker:
    return MemoryBroker(clock=clock, lease=30)


@pytest.fixture
def backend(broker: MemoryBroker) -> MemoryBackend:
    return MemoryBackend(broker.hub)


@pytest.fixture
def settler(broker: MemoryBroker, backend: MemoryBackend) -> Settler:
    settler = broker.settler(backend)
    assert settler is not None
    return settler


def succeeded(delivery: Delivery, body: bytes = b"1") -> tuple[Result, Delivery]:
    return Result(id=delivery.message.id, state="SUCCESS", body=body, terminal=True, attempt=delivery.attempt), delivery


def test_there_is_none_for_a_store_elsewhere(broker: MemoryBroker) -> None:
    assert broker.settler(MemoryBackend()) is None


def test_one_call_stores_publishes_and_acks(broker: MemoryBroker, backend: MemoryBackend, settler: Settler) -> None:
    broker.publish([message("1", id="1"), message("2", id="2")])
    consumer = consume(broker)
    held = consumer.receive(2, 0)
    lost = settler.settle(consumer, [succeeded(one) for one in held], [message("next")], held, ttl=60)
    assert lost == []
    assert {id: result.state for id, result in backend.fetch(["1", "2"]).items()} == {"1": "SUCCESS", "2": "SUCCESS"}
    assert bodies(receive_all(consumer)) == ["next"]


def test_a_claim_that_was_lost_gets_neither_its_result_nor_its_ack(
    broker: MemoryBroker, backend: MemoryBackend, settler: Settler, clock: ManualClock
) -> None:
    broker.publish([message("1", id="1"), message("2", id="2")])
    stale, present = consume(broker, owner="stale"), consume(broker, owner="present")
    late = stale.receive(1, 0)
    clock.advance(31)
    held = present.receive(1, 0)
    mine = stale.receive(1, 0)
    lost = settler.settle(stale, [succeeded(one) for one in (*late, *mine)], [message("child")], [*late, *mine], ttl=60)
    assert lost == late
    assert list(backend.fetch(["1", "2"])) == ["2"]
    assert settler.settle(present, [succeeded(held[0], b"present")], [], held, ttl=60) == []
    assert backend.fetch(["1"])["1"].body == b"present"
    assert bodies(receive_all(present)) == ["child"]


def test_a_result_can_be_stored_before_its_delivery_is_done(
    broker: MemoryBroker, backend: MemoryBackend, settler: Settler
) -> None:
    broker.publish([message("1", id="1")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    assert settler.settle(consumer, [succeeded(held[0])], [], [], ttl=None) == []
    assert broker.stats(["q"])["q"].leased == 1
    assert list(backend.fetch(["1"])) == ["1"]


def test_the_same_owners_next_consumer_may_settle(broker: MemoryBroker, settler: Settler) -> None:
    broker.publish([message("1", id="1")])
    held = consume(broker).receive(1, 0)
    assert settler.settle(consume(broker), [succeeded(held[0])], [], held, ttl=60) == []
    assert broker.stats(["q"])["q"].leased == 0


def test_a_strangers_claim_is_not_ours_to_settle_while_it_lasts(
    broker: MemoryBroker, backend: MemoryBackend, settler: Settler
) -> None:
    broker.publish([message("1", id="1")])
    theirs = consume(broker, owner="theirs").receive(1, 0)
    assert settler.settle(consume(broker, owner="mine"), [succeeded(theirs[0])], [], theirs, ttl=60) == theirs
    assert backend.fetch(["1"]) == {}
    assert broker.stats(["q"])["q"].leased == 1


def test_settling_makes_room_for_who_waits_for_it(broker: MemoryBroker, settler: Settler) -> None:
    broker.publish([message("1"), message("2")])
    consumer = consume(broker, prefetch=1)
    held = consumer.receive(1, 0)
    blocked = Background(lambda: consumer.receive(1, 3600.0))
    until(lambda: broker.hub.waiting)
    settler.settle(consumer, [], [], held, ttl=None)
    assert bodies(blocked.wait()) == ["2"]


def test_a_message_that_is_refused_leaves_everything_undone(clock: ManualClock) -> None:
    broker = MemoryBroker(clock=clock, capabilities=replace(FULL, max_body=4))
    backend = MemoryBackend(broker.hub)
    settler = broker.settler(backend)
    assert settler is not None
    broker.publish([message("1", id="1")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    with pytest.raises(PublishError):
        settler.settle(consumer, [succeeded(held[0])], [message("ok"), message("too large")], held, ttl=60)
    assert backend.fetch(["1"]) == {}
    known = broker.stats(["q"])["q"]
    assert (known.leased, known.ready) == (1, 0)


def test_a_consumer_of_another_broker_is_refused(settler: Settler) -> None:
    with pytest.raises(TypeError, match="not a consumer of this broker"):
        settler.settle(consume(MemoryBroker()), [], [], [], ttl=None)


def test_settling_wakes_who_waits_for_its_messages(broker: MemoryBroker, settler: Settler) -> None:
    broker.publish([message("1")])
    consumer = consume(broker, prefetch=1)
    held = consumer.receive(1, 0)
    settler.settle(consumer, [], [message("2")], held, ttl=None)
    assert bodies(consumer.receive(1, 0)) == ["2"]
