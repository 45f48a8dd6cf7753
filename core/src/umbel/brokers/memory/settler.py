"""Results, messages and acks in one step, where broker and result store share a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.brokers.memory.consumer import MemoryConsumer
from umbel.spec import Consumer, Delivery, Message, PublishError, Result, Settler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.brokers.memory.broker import MemoryBroker


class MemorySettler(Settler):
    """All under one lock, so that nobody sees half of it."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def settle(
        self,
        consumer: Consumer,
        results: Sequence[tuple[Result, Delivery]],
        messages: Sequence[Message],
        done: Sequence[Delivery],
        *,
        ttl: float | None,
    ) -> Sequence[Delivery]:
        broker = self._broker
        if not isinstance(consumer, MemoryConsumer) or consumer.hub is not broker.hub:
            raise TypeError(f"{consumer!r} is not a consumer of this broker")
        broker.enter("settle")
        failures = broker.refused(messages) if messages and broker.limits else []
        if failures:
            raise PublishError(failures)
        hub, held = broker.hub, consumer.held
        lost: list[Delivery] = []
        with hub.lock:
            hub.expire()
            ours: list[Result] = []
            for result, delivery in results:
                if delivery.receipt in held or consumer.owns(delivery):
                    ours.append(result)
                else:
                    lost.append(delivery)
            if ours:
                hub.results.put(ours, ttl, hub.clock.steady())
            if messages:
                hub.put(messages, broker.levels)
            pop = held.pop
            for delivery in done:
                if pop(delivery.receipt, None) is None and consumer.take(delivery) is None and delivery not in lost:
                    lost.append(delivery)
            hub.wake()
        broker.leave("settle")
        return lost
