"""`rate_limit`: so many starts a second of one task, over all children of a worker."""

from __future__ import annotations

import mmap
import struct
import tempfile
import threading
from typing import TYPE_CHECKING

from umbel.clock import boot_time
from umbel.exceptions import ImproperlyConfigured

try:
    import fcntl
except ImportError:  # where there is no fork either: one process, and its own lock is enough
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_MOMENT = struct.Struct("d")


def interval(rate: str | float | None) -> float:
    """Seconds between two starts: ``"10/m"`` is 6.0, a bare number is a second's; 0.0 for no limit."""
    if rate is None or rate in {"", 0}:
        return 0.0
    number, _, unit = str(rate).partition("/")
    try:
        per = float(number)
        seconds = _UNITS[unit.strip().lower() or "s"]
    except (ValueError, KeyError):
        raise ImproperlyConfigured(f"rate_limit {rate!r}: expected a number, or '10/s', '100/m', '5/h'") from None
    if per < 0:
        raise ImproperlyConfigured(f"rate_limit {rate!r} is negative")
    return seconds / per if per else 0.0


class RateLimits:
    """The next free moment of each limited task, in memory that forked children share.

    A token bucket of capacity one, as Celery's. A task that must wait goes back to the broker with a delay, so that it
    holds no place in the worker; the delays given out by one process line up, so that not all come back at once.
    """

    def __init__(self, rates: Mapping[str, str | float | None]) -> None:
        self._intervals = {name: seconds for name, rate in rates.items() if (seconds := interval(rate)) > 0}
        self._places = {name: number * _MOMENT.size for number, name in enumerate(self._intervals)}
        self._page = mmap.mmap(-1, max(len(self._places) * _MOMENT.size, mmap.PAGESIZE))
        # A lock of the kernel's, which a killed child cannot keep: one byte of a file that has no name.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self._lock = threading.Lock()
        self._queued: dict[str, float] = {}

    def close(self) -> None:
        """Give page and file back. Twice is fine."""
        self._page.close()
        self._file.close()

    def take(self, name: str) -> float:
        """0.0 if the task may start now; else seconds after which to try again."""
        seconds = self._intervals.get(name)
        if seconds is None:
            return 0.0
        place = self._places[name]
        with self._lock:
            if fcntl is not None:
                fcntl.lockf(self._file, fcntl.LOCK_EX, 1, place)
            try:
                now = boot_time()
                free: float = _MOMENT.unpack_from(self._page, place)[0]
                if free <= now:
                    _MOMENT.pack_into(self._page, place, now + seconds)
                    return 0.0
            finally:
                if fcntl is not None:
                    fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)
            turn = max(free, self._queued.get(name, 0.0))
            self._queued[name] = turn + seconds
            # The line must not grow beyond what comes back in time to be sorted anew.
            if turn - now > 60 * seconds:
                self._queued[name] = free
            return turn - now
