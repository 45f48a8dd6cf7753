"""Priorities for a broker that keeps fewer levels apart: what has been fetched is handed out by priority."""

from __future__ import annotations

import threading
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from umbel.brokers.wrapping import WrappedConsumer, Wrapper
from umbel.clock import SystemClock
from umbel.spec import BrokerError, Consumer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.clock import Clock
    from umbel.spec import Broker, Delivery

LOOKAHEAD = 16
"""Deliveries that are fetched beyond what was asked for, to choose from."""
HOLD = 0.2
"""Seconds that those are kept from other workers when nobody asks again."""
PLAIN = 200
"""Deliveries without a priority after which none is fetched beyond what was asked for, until one has a priority."""


class SortingBroker(Wrapper):
    """Hands out by priority what it has fetched. A message overtakes only those that were fetched with it or before.

    That is why `capabilities.priorities` still says what the broker itself keeps apart.
    """

    def __init__(self, inner: Broker, *, lookahead: int = LOOKAHEAD, clock: Clock | None = None) -> None:
        super().__init__(inner)
        self.lookahead = lookahead
        self.clock: Clock = clock or SystemClock()

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        return self.keep(SortingConsumer(self, self.inner.consume(queues, owner=owner, prefetch=prefetch), prefetch))


class SortingConsumer(WrappedConsumer):
    """Keeps a few deliveries back, and gives them back to the broker when they are not asked for soon."""

    def __init__(self, broker: SortingBroker, inner: Consumer, prefetch: int) -> None:
        super().__init__(broker, inner)
        self._clock = broker.clock
        # Where giving back means publishing a copy, choosing would cost more than it brings.
        gives_back = not _publishes_copies(inner)
        self._lookahead = min(broker.lookahead, max(prefetch - 1, 0)) if gives_back else 0
        self._heap: list[tuple[int, int, Delivery]] = []
        self._count = 0
        self._plain = 0
        """Deliveries since the last one that had a priority: after many there is nothing to choose from."""
        self._changed = threading.Condition()
        self._deadline: float | None = None
        """When what is kept goes back; None while `receive` is at work or nothing is kept."""
        self._thread: threading.Thread | None = None

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        if limit <= 0:
            return []
        with self._changed:
            self._deadline = None
            kept = len(self._heap)
        wanted = limit + (self._lookahead if self._plain < PLAIN else 0) - kept
        fetched = self.inner.receive(wanted, 0.0 if kept else timeout) if wanted > 0 else []
        if any(map(_priority, fetched)):
            self._plain = 0
        else:
            self._plain += len(fetched)
            if not kept and len(fetched) <= limit:
                return fetched
        with self._changed:
            for delivery in fetched:
                self._count += 1
                heappush(self._heap, (-_priority(delivery), self._count, delivery))
            batch = [] if self.closed else self._next(limit)
            if self._heap and not self.closed:
                self._deadline = self._clock.steady() + HOLD
                self._watch()
            return batch

    def _next(self, limit: int) -> list[Delivery]:
        batch: list[Delivery] = []
        while self._heap and len(batch) < limit:
            # What came back may have killed its worker; it shares a batch with nothing.
            alone = self._heap[0][2].attempt > 1
            if alone and batch:
                break
            batch.append(heappop(self._heap)[2])
            if alone:
                break
        return batch

    def _watch(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._give_back, name="umbel-sorting", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _give_back(self) -> None:
        while True:
            with self._changed:
                while not self.closed and (self._deadline is None or self._clock.steady() < self._deadline):
                    if self._deadline is None:
                        self._changed.wait()
                    else:
                        self._clock.wait(self._changed, self._deadline - self._clock.steady())
                if self.closed:
                    return
                kept, self._heap = self._heap, []
                self._deadline = None
            try:
                self.inner.requeue([delivery for _, _, delivery in sorted(kept, key=_place)], charge=False)
            except BrokerError:
                # Still ours, and held as long as this process lives: they had better not be forgotten.
                with self._changed:
                    self._heap += kept
                    heapify(self._heap)
                    self._deadline = self._clock.steady() + HOLD

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._heap.clear()
            self._changed.notify_all()
        # What was kept is unsettled, so that the inner consumer gives it back with the rest.
        self.inner.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()


def _publishes_copies(consumer: Consumer) -> bool:
    while isinstance(consumer, WrappedConsumer):
        consumer = consumer.inner
    return type(consumer).requeue is Consumer.requeue


def _priority(delivery: Delivery) -> int:
    priority: object = delivery.message.priority
    # A stranger's message may have anything here.
    return priority if isinstance(priority, int) else 0


def _place(item: tuple[int, int, Delivery]) -> int:
    return item[1]
