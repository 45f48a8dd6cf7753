"""Looking into the queues without taking part, and clearing them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.brokers.sqlite import queues
from umbel.brokers.sqlite.messages import LEVELS, to_message
from umbel.brokers.sqlite.queues import SLICE
from umbel.brokers.sqlite.statements import lists
from umbel.spec import Message, QueueStats

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from umbel.brokers.sqlite.access import Access


class Inspection:
    """What the broker answers about its queues. Large ones are cleared a slice at a time."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def make(self, names: Sequence[str]) -> None:
        """Create the queues that do not exist."""

        def missing(connection: sqlite3.Connection) -> list[str]:
            return [name for name in names if queues.number(connection, name) is None]

        def work(connection: sqlite3.Connection) -> None:
            for name in missing(connection):
                queues.make(connection, name)

        if self._access.read(missing):
            self._access.write(work)

    def names(self) -> list[str]:
        """All queues, in the order of their making."""

        def work(connection: sqlite3.Connection) -> list[str]:
            return [name for (name,) in connection.execute("SELECT name FROM queue ORDER BY id").fetchall()]

        names: list[str] = self._access.read(work)
        return names

    def stats(self, names: Sequence[str]) -> dict[str, QueueStats]:
        """Exact counts, of one moment."""
        now = self._access.clock.now()

        def work(connection: sqlite3.Connection) -> dict[str, QueueStats]:
            connection.execute("BEGIN")
            try:
                leased = dict(
                    connection.execute(
                        "SELECT m.queue, count(*) FROM lease l JOIN message m ON m.id = l.id GROUP BY m.queue"
                    ).fetchall()
                )
                return {name: self._stats(connection, name, leased, now) for name in names}
            finally:
                connection.execute("COMMIT")

        counts: dict[str, QueueStats] = self._access.read(work)
        return counts

    def _stats(self, connection: sqlite3.Connection, name: str, leased: dict[int, int], now: float) -> QueueStats:
        queue, due = queues.number(connection, name), int(now * 1e6)
        if queue is None:
            return QueueStats(ready=0, leased=0, delayed=0)
        row = connection.execute(
            "SELECT (SELECT count(*) FROM ready WHERE queue = ?1),"
            " (SELECT count(*) FROM delayed WHERE queue = ?1 AND due <= ?2),"
            " (SELECT count(*) FROM delayed WHERE queue = ?1 AND due > ?2),"
            " (SELECT min(due) FROM delayed WHERE queue = ?1 AND due <= ?2)",
            (queue, due),
        ).fetchone()
        ready, matured, delayed, oldest = row
        # The first of each level, rather than a look at all places.
        places = [] if oldest is None else [oldest]
        for rank in range(1 - LEVELS, 1):
            first = connection.execute(
                "SELECT place FROM ready WHERE queue = ? AND rank = ? ORDER BY place LIMIT 1", (queue, rank)
            ).fetchone()
            places += first or ()
        age = max(now - min(places) / 1e6, 0.0) if places else None
        return QueueStats(ready=ready + matured, leased=leased.get(queue, 0), delayed=delayed, oldest_age=age)

    def browse(self, name: str, limit: int) -> list[Message]:
        """The next `limit` messages; those that are not due are last."""

        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            queue = queues.number(connection, name)
            columns = "SELECT m.uid, m.props, m.body FROM"
            rows = connection.execute(
                f"{columns} ready r CROSS JOIN message m ON m.id = r.id WHERE r.queue = ?"
                " ORDER BY r.rank, r.place, r.id LIMIT ?",
                (queue, limit),
            ).fetchall()
            rows += connection.execute(
                f"{columns} delayed d CROSS JOIN message m ON m.id = d.id WHERE d.queue = ?"
                " ORDER BY d.due, d.id LIMIT ?",
                (queue, limit - len(rows)),
            ).fetchall()
            return rows

        return [to_message(name, *row) for row in self._access.read(work)] if limit > 0 else []

    def purge(self, name: str) -> int:
        """Delete what is ready by now; how many."""
        now = self._access.clock.now()

        def work(connection: sqlite3.Connection) -> int:
            queue = queues.number(connection, name)
            if queue is None:
                return 0
            queues.mature(connection, queue, now)
            rows = connection.execute(
                "SELECT rank, place, id FROM ready WHERE queue = ? ORDER BY rank, place, id LIMIT ?", (queue, SLICE)
            ).fetchall()
            if rows:
                connection.execute(
                    "DELETE FROM ready WHERE queue = ? AND (rank, place, id) <= (?, ?, ?)", (queue, *rows[-1])
                )
                queues.delete(connection, [id for _, _, id in rows])
            return len(rows)

        total = 0
        while True:
            count: int = self._access.write(work)
            total += count
            if count < SLICE:
                return total

    def delete(self, names: Sequence[str]) -> None:
        """Delete the queues with all they hold, leased messages included."""
        for name in names:
            while not self._access.write(lambda connection, name=name: _delete_some(connection, name)):  # type: ignore[misc]
                pass


def _delete_some(connection: sqlite3.Connection, name: str) -> bool:
    """Delete a slice of the queue; the queue itself, and True, once it is small."""
    queue = queues.number(connection, name)
    if queue is None:
        return True
    for table, order in (("ready", "rank, place, id"), ("delayed", "due, id")):
        rows = connection.execute(
            f"SELECT {order} FROM {table} WHERE queue = ? ORDER BY {order} LIMIT ?", (queue, SLICE)
        ).fetchall()
        if rows:
            marks = ", ".join("?" * len(rows[-1]))
            connection.execute(f"DELETE FROM {table} WHERE queue = ? AND ({order}) <= ({marks})", (queue, *rows[-1]))
            queues.delete(connection, [row[-1] for row in rows])
        if len(rows) == SLICE:
            return False
    leased = connection.execute(
        "SELECT l.owner, l.claim, l.id FROM lease l JOIN message m ON m.id = l.id WHERE m.queue = ?", (queue,)
    ).fetchall()
    for part in lists([row[2] for row in leased]):
        connection.execute(f"DELETE FROM message WHERE id IN {part[0]}", part[1])
    queues.end_leases(connection, queues.group(map(queues.Lease._make, leased)))
    connection.execute("DELETE FROM queue WHERE id = ?", (queue,))
    return True
