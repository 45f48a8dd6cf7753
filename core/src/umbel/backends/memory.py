"""The result store that lives in this process: the reference of its contract, gone with the process."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from umbel.brokers.memory.hub import Hub
from umbel.spec import ResultBackend, Watcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.clock import Clock
    from umbel.spec import Arrival, Result

BACKLOG = 100_000
"""News that a watcher which does not read keeps; beyond it, only the latest state of each id."""


class MemoryBackend(ResultBackend):
    """Results in this process. Given a broker's `hub`, results and acks are settled in one step."""

    processes = False

    def __init__(self, hub: Hub | None = None, *, clock: Clock | None = None) -> None:
        if hub is not None and clock is not None:
            raise ValueError("a hub has its clock already: give one of the two")
        self.hub = hub or Hub(clock)
        self._watchers: list[MemoryWatcher] = []

    def store(self, results: Sequence[Result], *, ttl: float | None) -> None:
        hub = self.hub
        hub.check_process()
        with hub.lock:
            hub.results.put(results, ttl, hub.clock.steady())

    def fetch(self, ids: Sequence[str]) -> dict[str, Result]:
        hub = self.hub
        hub.check_process()
        with hub.lock:
            return hub.results.get(ids, hub.clock.steady())

    def forget(self, ids: Sequence[str]) -> None:
        self.hub.check_process()
        with self.hub.lock:
            self.hub.results.forget(ids)

    def arrive(self, arrivals: Sequence[Arrival], *, ttl: float) -> Sequence[int]:
        hub = self.hub
        hub.check_process()
        with hub.lock:
            return hub.results.arrive(arrivals, ttl, hub.clock.steady())

    def gather(self, barrier: str) -> dict[str, bytes]:
        hub = self.hub
        hub.check_process()
        with hub.lock:
            return hub.results.members(barrier, hub.clock.steady())

    def watch(self) -> Watcher:
        self.hub.check_process()
        watcher = MemoryWatcher(self.hub)
        self._watchers = [open_one for open_one in self._watchers if not open_one.closed]
        self._watchers.append(watcher)
        return watcher

    def close(self) -> None:
        if self.hub.foreign:
            return
        for watcher in self._watchers:
            watcher.close()
        self._watchers.clear()


class MemoryWatcher(Watcher):
    """Told of every state of the watched ids, in the order in which they came."""

    def __init__(self, hub: Hub) -> None:
        self.closed = False
        self._hub = hub
        self._changed = threading.Condition(hub.lock)
        self._ids: set[str] = set()
        self._backlog: deque[Result] = deque()

    def news(self, result: Result) -> None:
        """Called by the hub, its lock held."""
        if len(self._backlog) >= BACKLOG:
            self._backlog = deque({old.id: old for old in self._backlog}.values())
        self._backlog.append(result)
        self._changed.notify_all()

    def add(self, ids: Sequence[str]) -> None:
        hub = self._hub
        hub.check_process()
        with hub.lock:
            new = [id for id in dict.fromkeys(ids) if id not in self._ids]
            if self.closed:
                return
            self._ids.update(new)
            for id in new:
                hub.results.listeners.setdefault(id, []).append(self)
            for result in hub.results.get(new, hub.clock.steady()).values():
                self.news(result)

    def remove(self, ids: Sequence[str]) -> None:
        self._hub.check_process()
        with self._hub.lock:
            self._drop([id for id in ids if id in self._ids])

    def _drop(self, ids: Sequence[str]) -> None:
        listeners = self._hub.results.listeners
        gone = set(ids)
        self._ids -= gone
        for id in gone:
            listeners[id].remove(self)
            if not listeners[id]:
                del listeners[id]
        if any(result.id in gone for result in self._backlog):
            self._backlog = deque(result for result in self._backlog if result.id not in gone)

    def next(self, timeout: float) -> Sequence[Result]:
        clock = self._hub.clock
        self._hub.check_process()
        with self._hub.lock:
            deadline = clock.steady() + timeout
            while not self._backlog and not self.closed:
                left = deadline - clock.steady()
                if left <= 0:
                    return []
                clock.wait(self._changed, left)
            news = list(self._backlog)
            self._backlog.clear()
            return news

    def close(self) -> None:
        if self._hub.foreign:
            return
        with self._hub.lock:
            if not self.closed:
                self._drop(list(self._ids))
                self.closed = True
                self._changed.notify_all()
