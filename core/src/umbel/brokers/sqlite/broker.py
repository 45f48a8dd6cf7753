"""The broker on one SQLite file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from umbel.brokers.sqlite import owners
from umbel.brokers.sqlite.access import Access
from umbel.brokers.sqlite.client import Client
from umbel.brokers.sqlite.consumer import SqliteConsumer
from umbel.brokers.sqlite.fanout import SqliteSubscription, broadcast
from umbel.brokers.sqlite.inspection import Inspection
from umbel.brokers.sqlite.location import Location
from umbel.brokers.sqlite.messages import LEVELS, MAX_BODY
from umbel.brokers.sqlite.queues import put
from umbel.brokers.sqlite.settler import SqliteSettler
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
        self.client = Client(self.location, clock, boot)
        self.access = self.client.access
        self._inspection = Inspection(self.access)
        self._open: list[SqliteConsumer | SqliteSubscription] = []

    # --- sending -----------------------------------------------------------------------------------------------------

    def declare(self, queues: Sequence[Queue]) -> None:
        names = [name for queue in queues for name in (queue.name, f"{queue.name}.dead")[: 1 + queue.dead]]
        self._inspection.make(names)

    def publish(self, messages: Sequence[Message]) -> None:
        now = self.access.clock.now()
        rows, failures = self.client.encode(messages, now)
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
            self.client.announce(part, now)
        if failures:
            raise PublishError(failures)

    # --- consuming ---------------------------------------------------------------------------------------------------

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        self._inspection.make(queues)
        consumer = SqliteConsumer(self, self.client, queues, owner, prefetch)
        self._keep(consumer)
        return consumer

    def renew(self, owner: str) -> None:
        access = self.access

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            return owners.renew(connection, owner, access.clock.steady())

        owners.ring_for(access, access.write(work, durable=False))
        self.client.reaper.round()

    def release(self, owner: str, started: Collection[str]) -> None:
        access, ids = self.access, frozenset(started)
        owners.ring_for(access, access.write(lambda connection: owners.release(connection, owner, ids)))

    def settler(self, backend: ResultBackend) -> Settler | None:
        access = getattr(backend, "access", None)
        return (
            SqliteSettler(self.client)
            if isinstance(access, Access) and access.database is self.access.database
            else None
        )

    # --- looking, and clearing out -----------------------------------------------------------------------------------

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        self.client.reaper.round()
        return self._inspection.stats(queues)

    def queues(self) -> Sequence[str]:
        return self._inspection.names()

    def browse(self, queue: str, limit: int) -> Sequence[Message]:
        self.client.reaper.round()
        return self._inspection.browse(queue, limit)

    def purge(self, queue: str) -> int:
        self.client.reaper.round()
        return self._inspection.purge(queue)

    def delete(self, queues: Sequence[str]) -> None:
        self._inspection.delete(queues)

    # --- fan-out -----------------------------------------------------------------------------------------------------

    def broadcast(self, topic: str, body: bytes) -> None:
        broadcast(self.access, topic, body)

    def subscribe(self, topics: Sequence[str]) -> Subscription:
        subscription = SqliteSubscription(self.access, topics)
        self._keep(subscription)
        return subscription

    def _keep(self, new: SqliteConsumer | SqliteSubscription) -> None:
        """To be closed with us."""
        self._open = [*(thing for thing in self._open if not thing.closed), new]

    def close(self) -> None:
        for thing in self._open:
            thing.close()
        self._open.clear()
        self.access.close()
