"""A wrapper that adds nothing hands on everything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.backends.memory import MemoryBackend
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.brokers.wrapping import Rewritten, WrappedConsumer, Wrapper
from umbel.clock import ManualClock
from umbel.spec import Broker, Consumer, Delivery, PublishError, Queue, Result


class Shouting(Wrapper):
    """Writes bodies in capitals on their way in, and hands them out in small letters."""

    def rewrite(self, messages):
        return [(one, replace(one, body=one.body.upper())) for one in messages]

    def consume(self, queues, *, owner, prefetch):
        return self.keep(Whispering(self, self.inner.consume(queues, owner=owner, prefetch=prefetch)))


class Softly(Delivery):
    __slots__ = ("original",)


class Whispering(WrappedConsumer):
    def receive(self, limit, timeout):
        return [self._soft(one) for one in self.inner.receive(limit, timeout)]

    def _soft(self, delivery):
        soft = replace(delivery.message, body=delivery.message.body.lower())
        made = Softly(message=soft, receipt=delivery.receipt, attempt=delivery.attempt)
        made.original = delivery
        return made

    def original(self, delivery):
        return delivery.original

    def settled(self, deliveries, lost):
        self.broker.noted = (list(deliveries), lost)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def inner(clock: ManualClock) -> MemoryBroker:
    return MemoryBroker(clock=clock, lease=30)


@pytest.fixture(params=[Wrapper, Shouting])
def broker(request: pytest.FixtureRequest, inner: MemoryBroker) -> Wrapper:
    return request.param(request.param(inner))


def test_every_verb_reaches_the_inner_broker(broker: Wrapper, inner: MemoryBroker, clock: ManualClock) -> None:
    assert broker.capabilities == inner.capabilities
    broker.declare([Queue(name="q")])
    broker.publish([message(body) for body in "abcde"])
    assert broker.queues() == inner.queues()
    assert broker.stats(["q"]) == inner.stats(["q"])
    assert len(broker.browse("q", 3)) == 3
    consumer = consume(broker)
    held = consumer.receive(4, 0)
    assert bodies(held) == ["a", "b", "c", "d"]
    consumer.ack(held[:1])
    consumer.requeue(held[1:2])
    consumer.dead_letter(held[2:3], "why")
    clock.advance(20)
    broker.renew("owner")
    clock.advance(20)
    assert inner.stats(["q"])["q"].leased == 1
    broker.release("owner", [held[3].message.id])
    again = consumer.receive(2, 0)
    assert [(one.message.body, one.attempt) for one in again] == [(b"b", 2)]
    consumer.close()
    assert inner.stats(["q"])["q"].ready == 3
    subscription = broker.subscribe(["t"])
    broker.broadcast("t", b"1")
    assert subscription.receive(0) == [("t", b"1")]
    assert broker.purge("q") == 3
    broker.delete(["q"])
    assert list(inner.queues()) == ["q.dead"]
    broker.close()


def test_extending_says_which_deliveries_were_lost(clock: ManualClock) -> None:
    inner = MemoryBroker(clock=clock, capabilities=replace(FULL, held_by="message"))
    broker = Shouting(Shouting(inner))
    broker.publish([message("a"), message("b")])
    consumer = consume(broker)
    first, second = consumer.receive(2, 0)
    clock.advance(20)
    assert consumer.extend([first]) == []
    clock.advance(20)
    assert consumer.extend([first, second]) == [second]


def test_a_failure_names_the_message_that_the_caller_knows(clock: ManualClock) -> None:
    broker = Shouting(Shouting(MemoryBroker(clock=clock, capabilities=replace(FULL, max_body=1))))
    good, bad = message("a"), message("bb")
    with pytest.raises(PublishError) as caught:
        broker.publish([good, bad])
    assert [failure.message for failure in caught.value.failures] == [bad]
    assert caught.value.failures[0].message is bad


def test_settling_in_one_step_works_through_wrappers(broker: Wrapper, inner: MemoryBroker, clock: ManualClock) -> None:
    backend = MemoryBackend(inner.hub)
    assert broker.settler(MemoryBackend()) is None
    settler = broker.settler(backend)
    assert settler is not None
    broker.publish([message("a", id="a"), message("b", id="b")])
    consumer = consume(broker)
    late = consumer.receive(1, 0)
    clock.advance(31)
    consumer.receive(1, 0)
    held = consumer.receive(1, 0)
    results = [(Result(id=one.message.id, state="SUCCESS", terminal=True), one) for one in (*late, *held)]
    lost = settler.settle(consumer, results, [message("next", id="next")], [*late, *held], ttl=60)
    assert lost == late
    assert list(backend.fetch(["a", "b"])) == ["b"]
    assert bodies(receive_all(consumer)) == ["next"]
    if isinstance(broker, Shouting):
        assert broker.noted == ([*late, *held], late)


def test_a_settling_that_was_refused_names_the_message_that_the_caller_knows(clock: ManualClock) -> None:
    inner = MemoryBroker(clock=clock, capabilities=replace(FULL, max_body=1))
    unsent: list[bytes] = []

    class Noting(Shouting):
        def unsent(self, messages):
            unsent.extend(one.body for one in messages)

    broker = Noting(inner)
    settler = broker.settler(MemoryBackend(inner.hub))
    assert settler is not None
    good, bad = message("a"), message("bb")
    with pytest.raises(PublishError) as caught:
        settler.settle(consume(broker), [], [good, bad], [], ttl=None)
    assert caught.value.failures[0].message is bad
    assert unsent == [b"A", b"BB"]
    assert inner.stats(["q"])["q"].ready == 0


def test_closing_a_wrapper_closes_its_consumers(inner: MemoryBroker) -> None:
    closed: list[Consumer] = []

    class Leaving(WrappedConsumer):
        def close(self):
            if not self.closed:
                closed.append(self)
            super().close()

    class Keeping(Wrapper):
        def consume(self, queues, *, owner, prefetch):
            return self.keep(Leaving(self, self.inner.consume(queues, owner=owner, prefetch=prefetch)))

    broker: Broker = Keeping(inner)
    first, second = consume(broker), consume(broker)
    first.close()
    third = consume(broker)
    broker.close()
    broker.close()
    assert closed == [first, second, third]


def test_a_wrapper_may_leave_messages_as_they_are(inner: MemoryBroker) -> None:
    class Seldom(Wrapper):
        def rewrite(self, messages) -> Rewritten | None:
            return None

    sent = message("a")
    Seldom(inner).publish([sent])
    assert consume(inner).receive(1, 0)[0].message is sent
