"""What brokers, result stores and consumers of one name share: one lock, and all that it guards."""

from __future__ import annotations

import os
import threading
from itertools import count
from typing import TYPE_CHECKING

from umbel.brokers.memory.fanout import Topics
from umbel.brokers.memory.lane import Entry, Holder, Lane
from umbel.brokers.memory.results import ResultTable
from umbel.clock import SystemClock
from umbel.spec import Fatal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from umbel.clock import Clock
    from umbel.spec import Message

NEVER = float("inf")
RECHECK = 1.0
"""Seconds after which a wait for an eta looks at the wall clock again, which somebody may have set."""


class Hub:
    """The server that a memory broker would have. All but `check_process` and `foreign` is for who holds the lock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.waiting = 0
        """Consumers that wait on `changed`."""
        self.lanes: dict[str, Lane] = {}
        self.holders: list[Holder] = []
        """One for each open consumer."""
        self.renewed: dict[str, float] = {}
        """Owner to the end of the lease that its last renewal gave to all that it held then."""
        self.tokens = count(1)
        self.places = count(1)
        self.next_end = NEVER
        """No lease ends before."""
        self.topics = Topics(self.clock)
        self.results = ResultTable()
        self._pid = os.getpid()

    def check_process(self) -> None:
        """Refuse to be used in a process that was forked from the maker's: what it sees is a copy, its lock stuck."""
        if os.getpid() != self._pid:
            raise Fatal("a memory broker cannot be used in another process than its maker's; use sqlite:// for that")

    @property
    def foreign(self) -> bool:
        """Whether this is a forked process, where there is nothing to close."""
        return os.getpid() != self._pid

    def lane(self, name: str) -> Lane:
        """The queue of that name, created if need be."""
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = Lane(name)
        return lane

    def put(self, messages: Sequence[Message], levels: Sequence[int]) -> None:
        """Take the messages. `levels` says for each priority at which level it is kept."""
        places = self.places
        since = self.clock.steady()
        now = self.clock.now()
        name: str | None = None
        for message in messages:
            if message.queue != name:
                name = message.queue
                lane = self.lane(name)
                lowest = lane.levels[0].append
            priority = message.priority
            if priority is None and message.eta is None:
                lowest(Entry(message, lane, 0, next(places), since))
                continue
            level = 0 if priority is None else levels[min(max(int(priority), 0), len(levels) - 1)]
            entry = Entry(message, lane, level, next(places), since)
            if message.eta is not None and message.eta > now:
                lane.hold_back(entry, message.eta)
            else:
                lane.levels[level].append(entry)
        self.wake()

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self.waiting:
            self.changed.notify_all()

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Make them ready again, each at its place."""
        by_lane: dict[Lane, list[Entry]] = {}
        for entry in entries:
            by_lane.setdefault(entry.lane, []).append(entry)
        for lane, mine in by_lane.items():
            lane.restore(mine)
        self.wake()

    def expire(self) -> None:
        """Give back what nobody has renewed in time. All count as started: nobody can tell."""
        steady = self.clock.steady()
        if steady < self.next_end:
            return
        lost: list[Entry] = []
        self.next_end = NEVER
        for holder in self.holders:
            held, renewed = holder.held, self.renewed.get(holder.owner, 0.0)
            while held:
                token, entry = next(iter(held.items()))
                until = max(entry.until, renewed)
                if until > steady:
                    self.next_end = min(self.next_end, until)
                    break
                del held[token]
                entry.charged += 1
                entry.alone = True
                lost.append(entry)
        if lost:
            self.give_back(lost)

    def tidy(self) -> None:
        """Do everything that time has made due, for an answer that is exact."""
        self.expire()
        now, steady = self.clock.now(), self.clock.steady()
        for lane in self.lanes.values():
            if lane.delayed:
                lane.mature(now, steady, self.places)

    def leased(self) -> dict[str, int]:
        """How many messages of each queue are held."""
        counts: dict[str, int] = {}
        for holder in self.holders:
            for entry in holder.held.values():
                counts[entry.lane.name] = counts.get(entry.lane.name, 0) + 1
        return counts

    def take(self, holder: Holder, token: int) -> Entry | None:
        """What was claimed by that token, which is settled with this; None if it is not the holder's any more."""
        entry = holder.held.pop(token, None)
        if entry is None:
            # The same owner may have consumed anew; its claims are its own whichever consumer made them.
            for sibling in self.holders:
                if sibling.owner == holder.owner and token in sibling.held:
                    return sibling.held.pop(token)
        return entry

    def owns(self, holder: Holder, token: int) -> bool:
        """Whether what was claimed by that token is still this owner's."""
        return token in holder.held or any(
            sibling.owner == holder.owner and token in sibling.held for sibling in self.holders
        )

    def delete(self, names: Iterable[str]) -> None:
        """Delete the queues with all that is in them, also what is held."""
        for name in names:
            lane = self.lanes.pop(name, None)
            for holder in self.holders if lane else ():
                for token in [token for token, entry in holder.held.items() if entry.lane is lane]:
                    del holder.held[token]
        self.wake()

    def release(self, owner: str, started: Collection[str]) -> None:
        """Give back all that the owner held; only what it had started is charged."""
        back: list[Entry] = []
        for holder in self.holders:
            if holder.owner == owner:
                for entry in holder.held.values():
                    if entry.message.id in started:
                        entry.charged += 1
                        # Several may have been running; which of them killed the process shows when each comes alone.
                        entry.alone = True
                    back.append(entry)
                holder.held.clear()
        self.give_back(back)

    def forget_owner(self, owner: str) -> None:
        """Keep nothing of an owner that has no consumer any more."""
        if not any(holder.owner == owner for holder in self.holders):
            self.renewed.pop(owner, None)
