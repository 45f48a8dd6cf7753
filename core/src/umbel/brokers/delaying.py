"""Any delay for a broker that has none, or a short one: by hops, or in a second broker that keeps what is not due."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from umbel.brokers.draining import Drainer, drain_owner
from umbel.brokers.envelope import DELAY, delay_of, enclosed, postponed, restored
from umbel.brokers.wrapping import Rewritten, WrappedConsumer, WrappedSettler, Wrapper, carries, publish_rewritten
from umbel.clock import SystemClock
from umbel.spec import Broker, BrokerError, Consumer, Delivery, Failure, PublishError, Queue, QueueStats, Unsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from umbel.clock import Clock
    from umbel.spec import Message, Result, ResultBackend, Settler

STORE_QUEUE = "umbel.delayed"
"""Where a delay store keeps the messages of all queues; apps that share a store each need a name of their own."""
RETRY = 5.0
"""Seconds after which a message that could not be sent on is tried again."""
ROUNDS = 10
"""Batches that one `receive` sends on after its time is up."""


class DelayingBroker(Wrapper):
    """Holds messages back for as long as is asked, never shorter.

    Within the broker's own `max_delay` it does so itself. Beyond, a message goes to `delay_store`, from where any
    consumer's thread sends it to its queue when it is due; without a store it hops: it comes back after `max_delay`
    and is sent again. With neither, a delayed message is refused. The store is closed with this broker.
    """

    def __init__(
        self,
        inner: Broker,
        *,
        delay_store: Broker | None = None,
        store_queue: str = STORE_QUEUE,
        clock: Clock | None = None,
    ) -> None:
        capabilities = inner.capabilities
        if delay_store is not None:
            precision = max(capabilities.delay_precision, delay_store.capabilities.delay_precision + 1.0)
            # What waits in the store is counted for all queues together, hence for none.
            capabilities = replace(capabilities, max_delay=float("inf"), delay_precision=precision, exact_stats=False)
        elif capabilities.max_delay > 0:
            capabilities = replace(capabilities, max_delay=float("inf"))
        super().__init__(inner, capabilities)
        self.clock: Clock = clock or SystemClock()
        self.delay_store = delay_store
        self.store_queue = store_queue
        self.reach = inner.capabilities.max_delay
        """Seconds that the broker itself holds a message back."""
        self._declared = False
        self._lock = threading.Lock()

    def declare(self, queues: Sequence[Queue]) -> None:
        self.inner.declare(queues)
        self.store()

    def store(self) -> Broker | None:
        """The delay store, its queue declared."""
        if self.delay_store is not None and not self._declared:
            with self._lock:
                if not self._declared:
                    self.delay_store.declare([Queue(name=self.store_queue)])
                    self._declared = True
        return self.delay_store

    def publish(self, messages: Sequence[Message]) -> None:
        if not any(message.eta is not None for message in messages):
            self.inner.publish(messages)
            return
        direct, stored = self.split(messages)
        failures: list[Failure] = []
        if direct:
            try:
                publish_rewritten(self.inner, direct)
            except PublishError as error:
                failures += error.failures
        if stored:
            try:
                self.keep_back(stored)
            except PublishError as error:
                failures += error.failures
            except BrokerError as error:
                if not direct:
                    raise
                failures += [Failure(message, error, certain=False) for message, _ in stored]
        if failures:
            raise PublishError(failures)

    def rewrite(self, messages: Sequence[Message]) -> Rewritten | None:
        if not any(message.eta is not None for message in messages):
            return None
        direct, stored = self.split(messages)
        if stored:
            raise AssertionError("what the delay store is to keep has been taken out before")
        return direct

    def split(self, messages: Sequence[Message]) -> tuple[Rewritten, Rewritten]:
        """What goes to the broker, and what goes to the delay store."""
        direct: Rewritten = []
        stored: Rewritten = []
        latest = self.clock.now() + self.reach
        for message in messages:
            if message.eta is None or message.eta <= latest:
                direct.append((message, message))
            elif self.delay_store is not None:
                stored.append((message, self.postpone(message, message.eta, hop=1, charged=0)))
            else:
                direct.append((message, self.postpone(message, message.eta, hop=1, charged=0)))
        return direct, stored

    def postpone(self, message: Message, eta: float, *, hop: int, charged: int) -> Message:
        """The message to send now for one that is due later than the broker's own reach."""
        if self.delay_store is not None:
            return enclosed(postponed(message, eta, eta, hop=hop, charged=charged), self.store_queue)
        if self.reach <= 0:
            raise Unsupported(
                "this broker cannot hold a message back (eta, countdown, retry): "
                "set `delay_store` to the URL of one that can"
            )
        until = min(eta, self.clock.now() + self.reach)
        return postponed(message, eta, until, hop=hop, charged=charged)

    def keep_back(self, stored: Rewritten) -> None:
        """Publish to the delay store."""
        store = self.store()
        assert store is not None
        publish_rewritten(store, stored)

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        consumer = DelayingConsumer(self, self.inner.consume(queues, owner=owner, prefetch=prefetch))
        if self.delay_store is not None:
            consumer.drainer = Drainer(self.delay_store, self.inner, self.store_queue, owner, self.clock)
            consumer.drainer.start()
        return self.keep(consumer)

    def release(self, owner: str, started: Collection[str]) -> None:
        self.inner.release(owner, started)
        if self.delay_store is not None and self.delay_store.capabilities.held_by == "owner":
            self.delay_store.release(drain_owner(owner), ())

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        stats = self.inner.stats(queues)
        if self.delay_store is None:
            return stats
        return {name: replace(known, delayed=None) for name, known in stats.items()}

    def browse(self, queue: str, limit: int) -> Sequence[Message]:
        return [restored(message) for message in self.inner.browse(queue, limit)]

    def settler(self, backend: ResultBackend) -> Settler | None:
        inner = self.inner.settler(backend)
        return None if inner is None else DelayingSettler(self, inner)

    def close(self) -> None:
        super().close()
        if self.delay_store is not None:
            self.delay_store.close()


@dataclass(slots=True, kw_only=True)
class Postponed(Delivery):
    """A delivery as its sender made it, with the one that the broker gave."""

    original: Delivery


class DelayingConsumer(WrappedConsumer):
    """Hands out only what is due; what is not is sent on its next hop."""

    broker: DelayingBroker

    def __init__(self, broker: DelayingBroker, inner: Consumer) -> None:
        super().__init__(broker, inner)
        self.drainer: Drainer | None = None

    def original(self, delivery: Delivery) -> Delivery:
        return delivery.original if type(delivery) is Postponed else delivery

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        clock = self.broker.clock
        deadline = clock.steady() + timeout
        left, rounds = timeout, ROUNDS
        while True:
            fetched = self.inner.receive(limit, left)
            if not any(carries(delivery.message, DELAY) for delivery in fetched):
                return fetched
            due = self._due(fetched)
            left = max(deadline - clock.steady(), 0.0)
            rounds -= left <= 0
            if due or not rounds:
                return due

    def _due(self, fetched: Sequence[Delivery]) -> list[Delivery]:
        now = self.broker.clock.now()
        due: list[Delivery] = []
        early: list[Delivery] = []
        for delivery in fetched:
            message = delivery.message
            if not carries(message, DELAY):
                due.append(delivery)
                continue
            delay = delay_of(message)
            if delay is not None and delay.eta > now:
                early.append(delivery)
                continue
            attempt = delivery.attempt + (delay.charged if delay else 0)
            due.append(
                Postponed(message=restored(message), receipt=delivery.receipt, attempt=attempt, original=delivery)
            )
        if early:
            self._send_on(early)
        return due

    def _send_on(self, early: Sequence[Delivery]) -> None:
        """Publish the next hop of each, and only then ack this one: between the two it is there twice, never not."""
        broker = self.broker
        pairs: list[tuple[Delivery, Message]] = []
        for delivery in early:
            delay = delay_of(delivery.message)
            assert delay is not None
            message = restored(delivery.message)
            pairs.append((delivery, broker.postpone(message, delay.eta, hop=delay.hop + 1, charged=delay.charged)))
        try:
            self._publish([message for _, message in pairs])
            failed: set[int] = set()
        except PublishError as error:
            failed = {id(failure.message) for failure in error.failures}
        except BrokerError:
            failed = {id(message) for _, message in pairs}
        sent = [delivery for delivery, message in pairs if id(message) not in failed]
        if sent:
            self.inner.ack(sent)
        if failed:
            again = [delivery for delivery, message in pairs if id(message) in failed]
            self.inner.requeue(again, delay=min(RETRY, broker.reach), charge=False)

    def _publish(self, messages: Sequence[Message]) -> None:
        store = self.broker.store()
        (self.broker.inner if store is None else store).publish(messages)

    def requeue(self, deliveries: Sequence[Delivery], *, delay: float = 0.0, charge: bool = True) -> None:
        broker = self.broker
        originals = [self.original(delivery) for delivery in deliveries]
        if delay <= broker.reach:
            self.inner.requeue(originals, delay=delay, charge=charge)
            return
        eta = broker.clock.now() + delay
        copies = []
        for delivery, original in zip(deliveries, originals, strict=True):
            known = delay_of(original.message)
            charged = delivery.attempt - (0 if charge else 1)
            copies.append(broker.postpone(delivery.message, eta, hop=known.hop + 1 if known else 2, charged=charged))
        self._publish(copies)
        self.inner.ack(originals)

    def close(self) -> None:
        super().close()
        if self.drainer is not None:
            self.drainer.close()


class DelayingSettler(WrappedSettler):
    """Settles through the broker's own settler; what the delay store is to keep goes there in between."""

    wrapper: DelayingBroker

    def settle(
        self,
        consumer: Consumer,
        results: Sequence[tuple[Result, Delivery]],
        messages: Sequence[Message],
        done: Sequence[Delivery],
        *,
        ttl: float | None,
    ) -> Sequence[Delivery]:
        if self.wrapper.delay_store is None or not any(message.eta is not None for message in messages):
            return super().settle(consumer, results, messages, done, ttl=ttl)
        direct, stored = self.wrapper.split(messages)
        if not stored:
            return super().settle(consumer, results, messages, done, ttl=ttl)
        # Two servers cannot do it in one step, but in the order that leaves an unsettled delivery until the last.
        lost = super().settle(consumer, results, [message for message, _ in direct], (), ttl=ttl)
        self.wrapper.keep_back(stored)
        late = super().settle(consumer, (), (), done, ttl=ttl)
        return list({id(delivery): delivery for delivery in (*lost, *late)}.values())
