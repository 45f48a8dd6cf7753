"""Results and barriers as the hub keeps them. Used under the hub's lock, so that settling is one step."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from umbel.spec import Arrival, Result

NEVER = float("inf")


class Listener(Protocol):
    """Who watches ids."""

    def news(self, result: Result) -> None:
        """Called with the lock held, for each state in the order in which it came."""


class _Barrier:
    __slots__ = ("members", "until")

    def __init__(self) -> None:
        self.members: dict[str, bytes] = {}
        self.until = 0.0


class ResultTable:
    """What a result store keeps. Times are steady."""

    def __init__(self) -> None:
        self.listeners: dict[str, list[Listener]] = {}
        self._results: dict[str, tuple[Result, float]] = {}
        self._barriers: dict[str, _Barrier] = {}
        self._ends: dict[float, deque[tuple[float, str]]] = {}
        """By ttl: the ends of what was stored with it, which come in the order in which it was stored."""

    def put(self, results: Iterable[Result], ttl: float | None, now: float) -> None:
        """Store what is not refused, and tell who watches."""
        self.sweep(now)
        known, listeners = self._results, self.listeners
        until = NEVER if ttl is None else now + ttl
        ends = None if ttl is None else self._ends.setdefault(ttl, deque())
        for result in results:
            id = result.id
            row = known.get(id)
            if row is not None and not _replaces(result, row[0]):
                continue
            known[id] = (result, until)
            if ends is not None:
                ends.append((until, id))
            if listeners and id in listeners:
                for listener in listeners[id]:
                    listener.news(result)

    def get(self, ids: Iterable[str], now: float) -> dict[str, Result]:
        self.sweep(now)
        known = self._results
        return {id: known[id][0] for id in ids if id in known}

    def forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._results.pop(name, None)
            self._barriers.pop(name, None)

    def arrive(self, arrivals: Sequence[Arrival], ttl: float, now: float) -> list[int]:
        """Each barrier's size after each arrival."""
        self.sweep(now)
        sizes = []
        until = now + ttl
        ends = self._ends.setdefault(ttl, deque())
        for arrival in arrivals:
            barrier = self._barriers.get(arrival.barrier)
            if barrier is None:
                barrier = self._barriers[arrival.barrier] = _Barrier()
            barrier.members.setdefault(arrival.member, arrival.value)
            if barrier.until != until:
                barrier.until = until
                ends.append((until, arrival.barrier))
            sizes.append(len(barrier.members))
        return sizes

    def members(self, name: str, now: float) -> dict[str, bytes]:
        self.sweep(now)
        barrier = self._barriers.get(name)
        return dict(barrier.members) if barrier else {}

    def sweep(self, now: float) -> None:
        """Delete what has outlived its ttl."""
        emptied = []
        for ttl, ends in self._ends.items():
            while ends and ends[0][0] <= now:
                _, name = ends.popleft()
                # Both are asked for their end: what was stored again meanwhile has a later one, and an entry for it.
                row, barrier = self._results.get(name), self._barriers.get(name)
                if row is not None and row[1] <= now:
                    del self._results[name]
                if barrier is not None and barrier.until <= now:
                    del self._barriers[name]
            if not ends:
                emptied.append(ttl)
        for ttl in emptied:
            del self._ends[ttl]

    def __len__(self) -> int:
        return len(self._results) + len(self._barriers) + len(self._ends) + sum(map(len, self._ends.values()))


def _replaces(new: Result, old: Result) -> bool:
    if new.generation != old.generation:
        return new.generation > old.generation
    return not old.terminal and new.attempt >= old.attempt
