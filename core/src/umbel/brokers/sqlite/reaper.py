"""Bringing back what the dead and the lapsed held. Every waiting consumer does, about once a second."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from umbel.brokers.sqlite.owners import OWNERS, Owner, bury, give_back_lapsed, ring_for

if TYPE_CHECKING:
    import sqlite3

    from umbel.brokers.sqlite.access import Access

ROUND = (0.6, 0.9)
"""Seconds between two rounds, at random, so that the processes of a host do not go in step."""
MERCY = 0.5
"""Seconds that a dead owner is left to whoever knows which of its messages had started (`Broker.release`).

A round and this come to 1.4 s at most: within the promised two.
"""


class Reaper:
    """One broker's. Any number of them, in any processes, may run at the same time."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._suspects: dict[int, float] = {}
        """Owners whose process is dead, and the steady time when that was first seen."""
        self._next = 0.0

    def patience(self) -> float:
        """Seconds until the next round."""
        return max(self._next - self._access.clock.steady(), 0.0)

    def round(self, *, now: bool = False) -> bool:
        """Give back what is due, unless a round was a moment ago (and not `now`); whether there was anything."""
        access = self._access
        steady = access.clock.steady()
        # A clock that was turned back, by a test, must not silence it.
        if not now and self._next - ROUND[1] <= steady < self._next:
            return False
        self._next = steady + random.uniform(*ROUND)
        host = access.host
        owners = [Owner(*row) for row in access.read(_owners)]
        # Once dead, for ever dead: that a lock is taken now may be another's probing.
        dead = [owner for owner in owners if owner.id in self._suspects or host.is_dead(owner.id)]
        self._suspects = {owner.id: self._suspects.get(owner.id, steady) for owner in dead}
        returned = False
        for owner in dead:
            # Whoever could tell what had started before the machine was booted is gone, too.
            if owner.boot != access.boot or steady - self._suspects[owner.id] >= MERCY:
                returned |= self._bury(owner)
            else:
                self._next = min(self._next, self._suspects[owner.id] + MERCY)
        for owner in owners:
            end = owner.end()
            if owner.id in self._suspects or end is None:
                continue
            if end <= steady:
                returned |= self._end(owner)
            else:
                self._next = min(self._next, end)
        return returned

    def _bury(self, owner: Owner) -> bool:
        access = self._access

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            found = connection.execute(f"{OWNERS} WHERE id = ?", (owner.id,)).fetchone()
            return bury(connection, owner, access) if found and access.host.is_dead(owner.id) else {}

        back = access.write(work, durable=False)
        ring_for(access, back)
        return bool(back)

    def _end(self, owner: Owner) -> bool:
        access = self._access

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            steady = access.clock.steady()
            found = connection.execute(f"{OWNERS} WHERE id = ?", (owner.id,)).fetchone()
            # It may have been renewed meanwhile.
            if found is None or not Owner(*found).lapsed(steady):
                return {}
            return give_back_lapsed(connection, owner, steady)

        back = access.write(work, durable=False)
        ring_for(access, back)
        return bool(back)


def _owners(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute(OWNERS).fetchall()
