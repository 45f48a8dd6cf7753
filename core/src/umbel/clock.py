"""The times that the library goes by, so that a test can turn the clock."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Where a component takes its time from."""

    def now(self) -> float:
        """Unix time, for what people and messages say: eta, expires."""

    def steady(self) -> float:
        """Seconds that nobody can set, also running while the machine sleeps: for leases."""

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        """Wait on a condition that is held, at most `timeout` seconds of this clock."""


class SystemClock:
    """The machine's own."""

    def now(self) -> float:
        return time.time()

    def steady(self) -> float:
        return boot_time()

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        condition.wait(min(timeout, threading.TIMEOUT_MAX))


class ManualClock:
    """A clock that a test turns. Nothing that waits on it returns before it is turned, or notified."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._steady = 0.0
        self._lock = threading.Lock()
        self._waiting: set[threading.Condition] = set()

    def now(self) -> float:
        return self._now

    def steady(self) -> float:
        return self._steady

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        if timeout <= 0:
            return
        with self._lock:
            self._waiting.add(condition)
        condition.wait()

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass, and wake whoever waits so that it looks again."""
        self._now += seconds
        self._steady += seconds
        self._wake()

    def set_wall_clock(self, now: float) -> None:
        """Set the wall clock as an administrator would; steady time does not move."""
        self._now = now
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        for condition in waiting:
            with condition:
                condition.notify_all()


def boot_time() -> float:
    """Seconds since boot, sleep included, the same in every process of the machine; elsewhere than Linux: monotonic."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
