"""The result store in one SQLite file; results and acks leave together where the broker is on the same file."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from umbel.brokers.sqlite import results as table
from umbel.brokers.sqlite.access import Access
from umbel.brokers.sqlite.bells import SLOTS, WATCHER, marks
from umbel.brokers.sqlite.location import Location
from umbel.brokers.sqlite.owners import Seat
from umbel.brokers.sqlite.reaper import Reaper
from umbel.spec import BackendError, Result, ResultBackend, Watcher

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from umbel.brokers.sqlite.bells import Bell
    from umbel.brokers.sqlite.faults import StorageError
    from umbel.clock import Clock
    from umbel.spec import Arrival

SLICE = 2000
"""Results that one transaction stores, and changes that one look of a watcher reads."""
FEW = 128
"""Ids that are looked up one by one; for more, a watcher reads all changes."""
LOOK = 5.0
"""Seconds after which a watcher looks although nobody rang: a process may be killed between commit and ring."""


class SqliteBackend(ResultBackend):
    """Results in a file, for all processes of one host."""

    def __init__(
        self, location: Location | str | os.PathLike[str], *, clock: Clock | None = None, boot: str | None = None
    ) -> None:
        self.location = location if isinstance(location, Location) else Location.of(location)
        self.access = Access(self.location, clock, _backend_error, boot)
        self._watchers: list[SqliteWatcher] = []

    def store(self, results: Sequence[Result], *, ttl: float | None) -> None:
        access = self.access
        now = access.clock.now()
        rows = [table.to_row(result, None if ttl is None else now + ttl) for result in results]
        for start in range(0, len(rows), SLICE):
            part = rows[start : start + SLICE]
            spare = access.spare(len(part))
            access.write(
                lambda connection, part=part, spare=spare: table.put(connection, part, now, spare),  # type: ignore[misc]
                weight=sum(len(row[2]) for row in part),
            )
            if access.host.board.waiting():
                access.ring(WATCHER, marks(row[0] for row in part), SLOTS)

    def fetch(self, ids: Sequence[str]) -> dict[str, Result]:
        now = self.access.clock.now()
        found = self.access.read(lambda connection: table.get(connection, ids, now))
        return {id: result for id, (_, result) in found.items()}

    def forget(self, ids: Sequence[str]) -> None:
        if ids:
            self.access.write(lambda connection: table.forget(connection, ids))

    def arrive(self, arrivals: Sequence[Arrival], *, ttl: float) -> Sequence[int]:
        now = self.access.clock.now()
        sizes: list[int] = self.access.write(
            lambda connection: table.arrive(connection, arrivals, now, ttl),
            weight=sum(len(arrival.value) for arrival in arrivals),
        )
        return sizes

    def gather(self, barrier: str) -> dict[str, bytes]:
        now = self.access.clock.now()
        values: dict[str, bytes] = self.access.read(lambda connection: table.gather(connection, barrier, now))
        return values

    def watch(self) -> Watcher:
        watcher = SqliteWatcher(self.access)
        self._watchers = [*(other for other in self._watchers if not other.closed), watcher]
        return watcher

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.close()
        self._watchers.clear()
        self.access.close()


class SqliteWatcher(Watcher):
    """Told of every state of the watched ids, in the order in which they came, unless it looks seconds too late."""

    def __init__(self, access: Access) -> None:
        self.closed = False
        self._pid = os.getpid()
        self._access = access
        self._reaper = Reaper(access)
        self._lock = threading.Lock()
        """Held to change what is watched."""
        self._looking = threading.RLock()
        """Held during `next`, so that `close` frees nothing under it."""
        self._seen: dict[str, int] = {}
        """Watched ids, and the last change of each that was told."""
        self._fresh: list[str] = []
        """Those of which nobody has looked yet what is known."""
        self._replaced = False
        self._seat = Seat(access, "", WATCHER)
        self._last: int = access.read(table.newest)

    def add(self, ids: Sequence[str]) -> None:
        with self._lock:
            new = [id for id in dict.fromkeys(ids) if id not in self._seen]
            self._seen.update(dict.fromkeys(new, 0))
            self._fresh += new
        if new:
            self._seat.ring()

    def remove(self, ids: Sequence[str]) -> None:
        with self._lock:
            for id in ids:
                self._seen.pop(id, None)

    def next(self, timeout: float) -> Sequence[Result]:
        deadline = time.monotonic() + timeout
        with self._looking:
            armed: Bell | None = None
            try:
                while not self.closed:
                    news = self._look()
                    left = deadline - time.monotonic()
                    if news or left <= 0:
                        return news
                    bell = self._seat.anew() if self._replaced else self._seat.bell
                    if armed is not bell:
                        # Look once more after this: whoever commits from now on rings.
                        armed = bell
                        self._seat.listen(marks(self._watched()))
                        armed.arm()
                    else:
                        armed.wait(min(left, LOOK))
                        armed.disarm()
                        armed = None
                        self._reaper.round()
                return []
            finally:
                if armed is not None:
                    armed.disarm()

    def _watched(self) -> list[str]:
        with self._lock:
            return list(self._seen)

    def _look(self) -> list[Result]:
        with self._lock:
            fresh = self._fresh.copy()
        news: list[tuple[int, Result]] = []
        if fresh:
            now = self._access.clock.now()
            news += self._access.read(lambda connection: table.get(connection, fresh, now)).values()
            with self._lock:
                del self._fresh[: len(fresh)]
        # It may be read more than once before it succeeds: only then we are further.
        changes, self._last = self._access.read(self._changes)
        news += changes
        # By number: what was stored since an id was added comes as it came, though the last of it is known already.
        news.sort(key=_number)
        told: list[Result] = []
        with self._lock:
            for seq, result in news:
                if seq > self._seen.get(result.id, seq):
                    self._seen[result.id] = seq
                    told.append(result)
        return told

    def _changes(self, connection: sqlite3.Connection) -> tuple[list[tuple[int, Result]], int]:
        """The states since the last look, and the number of the newest."""
        newest, last = table.newest(connection), self._last
        if newest < last:
            # There is another file now; all that is in it is news.
            last = 0
            with self._lock:
                self._seen = dict.fromkeys(self._seen, 0)
        self._replaced = not self._seat.is_known(connection)
        watched = self._watched()
        if len(watched) <= FEW:
            return table.at(connection, table.changed_among(connection, last, watched)), newest
        found: list[tuple[int, Result]] = []
        ids = set(watched)
        while last < newest:
            changes = table.changed(connection, last, SLICE)
            if not changes:
                break
            last = changes[-1][0]
            found += table.at(connection, [seq for seq, id in changes if id in ids])
        return found, max(last, newest)

    def close(self) -> None:
        if self.closed or self._pid != os.getpid():
            return
        self.closed = True
        self._seat.ring()
        with self._looking:
            self._seat.leave()


def _number(change: tuple[int, Result]) -> int:
    return change[0]


def _backend_error(fault: StorageError) -> BackendError:
    return BackendError(str(fault))
