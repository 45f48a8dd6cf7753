"""Broadcasts: what is sent to whoever listens at that moment, in any process of the host."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from umbel.brokers.sqlite.bells import SLOTS, SUBSCRIBER, marks
from umbel.brokers.sqlite.owners import Seat
from umbel.spec import Subscription

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from umbel.brokers.sqlite.access import Access
    from umbel.brokers.sqlite.bells import Bell

BACKLOG = 10_000
"""Broadcasts that one `receive` returns at most."""
TTL = 60.0
"""Seconds that a broadcast waits for a slow subscriber."""
LOOK = 5.0
"""Seconds after which a subscriber looks although nobody rang: a process may be killed between commit and ring."""


def broadcast(access: Access, topic: str, body: bytes) -> None:
    """Send to every present subscriber; nothing is written if there is none."""
    names = marks((topic,))
    if not access.host.board.present(SUBSCRIBER, names):
        return
    now = access.clock.now()

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO broadcast (topic, body, sent) VALUES (?, ?, ?)", (topic, body, now))
        oldest = connection.execute("SELECT sent FROM broadcast ORDER BY id LIMIT 1").fetchone()[0]
        if oldest <= now - TTL:
            connection.execute("DELETE FROM broadcast WHERE sent <= ?", (now - TTL,))

    access.write(work, durable=False, weight=len(body))
    access.ring(SUBSCRIBER, names, SLOTS)


class SqliteSubscription(Subscription):
    """One listener's stream of broadcasts."""

    def __init__(self, access: Access, topics: Sequence[str]) -> None:
        self._access = access
        self._pid = os.getpid()
        self._topics = list(dict.fromkeys(topics))
        self.closed = False
        self._replaced = False
        self._receiving = threading.RLock()
        places = ",".join("?" * len(self._topics))
        self._sql = (
            f"SELECT id, topic, body FROM broadcast WHERE id > ? AND topic IN ({places}) ORDER BY id LIMIT {BACKLOG}"
        )
        self._seat = Seat(access, "", SUBSCRIBER)
        self._seat.listen(marks(self._topics))
        self._last: int = access.read(_newest)

    def receive(self, timeout: float) -> Sequence[tuple[str, bytes]]:
        deadline = time.monotonic() + timeout
        with self._receiving:
            armed: Bell | None = None
            try:
                while not self.closed:
                    rows = self._access.read(self._look)
                    if rows:
                        return [(topic, body) for _, topic, body in rows]
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
                    bell = self._seat.anew() if self._replaced else self._seat.bell
                    if armed is not bell:
                        # Look once more after this: whoever commits from now on rings.
                        armed = bell
                        armed.arm()
                    else:
                        armed.wait(min(left, LOOK))
                        armed.disarm()
                        armed = None
                return []
            finally:
                if armed is not None:
                    armed.disarm()

    def _look(self, connection: sqlite3.Connection) -> list[tuple[int, str, bytes]]:
        if _newest(connection) < self._last:
            self._last = 0  # there is another file now
        self._replaced = not self._seat.is_known(connection)
        rows = connection.execute(self._sql, (self._last, *self._topics)).fetchall()
        if rows:
            self._last = rows[-1][0]
        return rows

    def close(self) -> None:
        if self.closed or self._pid != os.getpid():
            return
        self.closed = True
        self._seat.ring()
        with self._receiving:
            self._seat.leave()


def _newest(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'broadcast'").fetchone()
    return row[0] if row else 0
