"""Leaving nothing behind: what has expired is deleted, the file shrinks again, the log is copied into it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from umbel.brokers.sqlite import results
from umbel.brokers.sqlite.fanout import TTL

if TYPE_CHECKING:
    import sqlite3

    from umbel.brokers.sqlite.access import Access

EVERY = (4.0, 6.0)
"""Seconds between two rounds of a waiting consumer, at random."""
SLICE = 1000
"""Rows deleted by one transaction."""
SPARE_PAGES = 256
"""Free pages that are left in the file: 1 MiB."""
PAGES = 2000
"""Pages given back to the file system at a time: 8 MiB, in about 15 ms."""
QUIET_LOG = 64
"""Pages in the log that are worth copying when there is nothing else to do."""


class Upkeep:
    """One broker's; done by whoever has nothing else to do, a little at a time."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._next = time.monotonic() + random.uniform(*EVERY)
        self._replaced = 0
        """The last change before the former round: watchers have had the time to see what it replaced."""

    def idle(self) -> None:
        """Do a round, unless one was a moment ago."""
        if time.monotonic() >= self._next:
            self.round()

    def round(self) -> None:
        """Delete a slice of all that has expired, and shrink the file by some pages, if there is anything to do."""
        access = self._access
        more = False
        expired, free = access.read(self._look)
        if expired:
            more = access.write(self._delete, durable=False)
        if free > 0:
            access.session.shrink(min(free, PAGES))
            more |= free > PAGES
        self._next = time.monotonic() + (0.0 if more else random.uniform(*EVERY))
        if not more and access.host.board.log_pages >= QUIET_LOG:
            access.session.checkpoint()

    def _look(self, connection: sqlite3.Connection) -> tuple[bool, int]:
        """Whether something has expired, and how many pages are free beyond those to spare."""
        now = self._access.clock.now()
        expired = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM result WHERE expires <= ?1) OR EXISTS (SELECT 1 FROM past)"
            " OR EXISTS (SELECT 1 FROM barrier WHERE expires <= ?1)"
            " OR EXISTS (SELECT 1 FROM broadcast WHERE sent <= ?2)",
            (now, now - TTL),
        ).fetchone()[0]
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        return bool(expired), int(free) - SPARE_PAGES

    def _delete(self, connection: sqlite3.Connection) -> bool:
        """Whether there may be more to delete."""
        now = self._access.clock.now()
        more = results.sweep(connection, now, SLICE) == SLICE
        more |= results.sweep_barriers(connection, now, SLICE) == SLICE
        connection.execute("DELETE FROM past WHERE seq <= ?", (self._replaced,))
        self._replaced = results.newest(connection)
        connection.execute("DELETE FROM broadcast WHERE sent <= ?", (now - TTL,))
        return more
