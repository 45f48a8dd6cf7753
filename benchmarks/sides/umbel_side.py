"""Umbel, as the measuring program drives it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sides.base import MISSING, Side
from sides.umbel_app import app, gate, mark, setting

if TYPE_CHECKING:
    from collections.abc import Sequence


class UmbelSide(Side):
    """At least once: its worker acks a task when the result is stored."""

    def send(self, n: int) -> Any:
        return mark.delay(n)

    def send_many(self, numbers: Sequence[int]) -> list[Any]:
        return list(mark.delay_many([(n,) for n in numbers]))

    def send_gate(self, index: int, workers: int) -> None:
        gate.delay(index, workers)

    def wait(self, handle: Any, timeout: float) -> Any:
        return handle.get(timeout=timeout)

    def values(self, handles: Sequence[Any]) -> list[Any]:
        backend = app.backend
        if backend is None:
            return [MISSING] * len(handles)
        stored = backend.fetch([handle.id for handle in handles])
        return [
            handle.result if handle.id in stored and stored[handle.id].state == "SUCCESS" else MISSING
            for handle in handles
        ]

    def waiting(self) -> int:
        stats = app.broker.stats(["bench"])["bench"]
        return sum(part or 0 for part in (stats.ready, stats.leased, stats.delayed))

    def worker(self, concurrency: int) -> list[str]:
        options = ["-c", str(concurrency), "-P", "prefork", "-l", "WARNING", "-Q", "bench"]
        return [sys.executable, "-m", "umbel", "-A", "sides.umbel_app", "worker", *options]

    def durability(self) -> str:
        return "synchronous=NORMAL" if setting.mode == "relaxed" else "synchronous=FULL"


side = UmbelSide()
