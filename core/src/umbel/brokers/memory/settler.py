"""Results, messages and acks in one step, where broker and result store share a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.brokers.memory.consumer import MemoryConsumer
from umbel.spec import Consumer, Delivery, Message, PublishError, Result, Settler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.brokers.memory.session import Session


class MemorySettler(Settler):
    """All under one lock, so that nobody sees half of it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def settle(
        self,
        consumer: Consumer,
        results: Sequence[tuple[Result, Delivery]],
        messages: Sequence[Message],
        done: Sequence[Delivery],
        *,
        ttl: float | None,
    ) -> Sequence[Delivery]:
        session = self._session
        hub = session.hub
        if not isinstance(consumer, MemoryConsumer) or consumer.hub is not hub:
            raise TypeError(f"{consumer!r} is not a consumer of this broker")
        session.enter("settle")
        failures = session.refused(messages)
        if failures:
            raise PublishError(failures)
        holder = consumer.holder
        held = holder.held
        lost: list[Delivery] = []
        with hub.lock:
            hub.expire()
            ours: list[Result] = []
            for result, delivery in results:
                if delivery.receipt in held or hub.owns(holder, delivery.receipt):
                    ours.append(result)
                else:
                    lost.append(delivery)
            if ours:
                hub.results.put(ours, ttl, hub.clock.steady())
            if messages:
                hub.put(messages, session.levels)
            pop = held.pop
            for delivery in done:
                token = delivery.receipt
                if pop(token, None) is None and hub.take(holder, token) is None and delivery not in lost:
                    lost.append(delivery)
            hub.wake()
        session.leave("settle")
        return lost
