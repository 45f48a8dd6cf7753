"""Results, messages and acks in one transaction, where broker and result store share a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.brokers.sqlite import queues
from umbel.brokers.sqlite import results as store
from umbel.brokers.sqlite.bells import SLOTS, WATCHER, marks
from umbel.brokers.sqlite.consumer import SqliteConsumer
from umbel.brokers.sqlite.fence import receipts
from umbel.spec import Consumer, Delivery, Message, PublishError, Result, Settler

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from umbel.brokers.sqlite.client import Client
    from umbel.brokers.sqlite.queues import Claims


class SqliteSettler(Settler):
    """One commit, one fsync."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def settle(
        self,
        consumer: Consumer,
        results: Sequence[tuple[Result, Delivery]],
        messages: Sequence[Message],
        done: Sequence[Delivery],
        *,
        ttl: float | None,
    ) -> Sequence[Delivery]:
        client, access = self._client, self._client.access
        if not isinstance(consumer, SqliteConsumer) or consumer.access.database is not access.database:
            raise TypeError(f"{consumer!r} is not a consumer of this file")
        now = access.clock.now()
        expires = None if ttl is None else now + ttl
        stored = [store.to_row(result, expires) for result, _ in results]
        rows, failures = client.encode(messages, now)
        if failures:
            raise PublishError(failures)
        owning = [delivery for _, delivery in results]
        ended, asked = queues.group(receipts(done)), queues.group(receipts([*owning, *done]))
        fence = consumer.fence

        spare = access.spare(len(stored))

        def work(connection: sqlite3.Connection) -> Claims | None:
            """The claims that are still ours; None if all are."""
            ours = fence.ours(connection, asked)
            if _count(ours) == _count(asked):
                store.put(connection, stored, now, spare)
                queues.put(connection, rows, now)
                queues.delete(connection, queues.end_leases(connection, ended))
                return None
            there = _leases(ours)
            store.put(connection, [row for row, d in zip(stored, owning, strict=True) if d.receipt in there], now)
            queues.put(connection, rows, now)
            left = {key: [id for id in ids if (*key, id) in there] for key, ids in ended.items()}
            queues.delete(connection, queues.end_leases(connection, left))
            return ours

        weight = sum(len(row.body) for row in rows) + sum(len(result.body) for result, _ in results)
        ours = access.write(work, weight=weight)
        consumer.settled(receipts(done))
        client.announce(rows, now)
        if stored and access.host.board.waiting():
            access.ring(WATCHER, marks(row[0] for row in stored), SLOTS)
        everything = [*owning, *done]
        if ours is None and len(receipts(everything)) == len(everything):
            return []
        there = _leases(asked if ours is None else ours)
        return list({id(d): d for d in everything if d.receipt not in there}.values())


def _count(claims: Claims) -> int:
    return sum(map(len, claims.values()))


def _leases(claims: Claims) -> set[tuple[int, int, int]]:
    return {(*key, id) for key, ids in claims.items() for id in ids}
