"""Which deliveries are still ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.brokers.sqlite import queues
from umbel.brokers.sqlite.queues import Claims, Lease

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from umbel.brokers.sqlite.access import Access
    from umbel.spec import Delivery


def receipts(deliveries: Iterable[Delivery]) -> list[Lease]:
    """The leases of deliveries; what is not a receipt of this transport is nobody's."""
    return [lease for delivery in deliveries if type(lease := delivery.receipt) is Lease]


class Fence:
    """Tells, inside the transaction that settles them, the leases that an owner may still settle."""

    def __init__(self, access: Access, name: str, owner: int = 0) -> None:
        self._name = name
        self._owner = owner
        """The one whose leases are most likely asked for."""
        self._clock = access.clock
        self._lease = access.location.lease

    def ours(self, connection: sqlite3.Connection, claims: Claims) -> Claims:
        """Those that are held under our owner's name, and whose time is not over."""
        steady = self._clock.steady()
        renewals: dict[int, float | None] = {}
        current: Claims = {}
        for key, ids in claims.items():
            owner, stamp = key
            if owner == self._owner and queues.moment(stamp) + self._lease > steady:
                current[key] = ids
                continue
            if owner not in renewals:
                renewals[owner] = self._renewed(connection, owner)
            renewed = renewals[owner]
            if renewed is not None and max(queues.moment(stamp), renewed) + self._lease > steady:
                current[key] = ids
        return queues.held(connection, current)

    def _renewed(self, connection: sqlite3.Connection, owner: int) -> float | None:
        """When the owner was renewed last; None if it is another's, or gone.

        The same owner may have consumed anew; its claims are its own whichever consumer made them.
        """
        row = connection.execute("SELECT renewed FROM owner WHERE id = ? AND name = ?", (owner, self._name)).fetchone()
        return row[0] if row else None
