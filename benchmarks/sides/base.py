"""What a library must be able to do to be measured."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.marks import Marks

if TYPE_CHECKING:
    from collections.abc import Sequence

MISSING = object()
"""The value of a task that has no result yet."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One set-up of a library, handed to all its processes through the environment."""

    folder: Path
    mode: str
    """full: both sync each commit; default: what each does when told nothing; relaxed: the fastest each offers."""
    results: bool
    size: int
    """Tasks there will be."""

    def environ(self) -> dict[str, str]:
        """As variables."""
        return {
            "BENCH_FOLDER": str(self.folder),
            "BENCH_MODE": self.mode,
            "BENCH_RESULTS": str(int(self.results)),
            "BENCH_SIZE": str(self.size),
        }

    @classmethod
    def of_environ(cls) -> Setting:
        """From the variables."""
        env = os.environ
        return cls(Path(env["BENCH_FOLDER"]), env["BENCH_MODE"], env["BENCH_RESULTS"] == "1", int(env["BENCH_SIZE"]))

    def marks(self) -> Marks:
        """Where the bodies leave their marks."""
        return Marks(self.folder / "marks", self.size)


class Side(ABC):
    """A library, set up. `handle` is what it returns for a call."""

    stop_signal = signal.SIGTERM
    """What ends its worker after the running tasks."""

    @abstractmethod
    def send(self, n: int) -> Any:
        """Call the task that marks `n` and returns it; back when the call is stored. Returns a handle."""

    @abstractmethod
    def send_many(self, numbers: Sequence[int]) -> list[Any]:
        """The same with the library's own call for many."""

    @abstractmethod
    def send_gate(self, index: int, workers: int) -> None:
        """Call the task that waits at the gate."""

    @abstractmethod
    def wait(self, handle: Any, timeout: float) -> Any:
        """The task's value, by blocking as the library's documents say."""

    @abstractmethod
    def values(self, handles: Sequence[Any]) -> list[Any]:
        """The values that are stored now, MISSING for the others; none is deleted."""

    @abstractmethod
    def waiting(self) -> int:
        """Tasks in the queue."""

    @abstractmethod
    def worker(self, concurrency: int) -> list[str]:
        """The command of a worker."""

    @abstractmethod
    def durability(self) -> str:
        """What it says of its commits, where it can be asked."""
