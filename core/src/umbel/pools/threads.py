"""M tasks at once, each on a thread; for tasks that wait for the network."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from umbel.pools.ready import Ready, Work, take_and_work

if TYPE_CHECKING:
    from collections.abc import Sequence


class Threads:
    """Owns its threads from `start` until `join`."""

    def __init__(self, count: int, ready: Ready, work: Work) -> None:
        self._ready = ready
        self._threads: Sequence[threading.Thread] = [
            threading.Thread(target=take_and_work, args=(ready, work, slot), name=f"umbel-task-{slot}", daemon=True)
            for slot in range(count)
        ]

    def start(self) -> None:
        """Start taking."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Tell each thread to leave after its present task."""
        for _ in self._threads:
            self._ready.put(None)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all have left, at most `timeout` seconds in all; whether they have."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)
