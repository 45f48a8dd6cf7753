"""Revoked tasks, recorded in the result store so that every worker, also a later one, knows of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from umbel.spec import Arrival, Result
from umbel.states import REVOKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.spec import ResultBackend

KEPT = 32
"""Days for which a revocation is remembered: longer than any ETA should be."""
DAY = 86400.0
EPOCH = "umbel.revoked"
"""The id of the result whose generation says when somebody last revoked anything."""


def record(backend: ResultBackend, results: Sequence[Result]) -> None:
    """Store these REVOKED results, and tell the workers. A task that has ended keeps its result."""
    now = time.time()
    backend.store(results, ttl=KEPT * DAY)
    day = _name(int(now // DAY))
    backend.arrive([Arrival(barrier=day, member=result.id, value=b"1") for result in results], ttl=KEPT * DAY)
    backend.store([Result(id=EPOCH, state=REVOKED, generation=time.time_ns())], ttl=KEPT * DAY)


class Revocations:
    """A reader's copy of what was revoked; used by one thread."""

    def __init__(self, backend: ResultBackend) -> None:
        self._backend = backend
        self._epoch = 0
        self._days: dict[int, frozenset[str]] = {}
        self.ids: frozenset[str] = frozenset()

    def refresh(self) -> None:
        """Look again: one small read, and only if something was revoked meanwhile, the days that can have changed."""
        known = self._backend.fetch([EPOCH]).get(EPOCH)
        epoch = known.generation if known is not None else 0
        if epoch == self._epoch:
            return
        today = int(time.time() // DAY)
        newest = max(self._days, default=today - KEPT)
        for day in range(max(newest, today - KEPT), today + 1):
            self._days[day] = frozenset(self._backend.gather(_name(day)))
        for day in [day for day in self._days if day < today - KEPT]:
            del self._days[day]
        self.ids = frozenset().union(*self._days.values())
        self._epoch = epoch


def _name(day: int) -> str:
    return f"{EPOCH}.{day}"
