"""How many tasks a child fetches: room is measured in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.spec import Delivery

WEIGHT = 0.1
"""Of the newest duration in the moving averages."""


class Room:
    """What a child has learned of its tasks' durations. Used by many threads; a lost update does no harm."""

    def __init__(self, *, slots: int, prefetch: int, horizon: float) -> None:
        self.slots = slots
        self.prefetch = max(prefetch, slots)
        self.horizon = horizon
        self._names: dict[str, float] = {}
        self._mean: float | None = None
        """Of all tasks, as they came lately."""

    def took(self, name: str, seconds: float) -> None:
        """A task of this name ran for so long."""
        known = self._names.get(name)
        self._names[name] = seconds if known is None else known + WEIGHT * (seconds - known)
        mean = self._mean
        self._mean = seconds if mean is None else mean + WEIGHT * (seconds - mean)

    def expected(self, name: str) -> float:
        """Seconds that a task of this name will take; one that nobody has timed yet counts as long."""
        return self._names.get(name, self.horizon)

    def limit(self, waiting: int, running: int, stuck: int = 0) -> int:
        """How many to fetch now, with so many fetched and not started, so many running, and of these so many stuck.

        Stuck is what has run for longer than the horizon already: its slot is not counted on.
        """
        free = max(self.slots - running - waiting, 0)
        moving = self.slots - stuck
        if self._mean is None or moving <= 0:
            return free
        held = moving * self.horizon / max(self._mean, 1e-6)
        wanted = int(min(held, self.prefetch)) - waiting
        if running >= self.slots and wanted <= self.slots:
            return free  # tasks of this length: what would be fetched now could not start soon
        return max(free, wanted)

    def surplus(self, deliveries: Sequence[Delivery], waiting: int, running: int) -> int:
        """How many of these, at the end, are beyond the horizon and go back at once."""
        budget = self.slots * self.horizon
        free = self.slots - running - waiting
        kept = 0
        for delivery in deliveries:
            name = delivery.message.headers.get("task", "")
            budget -= self.expected(name) if isinstance(name, str) else 0.0
            if kept >= free and budget < 0:
                break
            kept += 1
        return len(deliveries) - kept
