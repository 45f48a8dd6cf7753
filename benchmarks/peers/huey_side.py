"""huey, as the measuring program drives it."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

from sides.base import MISSING, Side

from peers.huey_app import gate, huey, mark, setting

if TYPE_CHECKING:
    from collections.abc import Sequence

TUNED = setting.mode != "default"
"""By default its worker polls every 0.1 to 10 s, its waiting client every 0.05 to 1 s. Tuned, both do every ms."""


class HueySide(Side):
    """At most once: its worker deletes a task from the queue when it takes it."""

    stop_signal = signal.SIGINT

    def send(self, n: int) -> Any:
        return mark(n)

    def send_many(self, numbers: Sequence[int]) -> list[Any]:
        results = mark.map(list(numbers))
        return list(results) if results is not None else []

    def send_gate(self, index: int, workers: int) -> None:
        gate(index, workers)

    def wait(self, handle: Any, timeout: float) -> Any:
        if TUNED:
            return handle.get(blocking=True, timeout=timeout, backoff=1.0, max_delay=0.001)
        return handle.get(blocking=True, timeout=timeout)

    def values(self, handles: Sequence[Any]) -> list[Any]:
        found: dict[str, Any] = {}
        for begin in range(0, len(handles), 500):
            found.update(huey.storage.peek_many([handle.id for handle in handles[begin : begin + 500]]))
        load = huey.serializer.deserialize
        return [load(found[handle.id]) if handle.id in found else MISSING for handle in handles]

    def waiting(self) -> int:
        return int(huey.pending_count())

    def worker(self, concurrency: int) -> list[str]:
        command = [sys.executable, "-m", "huey.bin.huey_consumer", "peers.huey_app.huey", "-q", "-w", str(concurrency)]
        if TUNED or concurrency > 1:
            command += ["-k", "process"]
        if TUNED:
            command += ["-d", "0.001", "-m", "0.001", "-b", "1"]
        return command

    def durability(self) -> str:
        level = huey.storage.sql("pragma synchronous", results=True)[0][0]
        return f"synchronous={['OFF', 'NORMAL', 'FULL', 'EXTRA'][level]}"


side = HueySide()
