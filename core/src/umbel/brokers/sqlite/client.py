"""What one broker, its consumers and its settler share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.brokers.sqlite import owners
from umbel.brokers.sqlite.access import Access
from umbel.brokers.sqlite.bells import SLOTS
from umbel.brokers.sqlite.messages import Row, to_row
from umbel.brokers.sqlite.reaper import Reaper
from umbel.brokers.sqlite.upkeep import Upkeep
from umbel.spec import BrokerError, Failure, Fatal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.brokers.sqlite.faults import StorageError
    from umbel.brokers.sqlite.location import Location
    from umbel.clock import Clock
    from umbel.spec import Message


class Client:
    """The way to the file, and what is done in passing."""

    def __init__(self, location: Location, clock: Clock | None, boot: str | None) -> None:
        self.access = Access(location, clock, _broker_error, boot)
        self.reaper = Reaper(self.access)
        self.upkeep = Upkeep(self.access)

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
        if not rows or not self.access.host.board.waiting():
            return
        counts: dict[str, int] = {}
        for row in rows:
            if row.due is None:
                counts[row.queue] = counts.get(row.queue, 0) + 1
            elif row.due / 1e6 - now <= owners.SOON:
                # Whoever takes its time may be busy when it comes: then all should know it.
                counts[row.queue] = SLOTS
        owners.ring_for(self.access, counts)


def _broker_error(fault: StorageError) -> BrokerError:
    return Fatal(str(fault)) if fault.fatal else BrokerError(str(fault))
