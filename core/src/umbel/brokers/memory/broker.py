"""The memory broker, and what it can be told to lack."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from umbel.brokers.memory.consumer import MemoryConsumer
from umbel.brokers.memory.hub import Hub
from umbel.brokers.memory.lane import LEVELS
from umbel.brokers.memory.settler import MemorySettler
from umbel.spec import (
    Broker,
    Capabilities,
    Failure,
    Message,
    PublishError,
    Queue,
    QueueStats,
    Unsupported,
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
        priorities = self.capabilities.priorities
        self.levels = tuple(priority * priorities // LEVELS for priority in range(LEVELS))
        """The level of each priority from 0 to 9; those beyond count as the nearest."""
        self.limits = self.capabilities.max_delay != FULL.max_delay or self.capabilities.max_body is not None
        self._fault = fault
        self._consumers: list[MemoryConsumer] = []
        self._subscriptions: list[Subscription] = []

    def enter(self, verb: str) -> None:
        """What comes before every verb. Not under the lock: in a forked process nobody would ever release it."""
        self.hub.check_process()
        if self._fault is not None:
            self._fault(verb)

    def leave(self, verb: str) -> None:
        """What comes after a verb that changed something."""
        if self._fault is not None:
            self._fault(f"{verb}: done")

    def declare(self, queues: Sequence[Queue]) -> None:
        self.enter("declare")
        with self.hub.lock:
            for queue in queues:
                self.hub.lane(queue.name)
                if queue.dead:
                    self.hub.lane(f"{queue.name}.dead")

    def publish(self, messages: Sequence[Message]) -> None:
        self.enter("publish")
        failures = self.refused(messages) if self.limits else []
        if failures:
            refused = {id(failure.message) for failure in failures}
            messages = [message for message in messages if id(message) not in refused]
        with self.hub.lock:
            self.hub.put(messages, self.levels)
        self.leave("publish")
        if failures:
            raise PublishError(failures)

    def refused(self, messages: Sequence[Message]) -> list[Failure]:
        """Those that are too large. Unsupported if one is held back for longer than this broker can."""
        limit, latest = self.capabilities.max_body, self.hub.clock.now() + self.capabilities.max_delay
        if any(message.eta is not None and message.eta > latest for message in messages):
            raise Unsupported(f"this broker holds a message back for {self.capabilities.max_delay:g} s at most")
        if limit is None:
            return []
        return [
            Failure(message, Unsupported(f"a body of {len(message.body)} bytes; the most is {limit}"), certain=True)
            for message in messages
            if len(message.body) > limit
        ]

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        self.enter("consume")
        consumer = MemoryConsumer(self, queues, owner, prefetch)
        with self.hub.lock:
            for name in queues:
                self.hub.lane(name)
            self.hub.consumers.append(consumer)
            self._consumers = [mine for mine in self._consumers if mine in self.hub.consumers]
            self._consumers.append(consumer)
        return consumer

    def renew(self, owner: str) -> None:
        if self.capabilities.held_by != "owner":
            super().renew(owner)
        self.enter("renew")
        hub = self.hub
        with hub.lock:
            hub.expire()
            if any(consumer.owner == owner for consumer in hub.consumers):
                hub.renewed[owner] = hub.clock.steady() + (self.capabilities.lease or 0.0)

    def release(self, owner: str, started: Collection[str]) -> None:
        if self.capabilities.held_by != "owner":
            super().release(owner, started)
        self.enter("release")
        with self.hub.lock:
            self.hub.expire()
            self.hub.release(owner, started)

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        if not self.capabilities.exact_stats:
            return super().stats(queues)
        self.enter("stats")
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
        self.enter("queues")
        with self.hub.lock:
            return list(self.hub.lanes)

    def browse(self, queue: str, limit: int) -> Sequence[Message]:
        self.enter("browse")
        with self.hub.lock:
            self.hub.tidy()
            lane = self.hub.lanes.get(queue)
            return list(islice(lane.upcoming(), limit)) if lane else []

    def purge(self, queue: str) -> int:
        self.enter("purge")
        with self.hub.lock:
            self.hub.tidy()
            lane = self.hub.lanes.get(queue)
            return lane.purge() if lane else 0

    def delete(self, queues: Sequence[str]) -> None:
        self.enter("delete")
        with self.hub.lock:
            self.hub.delete(queues)

    def broadcast(self, topic: str, body: bytes) -> None:
        if not self.capabilities.fan_out:
            super().broadcast(topic, body)
        self.enter("broadcast")
        self.hub.topics.send(topic, body)

    def subscribe(self, topics: Sequence[str]) -> Subscription:
        if not self.capabilities.fan_out:
            return super().subscribe(topics)
        self.enter("subscribe")
        subscription = self.hub.topics.listen(topics)
        self._subscriptions.append(subscription)
        return subscription

    def settler(self, backend: ResultBackend) -> Settler | None:
        return MemorySettler(self) if getattr(backend, "hub", None) is self.hub else None

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
