"""Who holds leases: taking part, renewing, and giving back what the dead and the lapsed held."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from umbel.brokers.sqlite import queues
from umbel.brokers.sqlite.bells import CONSUMER, SLOTS, Bell, marks
from umbel.brokers.sqlite.faults import StorageError
from umbel.brokers.sqlite.queues import Lease
from umbel.spec import BackendError, BrokerError

if TYPE_CHECKING:
    import sqlite3

    from umbel.brokers.sqlite.access import Access

CROWD = 64
"""Owners from which on a new one looks for dead ones before it takes a slot."""
SOON = 1.5
"""Seconds within which every waiting consumer looks anyway, for its round of reaping."""


class Owner(NamedTuple):
    """One row of the table of owners, and when the oldest claim was made that it still holds."""

    id: int
    slot: int
    renewed: float
    lease: float
    boot: str
    oldest: int | None

    def end(self) -> float | None:
        """When the lease of something that it holds is over, in steady time; None if it holds nothing."""
        return None if self.oldest is None else max(queues.moment(self.oldest), self.renewed) + self.lease

    def lapsed(self, steady: float) -> bool:
        """Whether the lease of anything that it holds is over."""
        end = self.end()
        return end is not None and end <= steady


OWNERS = (
    "SELECT id, slot, renewed, lease, boot, (SELECT claim FROM lease WHERE owner = o.id ORDER BY claim LIMIT 1)"
    " FROM owner o"
)


class Seat:
    """One owner of this process: its row, its lock and its bell. Used by one thread at a time, but for `ring`."""

    def __init__(self, access: Access, name: str, kind: int) -> None:
        self._access = access
        self._name = name
        self._kind = kind
        self._names: frozenset[int] = frozenset()
        self._bell = self._register()

    @property
    def owner(self) -> int:
        """The number of the owner."""
        return self._bell.owner

    @property
    def bell(self) -> Bell:
        """What to wait on. Hung anew if its folder was deleted."""
        host = self._access.host
        if self._bell.board is not host.board:
            former = self._bell
            former.close()
            if former.owner not in host.mine:
                return self.anew()
            try:
                self._bell = host.board.hang(former.owner, former.slot, self._kind)
            except FileExistsError:
                return self.anew()
            self._bell.listen(self._names)
        return self._bell

    def is_known(self, connection: sqlite3.Connection) -> bool:
        """Whether we are in the table; else the file was replaced, or somebody took us for dead."""
        return connection.execute("SELECT 1 FROM owner WHERE id = ?", (self.owner,)).fetchone() is not None

    def listen(self, names: frozenset[int]) -> None:
        """What to be woken for."""
        self._names = names
        self._bell.listen(names)

    def ring(self) -> None:
        """Wake whoever waits here."""
        self._bell.ring()

    def anew(self) -> Bell:
        """Take part as a new owner. What the former one held goes back as that of a dead one does."""
        self._bell.close()
        self._access.host.let_go(self._bell.owner)
        self._bell = self._register()
        self._bell.listen(self._names)
        return self._bell

    def leave(self) -> None:
        """Gone for good; what is still held is ready again, uncharged. Whoever waits here must have left."""
        access, bell = self._access, self._bell
        bell.close()

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            back = give_back_all(connection, bell.owner)
            connection.execute("DELETE FROM owner WHERE id = ?", (bell.owner,))
            bell.board.take_down(bell.owner, bell.slot)
            return back

        try:
            ring_for(access, access.write(work, durable=False))
            # Who rang for new messages may have rung us alone.
            access.ring(self._kind, self._names, 1)
        except (BrokerError, BackendError):
            pass  # the lock that is dropped next says it all: others give back what it held
        finally:
            access.host.let_go(bell.owner)

    def _register(self) -> Bell:
        access = self._access
        host = access.host
        owner, slot = access.write(lambda connection: _take_seat(connection, access, self._name), durable=False)
        try:
            return host.board.hang(owner, slot, self._kind)
        except OSError as exc:
            host.let_go(owner)
            raise access.error(
                StorageError(f"{host.folder}: {exc.strerror}; every process that uses the queue needs to write there")
            ) from exc


def _take_seat(connection: sqlite3.Connection, access: Access, name: str) -> tuple[int, int]:
    """A new owner that is locked by this process, and its slot on the board."""
    host, location = access.host, access.location
    taken: dict[int, int] = dict(connection.execute("SELECT id, slot FROM owner").fetchall())
    if len(taken) >= CROWD:
        for dead in [owner for owner in taken if host.is_dead(owner)]:
            # Nobody may have been waiting for long, and so nobody reaped.
            if not connection.execute("SELECT 1 FROM lease WHERE owner = ? LIMIT 1", (dead,)).fetchone():
                connection.execute("DELETE FROM owner WHERE id = ?", (dead,))
                host.board.take_down(dead, taken.pop(dead))
    slots = set(taken.values())
    slot = next((slot for slot in range(SLOTS) if slot not in slots), None)
    if slot is None:
        raise StorageError(f"{location.path}: {SLOTS} consumers and watchers use it already, which is the most")
    while True:
        owner = connection.execute(
            "INSERT INTO owner (name, slot, renewed, lease, boot, pid) VALUES (?, ?, ?, ?, ?, ?)",
            (name, slot, access.clock.steady(), location.lease, access.boot, os.getpid()),
        ).lastrowid
        assert owner is not None
        if host.hold(owner):
            break
        # A lock file can outlive its database, and another process hold this number in it from before.
        connection.execute("DELETE FROM owner WHERE id = ?", (owner,))
    host.board.sweep({*taken, owner})
    return owner, slot


def give_back_all(connection: sqlite3.Connection, owner: int) -> dict[str, int]:
    """Give back what an owner holds, uncharged; how many to which queues."""
    rows = connection.execute("SELECT owner, claim, id FROM lease WHERE owner = ?", (owner,)).fetchall()
    ids = queues.end_leases(connection, queues.group(map(Lease._make, rows)))
    queues.give_back(connection, ids, charge=False, lone=None)
    return queues.names_of(connection, ids)


def renew(connection: sqlite3.Connection, name: str, steady: float) -> dict[str, int]:
    """Another lease for all that is held under the name; what had lapsed is given back instead."""
    back: dict[str, int] = {}
    for row in connection.execute(f"{OWNERS} WHERE name = ?", (name,)).fetchall():
        owner = Owner(*row)
        if owner.lapsed(steady):
            back = give_back_lapsed(connection, owner, steady)
        connection.execute("UPDATE owner SET renewed = ? WHERE id = ?", (steady, owner.id))
    return back


def release(connection: sqlite3.Connection, name: str, started: Collection[str]) -> dict[str, int]:
    """Give back all that is held under the name, those charged whose uid is in `started`."""
    rows = connection.execute(
        "SELECT l.owner, l.claim, l.id, m.uid FROM owner o JOIN lease l ON l.owner = o.id"
        " JOIN message m ON m.id = l.id WHERE o.name = ?",
        (name,),
    ).fetchall()
    charged = queues.group(Lease(*row[:3]) for row in rows if row[3] in started)
    others = queues.group(Lease(*row[:3]) for row in rows if row[3] not in started)
    # Several may have been running; which of them killed the process shows when each comes alone.
    queues.give_back(connection, queues.end_leases(connection, charged), charge=True, lone=True)
    queues.give_back(connection, queues.end_leases(connection, others), charge=False, lone=None)
    return queues.names_of(connection, [row[2] for row in rows])


def give_back_lapsed(connection: sqlite3.Connection, owner: Owner, steady: float) -> dict[str, int]:
    """Give back what an owner holds past its lease. All count as started: nobody can tell."""
    return _reap(connection, "owner = ? AND claim < ?", (owner.id, queues.stamps_until(steady - owner.lease)))


def bury(connection: sqlite3.Connection, owner: Owner, access: Access) -> dict[str, int]:
    """Give back all that a dead owner held, and forget it."""
    back = _reap(connection, "owner = ?", (owner.id,))
    connection.execute("DELETE FROM owner WHERE id = ?", (owner.id,))
    access.host.board.take_down(owner.id, owner.slot)
    return back


def _reap(connection: sqlite3.Connection, where: str, values: tuple[int, ...]) -> dict[str, int]:
    """What an owner holds is bounded by its prefetch, and so is this."""
    rows = connection.execute(f"SELECT owner, claim, id FROM lease WHERE {where}", values).fetchall()
    ids = queues.end_leases(connection, queues.group(map(Lease._make, rows)))
    queues.give_back(connection, ids, charge=True, lone=True)
    return queues.names_of(connection, ids)


def ring_for(access: Access, counts: dict[str, int], delay: float = 0.0) -> None:
    """Wake as many consumers as there are new messages for them, which will be due in `delay` seconds."""
    if delay > SOON:
        return
    for name, count in counts.items():
        # Whoever takes the time of a delayed one may be busy when it comes: then each should know it.
        access.ring(CONSUMER, marks((name,)), SLOTS if delay > 0 else count)
