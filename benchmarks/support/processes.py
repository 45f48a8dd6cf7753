"""Workers as processes of their own, ended by whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType


class Group:
    """A command in a session of its own; leaving the block stops all of it."""

    def __init__(
        self, command: Sequence[str], *, env: dict[str, str], log: Path, cwd: Path, stop: int = signal.SIGTERM
    ) -> None:
        self.log = log
        self._stop = stop
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """RuntimeError with its last words if the command has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the worker has ended with {self.process.returncode}:\n{self.words()}")

    def words(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-2000:]

    def pids(self) -> list[int]:
        """All processes of the session."""
        return session(self.process.pid)

    def cpu(self) -> float:
        """CPU seconds that its present processes have used; NaN where the system does not tell."""
        total = 0.0
        for pid in self.pids():
            total += process_cpu(pid)
        return total

    def stop(self, timeout: float = 30.0) -> None:
        """Ask it to end, and after the timeout end it; what is left of its session goes too."""
        known = self.pids()
        if self.process.poll() is None:
            self.process.send_signal(self._stop)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in known:
            if pid != self.process.pid and pid in session(self.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def session(leader: int) -> list[int]:
    """The living processes of a session, from /proc; the leader alone where there is none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, _group, of = entry.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of) == leader and state != "Z":
            found.append(int(entry.parent.name))
    return found or [leader]


def process_cpu(pid: int) -> float:
    """CPU seconds of a process, in nanoseconds' precision; 0 of one that has gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # Linux's number for the CPU clock of a process
    except OSError:
        return 0.0
