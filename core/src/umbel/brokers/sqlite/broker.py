"""The broker on one SQLite file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from umbel.brokers.sqlite import owners
from umbel.brokers.sqlite.access import Access
from umbel.brokers.sqlite.bells import SLOTS
from umbel.brokers.sqlite.consumer import SqliteConsumer
from umbel.brokers.sqlite.fanout import SqliteSubscription, broadcast
from umbel.brokers.sqlite.inspection import Inspection
from umbel.brokers.sqlite.location import Location
from umbel.brokers.sqlite.messages import LEVELS, MAX_BODY, Row, to_row
from umbel.brokers.sqlite.queues import put
from umbel.brokers.sqlite.reaper import Reaper
from umbel.brokers.sqlite.settler import SqliteSettler
from umbel.brokers.sqlite.upkeep import Upkeep
from umbel.spec import (
    Broker,
    BrokerError,
    Capabilities,
    Failure,
    Fatal,
    Message,
    PublishError,
    Queue,
    QueueStats,
)

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Collection, Sequence

    from umbel.brokers.sqlite.faults import StorageError
    from umbel.clock import Clock
    from umbel.spec import Consumer, ResultBackend, Settler, Subscription

SLICE = 2000
"""Messages that one transaction takes: a larger publish lets other processes have their turn."""
CAPABILITIES = Capabilities(
    held_by="owner",
    max_delay=float("inf"),
    delay_precision=1.0,
    priorities=LEVELS,
    attempts="exact",
    fan_out=True,
    ordered="queue",
    max_body=MAX_BODY,
    exact_stats=True,
    durable="disk",
)


class SqliteBroker(Broker):
    """Queues in a file, for all processes of one host. Result stores on the same file settle with it in one commit."""

    def __init__(
        self, location: Location | str | os.PathLike[str], *, clock: Clock | None = None, boot: str | None = None
    ) -> None:
        self.location = location if isinstance(location, Location) else Location.of(location)
        self.capabilities = replace(
            CAPABILITIES, lease=self.location.lease, durable="process" if self.location.fast else "disk"
        )
        self.access = Access(self.location, clock, _broker_error, boot)
        self.reaper = Reaper(self.access)
        self.upkeep = Upkeep(self.access)
        self._inspection = Inspection(self.access)
        self._open: list[SqliteConsumer | SqliteSubscription] = []

    # --- sending -----------------------------------------------------------------------------------------------------

    def declare(self, queues: Sequence[Queue]) -> None:
        names = [name for queue in queues for name in (queue.name, f"{queue.name}.dead")[: 1 + queue.dead]]
        self._inspection.make(names)

    def publish(self, messages: Sequence[Message]) -> None:
        now = self.access.clock.now()
        rows, failures = self.encode(messages, now)
        if failures:
            bad = {id(failure.message) for failure in failures}
            messages = [message for message in messages if id(message) not in bad]
        for start in range(0, len(rows), SLICE):
            part = rows[start : start + SLICE]
            try:
                self.access.write(
                    lambda connection, part=part: put(connection, part, now),  # type: ignore[misc]
                    weight=sum(len(row.body) for row in part),
                )
            except BrokerError as exc:
                if start == 0 and not failures and isinstance(exc, Fatal):
                    raise
                fault = exc.__cause__
                certain = getattr(fault, "certain", True)
                taken = SLICE if not certain else 0
                failures += [Failure(message, exc, certain=False) for message in messages[start : start + taken]]
                failures += [Failure(message, exc, certain=True) for message in messages[start + taken :]]
                break
            self.announce(part, now)
        if failures:
            raise PublishError(failures)

    def encode(self, messages: Sequence[Message], now: float) -> tuple[list[Row], list[Failure]]:
        """The rows of those that can be kept, and the others with the reason."""
        rows: list[Row] = []
        failures: list[Failure] = []
        for message in messages:
            try:
                rows.append(to_row(message, now))
            except (TypeError, ValueError) as exc:
                failures.append(Failure(message, exc, certain=True))
        return rows, failures

    def announce(self, rows: Sequence[Row], now: float) -> None:
        """Wake as many consumers as there are messages for them."""
        if not self.access.host.board.waiting():
            return
        counts: dict[str, int] = {}
        for row in rows:
            if row.due is None:
                counts[row.queue] = counts.get(row.queue, 0) + 1
            elif row.due / 1e6 - now <= owners.SOON:
                # Whoever takes its time may be busy when it comes: then all should know it.
                counts[row.queue] = SLOTS
        owners.ring_for(self.access, counts)

    # --- consuming ---------------------------------------------------------------------------------------------------

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        self._inspection.make(queues)
        consumer = SqliteConsumer(self, queues, owner, prefetch)
        self._open.append(consumer)
        return consumer

    def forget(self, closed: SqliteConsumer | SqliteSubscription) -> None:
        """It need not be closed with us."""
        if closed in self._open:
            self._open.remove(closed)

    def renew(self, owner: str) -> None:
        access = self.access

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            return owners.renew(connection, owner, access.clock.steady())

        owners.ring_for(access, access.write(work, durable=False))
        self.reaper.round()

    def release(self, owner: str, started: Collection[str]) -> None:
        access, ids = self.access, frozenset(started)
        owners.ring_for(access, access.write(lambda connection: owners.release(connection, owner, ids)))

    def settler(self, backend: ResultBackend) -> Settler | None:
        access = getattr(backend, "access", None)
        return SqliteSettler(self) if isinstance(access, Access) and access.database is self.access.database else None

    # --- looking, and clearing out -----------------------------------------------------------------------------------

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        self.reaper.round()
        return self._inspection.stats(queues)

    def queues(self) -> Sequence[str]:
        return self._inspection.names()

    def browse(self, queue: str, limit: int) -> Sequence[Message]:
        self.reaper.round()
        return self._inspection.browse(queue, limit)

    def purge(self, queue: str) -> int:
        self.reaper.round()
        return self._inspection.purge(queue)

    def delete(self, queues: Sequence[str]) -> None:
        self._inspection.delete(queues)

    # --- fan-out -----------------------------------------------------------------------------------------------------

    def broadcast(self, topic: str, body: bytes) -> None:
        broadcast(self.access, topic, body)

    def subscribe(self, topics: Sequence[str]) -> Subscription:
        subscription = SqliteSubscription(self.access, topics)
        self._open.append(subscription)
        return subscription

    def close(self) -> None:
        for thing in self._open.copy():
            thing.close()
        self._open.clear()
        self.access.close()


def _broker_error(fault: StorageError) -> BrokerError:
    return Fatal(str(fault)) if fault.fatal else BrokerError(str(fault))
