"""Soft time limits, raised inside the task that the main thread is running."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from umbel.exceptions import SoftTimeLimitExceeded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


AGAIN = 0.1
"""Seconds after which the signal is repeated until it is handled."""


class SoftLimit:
    """An interval timer of the process; only the main thread can have one. SIGALRM is taken while it exists."""

    def __init__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a soft time limit needs the main thread")
        self._armed = False
        self._limit = 0.0
        self._before = signal.signal(signal.SIGALRM, self._expired)

    @contextmanager
    def armed(self, limit: float) -> Iterator[None]:
        """Raise SoftTimeLimitExceeded in the block after `limit` seconds, once."""
        self._limit = limit
        self._armed = True
        # Again and again: a handler that is due just as the main thread goes to sleep on a lock may be forgotten.
        signal.setitimer(signal.ITIMER_REAL, limit, AGAIN)
        try:
            yield
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def close(self) -> None:
        """Give SIGALRM back."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._before)

    def _expired(self, signum: int, frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            raise SoftTimeLimitExceeded(self._limit)
