"""One child's stream of deliveries from the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.brokers.memory.hub import NEVER, RECHECK
from umbel.brokers.memory.lane import Holder
from umbel.spec import Consumer, Delivery, Unsupported, buried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.brokers.memory.session import Session
    from umbel.spec import Broker


class MemoryConsumer(Consumer):
    """Made by `MemoryBroker.consume`."""

    def __init__(self, broker: Broker, session: Session, queues: Sequence[str], owner: str, prefetch: int) -> None:
        self.broker = broker
        self.hub = session.hub
        self.holder = Holder(owner)
        self.closed = False
        self._session = session
        self._queues = list(dict.fromkeys(queues))
        self._prefetch = prefetch
        capabilities = session.capabilities
        self._lease = NEVER if capabilities.lease is None else capabilities.lease
        self._max_lease = capabilities.max_lease
        self._counts = capabilities.attempts != "no"
        self._max_delay = capabilities.max_delay

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        hub, clock = self.hub, self.hub.clock
        self._session.enter("receive")
        with hub.lock:
            steady = clock.steady()
            deadline = steady + timeout
            while not self.closed:
                if steady >= hub.next_end:
                    hub.expire()
                room = min(limit, self._prefetch - len(self.holder.held))
                batch = self._claim(room, steady) if room > 0 else []
                if batch or limit <= 0 or steady >= deadline:
                    return batch
                hub.waiting += 1
                try:
                    clock.wait(hub.changed, self._patience(steady, deadline))
                finally:
                    hub.waiting -= 1
                steady = clock.steady()
        return []

    def _claim(self, room: int, steady: float) -> list[Delivery]:
        hub, held, counts = self.hub, self.holder.held, self._counts
        until = steady + self._lease
        batch: list[Delivery] = []
        for name in self._queues:
            lane = hub.lanes.get(name)
            if lane is None:
                continue
            if lane.delayed:
                lane.mature(hub.clock.now(), steady, hub.places)
            for level in lane.falling:
                while level:
                    entry = level[0]
                    if entry.alone and batch:
                        return self._claimed(batch, until)
                    del level[0]
                    token = next(hub.tokens)
                    entry.until = until
                    held[token] = entry
                    attempt = entry.charged + 1 if counts else 1
                    batch.append(Delivery(message=entry.message, receipt=token, attempt=attempt))
                    if entry.alone or len(batch) == room:
                        return self._claimed(batch, until)
        return self._claimed(batch, until)

    def _claimed(self, batch: list[Delivery], until: float) -> list[Delivery]:
        if batch:
            self.hub.next_end = min(self.hub.next_end, until)
            if self._max_lease is not None:
                for delivery in batch:
                    self.holder.held[delivery.receipt].limit = until - self._lease + self._max_lease
            if len(self._queues) > 1:
                # Whose turn it was goes last, so that a queue which is never empty does not starve the others.
                self._queues.append(self._queues.pop(0))
        return batch

    def _patience(self, steady: float, deadline: float) -> float:
        """Seconds until time alone can have changed anything."""
        hub = self.hub
        until = min(deadline, hub.next_end)
        etas = [lane.delayed[0][0] for name in self._queues if (lane := hub.lanes.get(name)) and lane.delayed]
        if etas:
            until = min(until, steady + min(max(min(etas) - hub.clock.now(), 0.0), RECHECK))
        return max(until - steady, 0.0)

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self._session.enter("ack")
        hub, pop = self.hub, self.holder.held.pop
        with hub.lock:
            hub.expire()
            for delivery in deliveries:
                if pop(delivery.receipt, None) is None:
                    hub.take(self.holder, delivery.receipt)
            hub.wake()
        self._session.leave("ack")

    def requeue(self, deliveries: Sequence[Delivery], *, delay: float = 0.0, charge: bool = True) -> None:
        self._session.enter("requeue")
        if delay > self._max_delay:
            raise Unsupported(f"a delay of {delay:g} s: this broker holds back for {self._max_delay:g} s at most")
        hub = self.hub
        with hub.lock:
            hub.expire()
            taken = [hub.take(self.holder, delivery.receipt) for delivery in deliveries]
            entries = [entry for entry in taken if entry is not None]
            for entry in entries:
                entry.charged += charge
                entry.alone = False
            if delay > 0:
                due = hub.clock.now() + delay
                for entry in entries:
                    entry.lane.hold_back(entry, due)
                hub.wake()
            else:
                hub.give_back(entries)
        self._session.leave("requeue")

    def dead_letter(self, deliveries: Sequence[Delivery], reason: str) -> None:
        self._session.enter("dead_letter")
        hub = self.hub
        with hub.lock:
            hub.expire()
            at = hub.clock.now()
            dead = []
            for delivery in deliveries:
                entry = hub.take(self.holder, delivery.receipt)
                if entry is not None:
                    # The bytes that came, not what a caller may have made of them.
                    original = Delivery(message=entry.message, receipt=None, attempt=delivery.attempt)
                    dead.append(buried(original, reason, at))
            hub.put(dead, self._session.levels)
        self._session.leave("dead_letter")

    def extend(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        if self._session.capabilities.held_by != "message":
            return super().extend(deliveries)
        self._session.enter("extend")
        hub, lost = self.hub, []
        with hub.lock:
            hub.expire()
            until = hub.clock.steady() + self._lease
            for delivery in deliveries:
                entry = self.holder.held.pop(delivery.receipt, None)
                if entry is None:
                    lost.append(delivery)
                    continue
                entry.until = until if self._max_lease is None else min(until, entry.limit)
                self.holder.held[delivery.receipt] = entry
            if self._max_lease is not None:
                # Those at their limit end before the others although they were extended with them.
                in_order = sorted(self.holder.held.items(), key=lambda item: item[1].until)
                self.holder.held.clear()
                self.holder.held.update(in_order)
                hub.next_end = min([hub.next_end, *(entry.until for _, entry in in_order)])
        return lost

    def close(self) -> None:
        hub = self.hub
        if hub.foreign:
            return
        with hub.lock:
            if not self.closed:
                self.closed = True
                hub.holders.remove(self.holder)
                entries = list(self.holder.held.values())
                self.holder.held.clear()
                hub.give_back(entries)
                hub.forget_owner(self.holder.owner)
