"""One queue: what is ready, by priority and in order, and what is not due yet."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from umbel.spec import Message

LEVELS = 10
"""Priorities kept apart."""


class Entry:
    """One message for as long as the broker is responsible for it. `until` and `limit` are set by a claim."""

    __slots__ = ("alone", "charged", "lane", "level", "limit", "message", "seq", "since", "until")

    until: float
    """When the lease of the present claim ends, in steady time."""
    limit: float
    """Beyond which that lease cannot be extended."""

    def __init__(self, message: Message, lane: Lane, level: int, seq: int, since: float) -> None:
        self.message = message
        self.lane = lane
        self.level = level
        self.seq = seq
        """Its place in the queue: it had better come back to it."""
        self.since = since
        """When it could first have been received, in steady time."""
        self.charged = 0
        """Starts that count."""
        self.alone = False
        """Whether nobody knows what became of it the last time: then it shares a batch with nothing else."""


class Holder:
    """What one consumer holds."""

    __slots__ = ("held", "owner")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.held: dict[int, Entry] = {}
        """By claim, the one whose lease ends first in front: a claim that is not in here is not its own any more."""


class Lane:
    """The messages of one queue that nobody holds. Used under the hub's lock."""

    __slots__ = ("delayed", "falling", "levels", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels: tuple[deque[Entry], ...] = tuple(deque() for _ in range(LEVELS))
        self.falling = self.levels[::-1]
        """The same, the most urgent first."""
        self.delayed: list[tuple[float, int, Entry]] = []
        """A heap of (Unix time, place, entry)."""

    def hold_back(self, entry: Entry, eta: float) -> None:
        heappush(self.delayed, (eta, entry.seq, entry))

    def mature(self, now: float, steady: float, seq: Iterator[int]) -> None:
        """Move what is due by `now` behind what is ready, in the order in which it fell due."""
        delayed = self.delayed
        while delayed and delayed[0][0] <= now:
            eta, _, entry = heappop(delayed)
            entry.seq = next(seq)
            entry.since = steady - (now - eta)
            self.levels[entry.level].append(entry)

    def restore(self, entries: Iterable[Entry]) -> None:
        """Put back what had been taken, each where it was."""
        by_level: dict[int, list[Entry]] = {}
        for entry in entries:
            by_level.setdefault(entry.level, []).append(entry)
        for number, front in by_level.items():
            level = self.levels[number]
            last = max(front, key=_place).seq
            while level and level[0].seq < last:
                front.append(level.popleft())
            front.sort(key=_place, reverse=True)
            level.extendleft(front)

    def ready(self) -> int:
        return sum(map(len, self.levels))

    def oldest(self) -> float | None:
        """Since when the longest waiting has been ready."""
        return min((level[0].since for level in self.levels if level), default=None)

    def upcoming(self) -> Iterator[Message]:
        """The messages in the order in which they will come; those that are not due are last."""
        for level in self.falling:
            for entry in level:
                yield entry.message
        for _, _, entry in sorted(self.delayed, key=_due):
            yield entry.message

    def purge(self) -> int:
        count = self.ready()
        for level in self.levels:
            level.clear()
        return count


def _place(entry: Entry) -> int:
    return entry.seq


def _due(item: tuple[float, int, Entry]) -> tuple[float, int]:
    return item[:2]
