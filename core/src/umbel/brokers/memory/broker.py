"""The memory broker, and what it can be told to lack."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from umbel.brokers.memory.consumer import MemoryConsumer
from umbel.brokers.memory.hub import Hub
from umbel.brokers.memory.lane import LEVELS
from umbel.brokers.memory.session import Session
from umbel.brokers.memory.settler import MemorySettler
from umbel.spec import (
    Broker,
    Capabilities,
    Message,
    PublishError,
    Queue,
    QueueStats,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from umbel.clock import Clock
    from umbel.spec import Consumer, ResultBackend, Settler, Subscription

LEASE = 30.0
"""Seconds until what an owner holds, and does not renew, comes back."""
FULL = Capabilities(
    held_by="owner",
    lease=LEASE,
    max_delay=float("inf"),
    delay_precision=0.1,
    priorities=LEVELS,
    attempts="exact",
    fan_out=True,
    ordered="queue",
    exact_stats=True,
    processes=False,
)
"""What the memory broker does when it is not told to lack anything."""


class MemoryBroker(Broker):
    """Queues in this process, gone with it. Brokers and result stores given one `hub` share everything.

    `capabilities` makes a broker that lacks what these do not promise, so that what the core adds can be tested.
    `fault` is called with the verb before each ("publish", "receive", "ack", ...) and with "<verb>: done" after
    what changes anything; what it raises, the caller gets, as from a server that fails before or after the deed.
    """

    def __init__(
        self,
        hub: Hub | None = None,
        *,
        clock: Clock | None = None,
        lease: float | None = None,
        capabilities: Capabilities | None = None,
        fault: Callable[[str], None] | None = None,
    ) -> None:
        if hub is not None and clock is not None:
            raise ValueError("a hub has its clock already: give one of the two")
        self.hub = hub or Hub(clock)
        self.capabilities = FULL if capabilities is None else _possible(capabilities)
        if lease is not None:
            self.capabilities = replace(self.capabilities, lease=lease)
        self._session = Session(self.hub, self.capabilities, fault)
        self._enter = self._session.enter
        self._consumers: list[MemoryConsumer] = []
        self._subscriptions: list[Subscription] = []

    def declare(self, queues: Sequence[Queue]) -> None:
        self._enter("declare")
        with self.hub.lock:
            for queue in queues:
                self.hub.lane(queue.name)
                if queue.dead:
                    self.hub.lane(f"{queue.name}.dead")

    def publish(self, messages: Sequence[Message]) -> None:
        session = self._session
        session.enter("publish")
        failures = session.refused(messages)
        if failures:
            refused = {id(failure.message) for failure in failures}
            messages = [message for message in messages if id(message) not in refused]
        with self.hub.lock:
            self.hub.put(messages, session.levels)
        session.leave("publish")
        if failures:
            raise PublishError(failures)

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        self._enter("consume")
        consumer = MemoryConsumer(self, self._session, queues, owner, prefetch)
        with self.hub.lock:
            for name in queues:
                self.hub.lane(name)
            self.hub.holders.append(consumer.holder)
        self._consumers = [mine for mine in self._consumers if not mine.closed]
        self._consumers.append(consumer)
        return consumer

    def renew(self, owner: str) -> None:
        if self.capabilities.held_by != "owner":
            super().renew(owner)
        self._enter("renew")
        hub = self.hub
        with hub.lock:
            hub.expire()
            if any(holder.owner == owner for holder in hub.holders):
                hub.renewed[owner] = hub.clock.steady() + (self.capabilities.lease or 0.0)

    def release(self, owner: str, started: Collection[str]) -> None:
        if self.capabilities.held_by != "owner":
            super().release(owner, started)
        self._enter("release")
        with self.hub.lock:
            self.hub.expire()
            self.hub.release(owner, started)

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        if not self.capabilities.exact_stats:
            return super().stats(queues)
        self._enter("stats")
        hub = self.hub
        with hub.lock:
            hub.tidy()
            steady, leased = hub.clock.steady(), hub.leased()
            counts = {}
            for name in queues:
                lane = hub.lanes.get(name)
                oldest = lane.oldest() if lane else None
                counts[name] = QueueStats(
                    ready=lane.ready() if lane else 0,
                    leased=leased.get(name, 0),
                    delayed=len(lane.delayed) if lane else 0,
                    oldest_age=None if oldest is None else max(steady - oldest, 0.0),
                )
            return counts

    def queues(self) -> Sequence[str]:
        self._enter("queues")
        with self.hub.lock:
            return list(self.hub.lanes)

    def browse(self, queue: str, limit: int) -> Sequence[Message]:
        self._enter("browse")
        with self.hub.lock:
            self.hub.tidy()
            lane = self.hub.lanes.get(queue)
            return list(islice(lane.upcoming(), limit)) if lane else []

    def purge(self, queue: str) -> int:
        self._enter("purge")
        with self.hub.lock:
            self.hub.tidy()
            lane = self.hub.lanes.get(queue)
            return lane.purge() if lane else 0

    def delete(self, queues: Sequence[str]) -> None:
        self._enter("delete")
        with self.hub.lock:
            self.hub.delete(queues)

    def broadcast(self, topic: str, body: bytes) -> None:
        if not self.capabilities.fan_out:
            super().broadcast(topic, body)
        self._enter("broadcast")
        self.hub.topics.send(topic, body)

    def subscribe(self, topics: Sequence[str]) -> Subscription:
        if not self.capabilities.fan_out:
            return super().subscribe(topics)
        self._enter("subscribe")
        subscription = self.hub.topics.listen(topics)
        self._subscriptions.append(subscription)
        return subscription

    def settler(self, backend: ResultBackend) -> Settler | None:
        return MemorySettler(self._session) if getattr(backend, "hub", None) is self.hub else None

    def close(self) -> None:
        if self.hub.foreign:
            return
        for consumer in self._consumers:
            consumer.close()
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()


def _possible(wanted: Capabilities) -> Capabilities:
    """The capabilities, unless they promise more than memory can do."""
    beyond = {
        "exchanges": wanted.exchanges,
        "deduplicates": wanted.deduplicates > 0,
        "durable": wanted.durable != "none",
        "processes": wanted.processes,
        "ordered": wanted.ordered == "key",
        "priorities": not 1 <= wanted.priorities <= LEVELS,
        "lease": (wanted.held_by == "connection") != (wanted.lease is None),
    }
    wrong = [name for name, is_wrong in beyond.items() if is_wrong]
    if wrong:
        raise ValueError(f"a memory broker cannot be made to promise this: {', '.join(wrong)}")
    return wanted
