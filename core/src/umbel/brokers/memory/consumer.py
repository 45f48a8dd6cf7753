"""One child's stream of deliveries from the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.brokers.memory.hub import NEVER, RECHECK
from umbel.brokers.memory.lane import Entry
from umbel.spec import Consumer, Delivery, Unsupported, buried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.brokers.memory.broker import MemoryBroker


class MemoryConsumer(Consumer):
    """Made by `MemoryBroker.consume`."""

    broker: MemoryBroker

    def __init__(self, broker: MemoryBroker, queues: Sequence[str], owner: str, prefetch: int) -> None:
        self.broker = broker
        self.hub = broker.hub
        self.owner = owner
        self.held: dict[int, Entry] = {}
        """By claim, the one whose lease ends first in front: a claim that is not in here is no longer ours."""
        self._queues = list(dict.fromkeys(queues))
        self._prefetch = prefetch
        self._closed = False
        capabilities = broker.capabilities
        self._lease = NEVER if capabilities.lease is None else capabilities.lease
        self._max_lease = capabilities.max_lease
        self._counts = capabilities.attempts != "no"
        self._max_delay = capabilities.max_delay

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        hub, clock = self.hub, self.hub.clock
        self.broker.enter("receive")
        with hub.lock:
            steady = clock.steady()
            deadline = steady + timeout
            while not self._closed:
                if steady >= hub.next_end:
                    hub.expire()
                room = min(limit, self._prefetch - len(self.held))
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
        hub, held, counts = self.hub, self.held, self._counts
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
                    self.held[delivery.receipt].limit = until - self._lease + self._max_lease
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

    def take(self, delivery: Delivery) -> Entry | None:
        """The entry if it is still ours, which it no longer is then. Called with the lock held."""
        entry = self.held.pop(delivery.receipt, None)
        if entry is None:
            for sibling in self.hub.consumers:
                # The same owner may have consumed anew; its claims are its own whichever consumer made them.
                if sibling.owner == self.owner and delivery.receipt in sibling.held:
                    return sibling.held.pop(delivery.receipt)
        return entry

    def owns(self, delivery: Delivery) -> bool:
        """Whether the delivery is still ours. Called with the lock held."""
        return delivery.receipt in self.held or any(
            sibling.owner == self.owner and delivery.receipt in sibling.held for sibling in self.hub.consumers
        )

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self.broker.enter("ack")
        hub, pop = self.hub, self.held.pop
        with hub.lock:
            hub.expire()
            for delivery in deliveries:
                if pop(delivery.receipt, None) is None:
                    self.take(delivery)
            hub.wake()
        self.broker.leave("ack")

    def requeue(self, deliveries: Sequence[Delivery], *, delay: float = 0.0, charge: bool = True) -> None:
        self.broker.enter("requeue")
        if delay > self._max_delay:
            raise Unsupported(f"a delay of {delay:g} s: this broker holds back for {self._max_delay:g} s at most")
        hub = self.hub
        with hub.lock:
            hub.expire()
            entries = [entry for entry in map(self.take, deliveries) if entry is not None]
            for entry in entries:
                entry.charged += charge
                entry.alone = False
            if delay > 0:
                due = hub.clock.now() + delay
                for entry in entries:
                    if hub.lanes.get(entry.lane.name) is entry.lane:
                        entry.lane.hold_back(entry, due)
                hub.wake()
            else:
                hub.give_back(entries)
        self.broker.leave("requeue")

    def dead_letter(self, deliveries: Sequence[Delivery], reason: str) -> None:
        self.broker.enter("dead_letter")
        hub = self.hub
        with hub.lock:
            hub.expire()
            at = hub.clock.now()
            dead = []
            for delivery in deliveries:
                entry = self.take(delivery)
                if entry is not None:
                    # The bytes that came, not what a caller may have made of them.
                    original = Delivery(message=entry.message, receipt=None, attempt=delivery.attempt)
                    dead.append(buried(original, reason, at))
            hub.put(dead, self.broker.levels)
        self.broker.leave("dead_letter")

    def extend(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        if self.broker.capabilities.held_by != "message":
            return super().extend(deliveries)
        self.broker.enter("extend")
        hub, lost = self.hub, []
        with hub.lock:
            hub.expire()
            until = hub.clock.steady() + self._lease
            for delivery in deliveries:
                entry = self.held.pop(delivery.receipt, None)
                if entry is None:
                    lost.append(delivery)
                    continue
                entry.until = until if self._max_lease is None else min(until, entry.limit)
                self.held[delivery.receipt] = entry
            if self._max_lease is not None:
                # Those at their limit end before the others although they were extended with them.
                self.held = dict(sorted(self.held.items(), key=lambda item: item[1].until))
                hub.next_end = min([hub.next_end, *(entry.until for entry in self.held.values())])
        return lost

    def close(self) -> None:
        hub = self.hub
        if hub.foreign:
            return
        with hub.lock:
            if not self._closed:
                self._closed = True
                hub.consumers.remove(self)
                entries = list(self.held.values())
                self.held.clear()
                hub.give_back(entries)
                hub.forget_owner(self.owner)
                hub.changed.notify_all()
