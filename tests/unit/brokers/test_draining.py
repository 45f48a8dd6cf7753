"""Delays kept in a second broker, and sent on from there by whichever worker comes first."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all, until
from umbel.backends.memory import MemoryBackend
from umbel.brokers import draining
from umbel.brokers.delaying import STORE_QUEUE, DelayingBroker
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.clock import ManualClock
from umbel.spec import DEATH, BrokerError, Delivery, Failure, Message, PublishError, Result

FOREVER = 3600.0


class World:
    """A broker that cannot delay, with a store that can; both can be told to fail."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.down: set[str] = set()
        capabilities = replace(FULL, max_delay=0.0)
        self.inner = MemoryBroker(
            clock=self.clock, lease=1e9, capabilities=capabilities, fault=lambda verb: self._fault(f"inner {verb}")
        )
        self.store = MemoryBroker(clock=self.clock, lease=60, fault=lambda verb: self._fault(f"store {verb}"))
        self.broker = self.open()

    def open(self) -> DelayingBroker:
        return DelayingBroker(self.inner, delay_store=self.store, clock=self.clock)

    def _fault(self, verb: str) -> None:
        if verb in self.down:
            raise BrokerError(f"{verb} failed")

    def stored(self) -> int:
        known = self.store.stats([STORE_QUEUE])[STORE_QUEUE]
        return (known.ready or 0) + (known.leased or 0) + (known.delayed or 0)

    def arrives(self, count: int = 1) -> list[Delivery]:
        """Wait until so many have come to the queue, and receive them past the wrapper."""
        until(lambda: (self.inner.stats(["q"])["q"].ready or 0) >= count, clock=self.clock)
        return list(self.inner.consume(["q"], owner="test", prefetch=1000).receive(1000, 0))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(draining, "LONGEST_PAUSE", 0.01)
    world = World()
    yield world
    world.broker.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "umbel-delays"]


def test_it_says_that_any_delay_can_be_had_and_that_counts_are_not_exact(world: World) -> None:
    capabilities = world.broker.capabilities
    assert capabilities.max_delay == float("inf")
    assert capabilities.delay_precision >= world.store.capabilities.delay_precision
    assert not capabilities.exact_stats
    world.broker.publish([message()])
    known = world.broker.stats(["q"])["q"]
    assert (known.ready, known.delayed) == (1, None)


def test_a_delayed_message_waits_in_the_store_and_comes_when_it_is_due(world: World) -> None:
    clock = world.clock
    now = message("now")
    later = message("later", eta=clock.now() + 1e6, headers={"a": 1}, dedup="d", key="k", priority=3, options={"x": 1})
    world.broker.publish([now, later])
    consumer = consume(world.broker)
    assert bodies(consumer.receive(9, 0)) == ["now"]
    clock.advance(1e6 - 1)
    assert world.stored() == 1
    clock.advance(1)
    until(lambda: not world.stored(), clock=clock)
    received = consumer.receive(9, 0)
    assert [one.message for one in received] == [later]
    assert received[0].attempt == 1


def test_a_blocked_receive_gets_what_falls_due(world: World) -> None:
    world.broker.publish([message("1", eta=world.clock.now() + 60)])
    consume(world.broker, owner="somebody else")
    world.clock.advance(60)
    assert bodies(world.arrives()) == ["1"]


def test_any_worker_drains_also_what_is_for_other_queues(world: World) -> None:
    world.broker.publish([message("1", "q", eta=world.clock.now() + 5)])
    consume(world.broker, "another", owner="other")
    world.clock.advance(5)
    assert bodies(world.arrives()) == ["1"]


def test_without_a_worker_it_waits_in_the_store(world: World) -> None:
    world.broker.publish([message("1", eta=world.clock.now() + 5)])
    world.clock.advance(500)
    assert world.stored() == 1
    consume(world.broker)
    assert bodies(world.arrives()) == ["1"]


def test_the_store_forgets_a_message_only_once_its_own_broker_has_it(world: World) -> None:
    world.broker.publish([message("1", eta=world.clock.now() + 5)])
    world.down = {"inner publish"}
    consume(world.broker)
    world.clock.advance(5)
    for _ in range(20):
        until(lambda: world.stored() == 1, clock=world.clock)
        world.clock.advance(1)
    assert world.inner.stats(["q"])["q"].ready == 0
    world.down = set()
    assert bodies(world.arrives()) == ["1"]
    until(lambda: not world.stored(), clock=world.clock)


def test_a_drainer_that_dies_between_publish_and_ack_leaves_a_duplicate_and_no_hole(world: World) -> None:
    world.broker.publish([message("1", id="i", eta=world.clock.now() + 5)])
    world.down = {"inner publish: done"}  # the reply is lost, every time
    consume(world.broker)
    world.clock.advance(5)
    until(lambda: (world.inner.stats(["q"])["q"].ready or 0) >= 2, clock=world.clock)
    world.down = set()
    until(lambda: not world.stored(), clock=world.clock)
    assert {one.message.id for one in world.arrives()} == {"i"}


def test_a_store_that_fails_is_asked_again(world: World) -> None:
    world.broker.publish([message("1", eta=world.clock.now() + 5)])
    world.down = {"store receive", "store consume"}
    consume(world.broker)
    world.clock.advance(5)
    world.down = set()
    assert bodies(world.arrives()) == ["1"]


def test_what_a_dead_workers_drainer_held_comes_back_with_its_release(world: World) -> None:
    world.broker.publish([message("1", eta=world.clock.now() + 5)])
    world.clock.advance(5)
    world.store.consume([STORE_QUEUE], owner="dead/delays", prefetch=9).receive(9, 0)
    consume(world.broker, owner="alive")
    world.broker.release("dead", ())
    assert bodies(world.arrives()) == ["1"]


def test_two_drainers_move_each_message_once(world: World) -> None:
    consume(world.broker, owner="1")
    consume(world.broker, owner="2")
    world.broker.publish([message(str(n), eta=world.clock.now() + 5 + n % 7) for n in range(300)])
    for _ in range(7):
        world.clock.advance(2)
    assert sorted(map(int, bodies(world.arrives(300)))) == list(range(300))


def test_a_message_that_its_broker_refuses_ends_as_a_dead_letter_of_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = world.inner.publish

    def refuse(messages: list[Message]) -> None:
        refused = [one for one in messages if one.id == "bad"]
        publish([one for one in messages if one.id != "bad"])
        if refused:
            raise PublishError([Failure(one, BrokerError("too ugly"), True) for one in refused])

    monkeypatch.setattr(world.inner, "publish", refuse)
    world.broker.publish([message(id=id, eta=world.clock.now() + 5) for id in ("bad", "good")])
    consume(world.broker)
    world.clock.advance(5)
    dead = f"{STORE_QUEUE}.dead"

    def buried() -> bool:
        world.clock.advance(1)
        return world.store.stats([dead])[dead].ready == 1

    until(buried)
    assert "too ugly" in world.store.browse(dead, 1)[0].headers[DEATH]["reason"]
    assert [one.message.id for one in world.arrives()] == ["good"]


def test_what_is_no_delayed_message_is_a_dead_letter_of_the_store(world: World) -> None:
    world.store.publish([message("junk", STORE_QUEUE), message("junk", STORE_QUEUE, headers={"umbel_delay": {}})])
    sound = {"eta": 0, "hop": 1, "charged": 0, "queue": 7, "exchange": "", "routing_key": ""}
    world.store.publish([message("junk", STORE_QUEUE, headers={"umbel_delay": sound})])
    world.broker.publish([message("1", eta=world.clock.now() + 5)])
    consume(world.broker)
    world.clock.advance(5)
    assert bodies(world.arrives()) == ["1"]
    dead = f"{STORE_QUEUE}.dead"
    until(lambda: world.store.stats([dead])[dead].ready == 3, clock=world.clock)


def test_a_store_whose_clock_is_ahead_makes_nothing_come_early(world: World) -> None:
    eta = world.clock.now() + 100
    world.broker.publish([message("1", eta=eta)])
    ahead = world.store.consume([STORE_QUEUE], owner="ahead", prefetch=1)
    world.clock.advance(100)
    ahead.requeue(ahead.receive(1, 0), charge=False)  # ready at once, whatever the eta says
    world.clock.set_wall_clock(eta - 50)
    consume(world.broker)
    until(lambda: world.store.stats([STORE_QUEUE])[STORE_QUEUE].delayed == 1, clock=world.clock)
    assert world.inner.stats(["q"])["q"].ready == 0
    world.clock.advance(50)
    assert bodies(world.arrives()) == ["1"]


def test_a_requeue_with_a_delay_goes_through_the_store_and_keeps_its_attempts(world: World) -> None:
    sent = message("1", dedup="d")
    world.broker.publish([sent])
    consumer = consume(world.broker)
    consumer.requeue(consumer.receive(1, 0), delay=30)
    assert world.inner.stats(["q"])["q"].leased == 0
    until(lambda: world.stored() == 1, clock=world.clock)
    eta = world.clock.now() + 30
    world.clock.advance(30)
    until(lambda: world.inner.stats(["q"])["q"].ready == 1, clock=world.clock)
    again = consumer.receive(1, 0)[0]
    assert (again.attempt, again.message) == (2, replace(sent, eta=eta))
    assert world.inner.stats(["q"])["q"].leased == 1
    consumer.ack([again])
    assert world.inner.stats(["q"])["q"].leased == 0


def test_a_requeue_that_the_store_refuses_leaves_the_delivery_ours(world: World) -> None:
    world.broker.publish([message("1")])
    consumer = consume(world.broker)
    held = consumer.receive(1, 0)
    world.down = {"store publish"}
    with pytest.raises(BrokerError, match="store publish failed"):
        consumer.requeue(held, delay=30)
    assert world.inner.stats(["q"])["q"].leased == 1


def test_when_the_store_fails_only_the_delayed_messages_of_a_batch_are_named(world: World) -> None:
    now, later = message("now"), message("later", eta=world.clock.now() + 5)
    world.down = {"store publish"}
    with pytest.raises(PublishError) as caught:
        world.broker.publish([now, later])
    assert [(failure.message is later, failure.certain) for failure in caught.value.failures] == [(True, False)]
    with pytest.raises(BrokerError, match="store publish failed"):
        world.broker.publish([later])
    assert bodies(receive_all(consume(world.broker))) == ["now"]


def test_settling_with_a_delayed_message_stores_publishes_and_acks_in_that_order(world: World) -> None:
    backend = MemoryBackend(world.inner.hub)
    settler = world.broker.settler(backend)
    assert settler is not None
    world.broker.publish([message("1", id="1")])
    consumer = consume(world.broker)
    held = consumer.receive(1, 0)
    result = Result(id="1", state="SUCCESS", terminal=True)
    children = [message("now"), message("later", eta=world.clock.now() + 5)]
    world.down = {"store publish"}
    with pytest.raises(BrokerError):
        settler.settle(consumer, [(result, held[0])], children, held, ttl=60)
    assert list(backend.fetch(["1"])) == ["1"]
    assert world.inner.stats(["q"])["q"].leased == 1
    world.down = set()
    assert settler.settle(consumer, [(result, held[0])], children, held, ttl=60) == []
    assert world.inner.stats(["q"])["q"].leased == 0
    assert world.stored() == 1
    assert settler.settle(consumer, [(result, held[0])], children[1:], held, ttl=60) == held
    assert settler.settle(consumer, [], children[:1], [], ttl=60) == []


def test_native_delays_within_reach_do_not_go_through_the_store() -> None:
    clock = ManualClock()
    inner = MemoryBroker(clock=clock, capabilities=replace(FULL, max_delay=900.0))
    store = MemoryBroker(clock=clock)
    broker = DelayingBroker(inner, delay_store=store, clock=clock)
    broker.publish([message("soon", eta=clock.now() + 900), message("later", eta=clock.now() + 901)])
    assert [one.body for one in inner.browse("q", 9)] == [b"soon"]
    assert [one.body for one in store.browse(STORE_QUEUE, 9)] == [b"later"]


def test_closing_wakes_the_drainer_and_waits_for_its_end(world: World) -> None:
    consumer = consume(world.broker)
    until(lambda: world.store.hub.waiting)
    consumer.close()
    consumer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "umbel-delays"]
