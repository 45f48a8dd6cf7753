"""Keeps deliveries ours where the broker wants each message extended: a thread extends all, in batches."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from umbel.brokers.wrapping import WrappedConsumer, Wrapper
from umbel.clock import SystemClock
from umbel.spec import BrokerError, Consumer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.clock import Clock
    from umbel.spec import Broker, Delivery

logger = logging.getLogger("umbel.broker")


class LeasingBroker(Wrapper):
    """Extends every unsettled delivery until it is settled, `max_lease` is reached, or this process is gone.

    Nothing is left to renew from outside, hence held_by "connection"; after a death the lease still has to end.
    """

    def __init__(self, inner: Broker, *, clock: Clock | None = None) -> None:
        super().__init__(inner, replace(inner.capabilities, held_by="connection"))
        self.clock: Clock = clock or SystemClock()

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        return self.keep(LeasingConsumer(self, self.inner.consume(queues, owner=owner, prefetch=prefetch)))


@dataclass(slots=True)
class _Held:
    delivery: Delivery
    since: float


class LeasingConsumer(WrappedConsumer):
    """Extends at a third of the lease, a little earlier at random so that workers do not move in step."""

    def __init__(self, broker: LeasingBroker, inner: Consumer) -> None:
        super().__init__(broker, inner)
        capabilities = broker.inner.capabilities
        self._clock = broker.clock
        self._lease = capabilities.lease or 0.0
        self._max_lease = capabilities.max_lease
        self._changed = threading.Condition()
        self._held: dict[Any, _Held] = {}
        self._lost: set[Any] = set()
        """Claims that are no longer ours and are still to be settled by somebody who does not know."""
        self._thread: threading.Thread | None = None

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        deliveries = self.inner.receive(limit, timeout)
        if deliveries:
            with self._changed:
                now = self._clock.steady()
                if not self._held:
                    self._changed.notify_all()
                for delivery in deliveries:
                    claim = _claim(delivery)
                    self._held[claim] = _Held(delivery, now)
                    self._lost.discard(claim)
                if self._thread is None and not self.closed:
                    self._thread = threading.Thread(target=self._run, name="umbel-leasing", daemon=True)
                    self._thread.start()
        return deliveries

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self.inner.ack(self._ours(deliveries))
        self.settled(deliveries, None)

    def requeue(self, deliveries: Sequence[Delivery], *, delay: float = 0.0, charge: bool = True) -> None:
        self.inner.requeue(self._ours(deliveries), delay=delay, charge=charge)
        self.settled(deliveries, None)

    def dead_letter(self, deliveries: Sequence[Delivery], reason: str) -> None:
        self.inner.dead_letter(self._ours(deliveries), reason)
        self.settled(deliveries, None)

    def extend(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        lost = self.inner.extend(deliveries)
        self._lose(lost)
        return lost

    def settled(self, deliveries: Sequence[Delivery], lost: Sequence[Delivery] | None) -> None:
        with self._changed:
            for delivery in deliveries:
                claim = _claim(delivery)
                self._held.pop(claim, None)
                self._lost.discard(claim)

    def _ours(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        # A broker whose default is to publish a copy would publish it for a message that somebody else holds.
        if not self._lost:
            return deliveries
        with self._changed:
            return [delivery for delivery in deliveries if _claim(delivery) not in self._lost]

    def _lose(self, deliveries: Sequence[Delivery]) -> None:
        with self._changed:
            # What was settled while it was being extended is not lost, whatever the broker says of it.
            lost = [claim for claim in map(_claim, deliveries) if self._held.pop(claim, None) is not None]
            self._lost.update(lost)
        if lost:
            logger.warning("%d messages were lost before they were settled; they are delivered again", len(lost))

    def _run(self) -> None:
        third = self._lease / 3
        tick = self._clock.steady() + third * _jitter()
        while True:
            with self._changed:
                while not self.closed and (not self._held or self._clock.steady() < tick):
                    if self._held:
                        self._clock.wait(self._changed, tick - self._clock.steady())
                    else:
                        self._changed.wait()
                        tick = self._clock.steady() + third * _jitter()
                if self.closed:
                    return
                now = self._clock.steady()
                # The youngest can wait for the next round: by then half of their lease is left at least.
                due = [held for held in self._held.values() if now - held.since >= third / 2]
                due = self._without_overdue(due, now)
            pause = self._extend(due)
            tick = now + (third if pause is None else pause) * _jitter()

    def _extend(self, due: list[_Held]) -> float | None:
        """Extend these; seconds to wait before trying again, if that failed."""
        try:
            lost = self.inner.extend([held.delivery for held in due]) if due else []
        except BrokerError as error:
            logger.warning("could not extend the leases of %d messages, trying again: %s", len(due), error)
            return self._lease / 12
        self._lose(lost)
        return None

    def _without_overdue(self, due: list[_Held], now: float) -> list[_Held]:
        """Those that can be held for another lease; the others are let go, and that is logged."""
        if self._max_lease is None:
            return due
        kept = []
        for held in due:
            if now - held.since + self._lease <= self._max_lease:
                kept.append(held)
                continue
            del self._held[_claim(held.delivery)]
            logger.warning(
                "message %s has been held for %.0f s of the %.0f s that this broker allows: it is not held any "
                "longer, and will be delivered again while it may still be running",
                held.delivery.message.id,
                now - held.since,
                self._max_lease,
            )
        return kept

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._held.clear()
            self._lost.clear()
            self._changed.notify_all()
        self.inner.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()


def _claim(delivery: Delivery) -> Any:
    receipt = delivery.receipt
    try:
        hash(receipt)
    except TypeError:
        return ("object", id(delivery))
    return receipt


def _jitter() -> float:
    return random.uniform(0.75, 1.0)
