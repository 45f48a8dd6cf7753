"""What all wrappers have in common: a broker around a broker that hands everything on, and a consumer likewise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.spec import Broker, Consumer, Failure, PublishError, Settler

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from umbel.spec import Capabilities, Delivery, Message, Queue, QueueStats, Result, ResultBackend, Subscription

Rewritten = list[tuple["Message", "Message"]]
"""Each message as the caller made it, beside one that goes to the inner broker in its stead."""


class Wrapper(Broker):
    """Hands everything on. A wrapper overrides what it adds, and says in `capabilities` what is true then."""

    def __init__(self, inner: Broker, capabilities: Capabilities | None = None) -> None:
        self.inner = inner
        self.capabilities = inner.capabilities if capabilities is None else capabilities
        self._consumers: list[WrappedConsumer] = []

    def rewrite(self, messages: Sequence[Message]) -> Rewritten | None:
        """What goes to the inner broker instead; None: the messages as they are."""
        return None

    def publish(self, messages: Sequence[Message]) -> None:
        rewritten = self.rewrite(messages)
        if rewritten is None:
            self.inner.publish(messages)
        else:
            publish_rewritten(self.inner, rewritten)

    def unsent(self, messages: Sequence[Message]) -> None:
        """Called with rewritten messages of which it is certain that the inner broker does not have them."""

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        return self.inner.consume(queues, owner=owner, prefetch=prefetch)

    def settler(self, backend: ResultBackend) -> Settler | None:
        inner = self.inner.settler(backend)
        return None if inner is None else WrappedSettler(self, inner)

    def declare(self, queues: Sequence[Queue]) -> None:
        self.inner.declare(queues)

    def renew(self, owner: str) -> None:
        self.inner.renew(owner)

    def release(self, owner: str, started: Collection[str]) -> None:
        self.inner.release(owner, started)

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        return self.inner.stats(queues)

    def queues(self) -> Sequence[str]:
        return self.inner.queues()

    def browse(self, queue: str, limit: int) -> Sequence[Message]:
        return self.inner.browse(queue, limit)

    def purge(self, queue: str) -> int | None:
        return self.inner.purge(queue)

    def delete(self, queues: Sequence[str]) -> None:
        self.inner.delete(queues)

    def broadcast(self, topic: str, body: bytes) -> None:
        self.inner.broadcast(topic, body)

    def subscribe(self, topics: Sequence[str]) -> Subscription:
        return self.inner.subscribe(topics)

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.close()
        self._consumers.clear()
        self.inner.close()

    def keep(self, consumer: WrappedConsumer) -> WrappedConsumer:
        """The consumer, which `close` closes too."""
        self._consumers = [mine for mine in self._consumers if not mine.closed]
        self._consumers.append(consumer)
        return consumer


class WrappedConsumer(Consumer):
    """Hands everything on. A wrapper's consumer overrides what it adds."""

    def __init__(self, broker: Broker, inner: Consumer) -> None:
        self.broker = broker
        self.inner = inner
        self.closed = False

    def original(self, delivery: Delivery) -> Delivery:
        """The inner consumer's delivery, of which the caller has been given this one."""
        return delivery

    def settled(self, deliveries: Sequence[Delivery], lost: Sequence[Delivery] | None) -> None:
        """Called with what has been acked or moved; `lost` are those that were no longer ours, None: unknown."""

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        return self.inner.receive(limit, timeout)

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self.inner.ack([self.original(delivery) for delivery in deliveries])
        self.settled(deliveries, None)

    def requeue(self, deliveries: Sequence[Delivery], *, delay: float = 0.0, charge: bool = True) -> None:
        self.inner.requeue([self.original(delivery) for delivery in deliveries], delay=delay, charge=charge)

    def dead_letter(self, deliveries: Sequence[Delivery], reason: str) -> None:
        self.inner.dead_letter([self.original(delivery) for delivery in deliveries], reason)

    def extend(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        originals = [self.original(delivery) for delivery in deliveries]
        lost = {id(delivery) for delivery in self.inner.extend(originals)}
        return [delivery for delivery, inner in zip(deliveries, originals, strict=True) if id(inner) in lost]

    def close(self) -> None:
        self.closed = True
        self.inner.close()


class WrappedSettler(Settler):
    """Settles through the inner broker's settler: messages rewritten, deliveries turned back to its own."""

    def __init__(self, wrapper: Wrapper, inner: Settler) -> None:
        self.wrapper = wrapper
        self.inner = inner

    def settle(
        self,
        consumer: Consumer,
        results: Sequence[tuple[Result, Delivery]],
        messages: Sequence[Message],
        done: Sequence[Delivery],
        *,
        ttl: float | None,
    ) -> Sequence[Delivery]:
        rewritten = self.wrapper.rewrite(messages) if messages else None
        outgoing = messages if rewritten is None else [inner for _, inner in rewritten]
        try:
            return self._settle(consumer, results, outgoing, done, ttl)
        except PublishError as error:
            if rewritten is None:
                raise
            if all(failure.certain for failure in error.failures):
                # All of it or nothing: the others have not been sent either.
                self.wrapper.unsent([inner for _, inner in rewritten])
            raise translated(error, rewritten) from error

    def _settle(
        self,
        consumer: Consumer,
        results: Sequence[tuple[Result, Delivery]],
        messages: Sequence[Message],
        done: Sequence[Delivery],
        ttl: float | None,
    ) -> Sequence[Delivery]:
        if not isinstance(consumer, WrappedConsumer) or consumer.broker is not self.wrapper:
            # Not every wrapper has a consumer of its own; one that has none gives out the inner broker's.
            return self.inner.settle(consumer, results, messages, done, ttl=ttl)
        original = consumer.original
        pairs = [(result, original(delivery)) for result, delivery in results]
        gone = self.inner.settle(consumer.inner, pairs, messages, [original(one) for one in done], ttl=ttl)
        lost: list[Delivery] = []
        if gone:
            ids = {id(delivery) for delivery in gone}
            mine = {id(one): one for one in [*(delivery for _, delivery in results), *done]}
            lost = [one for one in mine.values() if id(original(one)) in ids]
        consumer.settled(done, lost)
        return lost


def carries(message: Message, header: str) -> bool:
    """Whether the message has the header; a stranger's message may have anything in place of its headers."""
    headers: object = message.headers
    return type(headers) is dict and header in headers


def publish_rewritten(broker: Broker, rewritten: Rewritten) -> None:
    """Publish the second of each pair; a failure names the first, which is the one that the caller knows."""
    try:
        broker.publish([inner for _, inner in rewritten])
    except PublishError as error:
        raise translated(error, rewritten) from error


def translated(error: PublishError, rewritten: Rewritten) -> PublishError:
    """The same error in terms of the caller's own messages."""
    mine = {id(inner): message for message, inner in rewritten}
    return PublishError([Failure(mine.get(id(f.message), f.message), f.error, f.certain) for f in error.failures])
