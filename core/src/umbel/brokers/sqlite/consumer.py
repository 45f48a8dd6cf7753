"""One child's stream of deliveries from the file."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from umbel.brokers.sqlite import owners, queues
from umbel.brokers.sqlite.bells import CONSUMER, marks
from umbel.brokers.sqlite.fence import Fence, receipts
from umbel.brokers.sqlite.messages import microseconds, to_message, to_props
from umbel.brokers.sqlite.owners import Seat
from umbel.brokers.sqlite.queues import Lease, Unregistered
from umbel.spec import BrokerError, Consumer, Delivery, buried

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from umbel.brokers.sqlite.bells import Bell
    from umbel.brokers.sqlite.client import Client
    from umbel.spec import Broker

MAX_BYTES = 64 * 1024 * 1024
"""Bodies in one batch, together; a single one may be larger."""
RECHECK = 1.0
"""Seconds after which a waiting consumer looks although nobody rang: a process may be killed between commit and ring,
and somebody may have set the wall clock."""
SHORTEST_CLAIM = 2.0
"""Seconds that a claim waits, at least, for another process's transaction, however short the receive."""


class Batch(NamedTuple):
    """What one claim took from one queue."""

    queue: str
    stamp: int
    rows: list[tuple[int, str, str, bytes, int]]


class SqliteConsumer(Consumer):
    """Made by `SqliteBroker.consume`."""

    def __init__(self, broker: Broker, client: Client, names: Sequence[str], owner: str, prefetch: int) -> None:
        self.broker = broker
        self.owner = owner
        self.access = client.access
        self.closed = False
        self.held: dict[Lease, None] = {}
        """What was received and not settled yet; others may have got it meanwhile."""
        self._names = list(dict.fromkeys(names))
        self._prefetch = prefetch
        self._pid = os.getpid()
        self._seat = Seat(self.access, owner, CONSUMER)
        self._seat.listen(marks(self._names))
        self.fence = Fence(self.access, owner, self._seat.owner)
        self._stamp = -1
        self._reaper, self._upkeep = client.reaper, client.upkeep
        self._receiving = threading.RLock()
        """Held during `receive`, so that `close` frees nothing under it."""
        self._full = False
        """Whether the last claim left something behind."""
        self._starved = False
        """Whether `receive` waits for room."""
        self._doubt = False
        """Whether a claim may have been committed whose deliveries nobody has got."""
        self._due = 0.0
        places = ",".join("?" * len(self._names))
        self._look_sql = (
            "SELECT EXISTS (SELECT 1 FROM ready WHERE queue = q.id),"
            " (SELECT due FROM delayed WHERE queue = q.id ORDER BY due LIMIT 1),"
            " NOT EXISTS (SELECT 1 FROM owner WHERE id = ?)"
            f" FROM queue q WHERE name IN ({places})"
        )

    # --- receiving ---------------------------------------------------------------------------------------------------

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        deadline = time.monotonic() + timeout
        if self._pid != os.getpid():
            raise BrokerError("this consumer belongs to the process that this one was forked from; consume anew")
        with self._receiving:
            if limit <= 0 or self.closed:
                return []
            armed: Bell | None = None
            try:
                while not self.closed:
                    # First, or else nobody would while there is enough to do.
                    self._reaper.round()
                    batch = self._take(limit, deadline)
                    if batch:
                        return batch
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
                    bell = self._seat.bell
                    if armed is not bell:
                        # Look once more after this: whoever commits from now on rings.
                        armed = bell
                        armed.arm()
                    else:
                        armed.wait(min(left, self._patience()))
                        armed.disarm()
                        armed = None
                        self._upkeep.idle()
                return []
            finally:
                self._starved = False
                if armed is not None:
                    armed.disarm()

    def _patience(self) -> float:
        """Seconds until time alone can have changed anything."""
        due = max(self._due - self.access.clock.now(), 0.0) if self._due else RECHECK
        return min(self._reaper.patience(), due, RECHECK)

    def _take(self, limit: int, deadline: float) -> list[Delivery]:
        if self._room(limit) <= 0:
            self._starved = True
            self._due = 0.0
            self._prune()
        room = self._room(limit)
        if room <= 0 or not (self._full or self._look()):
            return []
        self._starved = False
        timeout = min(max(deadline - time.monotonic(), SHORTEST_CLAIM), self.access.location.timeout)
        while True:
            try:
                return self._claim(room, timeout)
            except Unregistered:
                # Somebody took this process for dead, with reason: it was stopped for long, or its files were deleted.
                self._seat.anew()
                self.fence = Fence(self.access, self.owner, self._seat.owner)

    def _room(self, limit: int) -> int:
        return min(limit, self._prefetch - len(self.held))

    def _prune(self) -> None:
        """Forget what is not ours any more, so that it takes no room."""
        mine = list(self.held)
        fence, claims = self.fence, queues.group(mine)
        ours = self.access.read(lambda connection: fence.ours(connection, claims))
        there = {(*key, id) for key, ids in ours.items() for id in ids}
        for lease in mine:
            if lease not in there:
                self.held.pop(lease, None)

    def _look(self) -> bool:
        """Whether it is worth to claim. Notes when the next delayed message is due."""
        values = (self._seat.owner, *self._names)
        rows = self.access.read(lambda connection: connection.execute(self._look_sql, values).fetchall())
        dues = [due for _, due, _ in rows if due is not None]
        self._due = min(dues) / 1e6 if dues else 0.0
        return any(ready or stranger for ready, _, stranger in rows) or 0.0 < self._due <= self.access.clock.now()

    def _claim(self, room: int, timeout: float) -> list[Delivery]:
        owner = self._seat.owner
        clock, names = self.access.clock, self._names
        doubt, self._doubt = self._doubt, True

        def work(connection: sqlite3.Connection) -> tuple[list[tuple[str, int]], bool]:
            if doubt:
                self._give_back_untold(connection, owner)
            taken: list[tuple[str, int]] = []
            left, more = room, False
            for name in names:
                found = queues.prospect(connection, name, owner, clock.now())
                if found is None:
                    continue
                if not found.registered:
                    raise Unregistered
                if found.due:
                    queues.mature(connection, found.queue, clock.now())
                self._stamp = queues.stamp_after(self._stamp, clock.steady())
                count, rest = queues.claim(
                    connection, found.queue, owner, self._stamp, left, lone=bool(found.lone), mixed=bool(taken)
                )
                more |= rest
                left -= count
                if count:
                    taken.append((name, self._stamp))
                if left <= 0 or (rest and count):
                    break
            return taken, more

        def after(connection: sqlite3.Connection, value: tuple[list[tuple[str, int]], bool]) -> list[Batch]:
            taken, self._full = value
            return [Batch(name, stamp, queues.claimed(connection, owner, stamp)) for name, stamp in taken]

        batches: list[Batch] = self.access.write(work, durable=False, timeout=timeout, after=after)
        deliveries = self._deliver(owner, batches)
        if batches and len(names) > 1:
            # Whose turn it was goes last, so that a queue which is never empty does not starve the others.
            names.append(names.pop(0))
        self._doubt = False
        return deliveries

    def _deliver(self, owner: int, batches: list[Batch]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        surplus: list[Lease] = []
        size = 0
        for queue, stamp, rows in batches:
            for id, uid, props, body, attempt in rows:
                lease = Lease(owner, stamp, id)
                size += len(body)
                if surplus or (size > MAX_BYTES and deliveries):
                    surplus.append(lease)
                    continue
                message = to_message(queue, uid, props, body)
                deliveries.append(Delivery(message=message, receipt=lease, attempt=attempt))
        self.held.update(dict.fromkeys(delivery.receipt for delivery in deliveries))
        if surplus:
            self._return(surplus, delay=0.0, charge=False, lone=None)
        return deliveries

    def _give_back_untold(self, connection: sqlite3.Connection, owner: int) -> None:
        """A claim was cut short, maybe after its commit: nobody was told of what it took."""
        rows = connection.execute("SELECT owner, claim, id FROM lease WHERE owner = ?", (owner,)).fetchall()
        untold = queues.group(lease for lease in map(Lease._make, rows) if lease not in self.held)
        queues.give_back(connection, queues.end_leases(connection, untold), charge=False, lone=None)

    # --- settling ----------------------------------------------------------------------------------------------------

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        leases = receipts(deliveries)
        if not leases:
            return
        fence, claims = self.fence, queues.group(leases)

        def work(connection: sqlite3.Connection) -> None:
            queues.delete(connection, queues.end_leases(connection, fence.ours(connection, claims)))

        self.access.write(work)
        self.settled(leases)

    def requeue(self, deliveries: Sequence[Delivery], *, delay: float = 0.0, charge: bool = True) -> None:
        leases = receipts(deliveries)
        if leases:
            self._return(leases, delay=delay, charge=charge, lone=False)
            self.settled(leases)

    def _return(self, leases: list[Lease], *, delay: float, charge: bool, lone: bool | None) -> None:
        fence, clock, claims = self.fence, self.access.clock, queues.group(leases)

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            ids = queues.end_leases(connection, fence.ours(connection, claims))
            if delay > 0:
                queues.hold_back(connection, ids, microseconds(clock.now() + delay), charge=charge)
            else:
                queues.give_back(connection, ids, charge=charge, lone=lone)
            return queues.names_of(connection, ids)

        # Uncharged and at once is what happens to a lease anyway if the machine dies.
        owners.ring_for(self.access, self.access.write(work, durable=charge or delay > 0), delay)

    def dead_letter(self, deliveries: Sequence[Delivery], reason: str) -> None:
        leases = receipts(deliveries)
        if not leases:
            return
        fence, clock, claims = self.fence, self.access.clock, queues.group(leases)

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            at = clock.now()
            counts: dict[str, int] = {}
            for id in queues.end_leases(connection, fence.ours(connection, claims)):
                name, uid, props, attempt = connection.execute(
                    "SELECT q.name, m.uid, m.props, m.attempt FROM message m JOIN queue q ON q.id = m.queue"
                    " WHERE m.id = ?",
                    (id,),
                ).fetchone()
                # The headers that came, not what a caller may have made of them.
                original = Delivery(message=to_message(name, uid, props, b""), receipt=None, attempt=attempt)
                dead = buried(original, reason, at)
                queues.bury(connection, id, queues.make(connection, dead.queue), microseconds(at), to_props(dead))
                counts[dead.queue] = counts.get(dead.queue, 0) + 1
            return counts

        owners.ring_for(self.access, self.access.write(work))
        self.settled(leases)

    def settled(self, leases: Sequence[Lease]) -> None:
        """These take no room any more."""
        for lease in leases:
            self.held.pop(lease, None)
        if self._starved:
            self._seat.ring()

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if self.closed or self._pid != os.getpid():
            return
        self.closed = True
        self._seat.ring()
        with self._receiving:
            self.held.clear()
            self._seat.leave()
