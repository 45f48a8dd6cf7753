"""Broadcasts: what is sent to whoever listens at that moment."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from umbel.spec import Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.clock import Clock

BACKLOG = 10_000
"""Broadcasts that a subscriber which does not read keeps; older ones are dropped."""


class Topics:
    """Who listens to what."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._listeners: dict[str, list[MemorySubscription]] = {}

    def send(self, topic: str, body: bytes) -> None:
        with self._lock:
            listeners = list(self._listeners.get(topic, ()))
        for listener in listeners:
            listener.deliver(topic, body)

    def listen(self, topics: Sequence[str]) -> MemorySubscription:
        subscription = MemorySubscription(self, topics)
        with self._lock:
            for topic in subscription.topics:
                self._listeners.setdefault(topic, []).append(subscription)
        return subscription

    def listeners(self) -> int:
        """How many listen."""
        with self._lock:
            return len({id(one) for listeners in self._listeners.values() for one in listeners})

    def leave(self, subscription: MemorySubscription) -> None:
        with self._lock:
            for topic in subscription.topics:
                listeners = self._listeners.get(topic, [])
                if subscription in listeners:
                    listeners.remove(subscription)
                if not listeners:
                    self._listeners.pop(topic, None)


class MemorySubscription(Subscription):
    """One listener's stream of broadcasts."""

    def __init__(self, topics: Topics, names: Sequence[str]) -> None:
        self.topics = tuple(dict.fromkeys(names))
        self._hub = topics
        self._changed = threading.Condition()
        self._backlog: deque[tuple[str, bytes]] = deque(maxlen=BACKLOG)
        self._closed = False

    def deliver(self, topic: str, body: bytes) -> None:
        with self._changed:
            self._backlog.append((topic, body))
            self._changed.notify()

    def receive(self, timeout: float) -> Sequence[tuple[str, bytes]]:
        clock = self._hub.clock
        deadline = clock.steady() + timeout
        with self._changed:
            while not self._backlog and not self._closed:
                left = deadline - clock.steady()
                if left <= 0:
                    return []
                clock.wait(self._changed, left)
            news = list(self._backlog)
            self._backlog.clear()
            return [] if self._closed else news

    def close(self) -> None:
        self._hub.leave(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
