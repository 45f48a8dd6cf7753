"""What task bodies leave behind: a file mapped into every process, so that a mark costs less than what is measured."""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GATES = 16
_STAMP = struct.Struct("d")
_PID = struct.Struct("i")


class Marks:
    """For each task of a run how often it ran and when it last did, and a gate where workers wait for each other."""

    def __init__(self, path: str | Path, size: int) -> None:
        self.size = size
        length = size + 8 * size + _PID.size * GATES + 8
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(fd).st_size < length:
                os.ftruncate(fd, length)
            self._map = mmap.mmap(fd, length)
        finally:
            os.close(fd)
        self._stamps = size
        self._pids = size + 8 * size

    def mark(self, index: int) -> None:
        """Task `index` ran, now. Twice at the same instant could count as once; once never as twice."""
        self._map[index] = min(255, self._map[index] + 1)
        _STAMP.pack_into(self._map, self._stamps + 8 * index, time.monotonic())

    def gate(self, index: int, workers: int, timeout: float = 10.0) -> bool:
        """Wait until as many workers are at the gate; False when they did not come."""
        _PID.pack_into(self._map, self._pids + _PID.size * index, os.getpid())
        deadline = time.monotonic() + timeout
        while len(self.at_gate()) < workers:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        _STAMP.pack_into(self._map, self._pids + _PID.size * GATES, time.monotonic())
        return True

    def at_gate(self) -> list[int]:
        """The processes that have come to the gate."""
        pids = (_PID.unpack_from(self._map, self._pids + _PID.size * index)[0] for index in range(GATES))
        return [pid for pid in pids if pid]

    @property
    def opened(self) -> float:
        """When the gate opened; 0 when it has not."""
        stamp: float = _STAMP.unpack_from(self._map, self._pids + _PID.size * GATES)[0]
        return stamp

    @property
    def counts(self) -> bytes:
        """How often each task ran."""
        return self._map[: self.size]

    def stamp(self, index: int) -> float:
        """When the task last ran."""
        stamp: float = _STAMP.unpack_from(self._map, self._stamps + 8 * index)[0]
        return stamp

    def wait(self, indexes: Sequence[int], timeout: float) -> None:
        """Return when all of them have run; they are looked at in their order, from the last."""
        deadline = time.monotonic() + timeout
        for index in reversed(indexes):
            while not self._map[index]:
                if time.monotonic() > deadline:
                    missing = sum(not self._map[each] for each in indexes)
                    raise TimeoutError(f"{missing} of {len(indexes)} tasks have not run in {timeout:.0f} s")
                time.sleep(0.001)
