"""A worker as a process of its own, the journal that its tasks write, and the killing of one of its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
GRACE = 40.0
"""Seconds that the worker has to finish what it runs."""


class WorkerFailed(Exception):
    """The worker ended by itself, or does nothing any more; the message has the end of its log."""


class Worker:
    """`umbel -A examples.codebase.tasks worker`, from `with` to the end of its block."""

    def __init__(self, processes: int, log: Path) -> None:
        self.log = log
        umbel = [sys.executable, "-m", "umbel", "-A", "examples.codebase.tasks"]
        self.command = [*umbel, "worker", "-c", str(processes), "-l", "warning"]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Worker:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we tell the worker
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it warmly; an error of its own only matters if there is none already."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        if status and error is None:
            raise WorkerFailed(f"it ended with status {status}.\n{self.last_words()}")

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.process is not None
        return self.process.pid

    def check(self) -> None:
        """Raise WorkerFailed if it has ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise WorkerFailed(f"it ended with status {self.process.returncode}.\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]


class Journal:
    """What the tasks wrote down themselves: which process started and ended which file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[tuple[float, int, str, str]]:
        """Seconds, process id, event ("start" or "end") and file, in the order in which they were written."""
        try:
            lines = self.path.read_text(errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return []
        fields = (line.split("\t", 3) for line in lines)
        return [(float(at), int(pid), event, path) for at, pid, event, path in fields]

    def starts(self) -> Counter[str]:
        """How often each file was started."""
        return Counter(path for _, _, event, path in self.entries() if event == "start")

    def redone(self, pid: int) -> float:
        """Seconds of the process's work, up to its end, that others did again."""
        starts = self.starts()
        times = [(at, path) for at, its, _, path in self.entries() if its == pid]
        first = next((at for at, path in times if starts[path] > 1), times[-1][0])
        return times[-1][0] - first

    def processes(self) -> set[int]:
        """The processes that ran tasks."""
        return {pid for _, pid, _, _ in self.entries()}

    def reading(self) -> dict[int, str]:
        """The file that each process has started and not ended."""
        open_files: dict[int, str] = {}
        for _, pid, event, path in self.entries():
            if event == "start":
                open_files[pid] = path
            else:
                open_files.pop(pid, None)
        return open_files


class Killer:
    """Kills one process of the worker while it reads a file, once so many files are done."""

    def __init__(self, worker: Worker, journal: Journal, after: int) -> None:
        self.worker = worker
        self.journal = journal
        self.after = after
        self.victim: int | None = None
        self.reading = ""

    def kill(self, done: int) -> bool:
        """Kill if it is time and has not been done; whether it was done just now."""
        if self.victim is not None or done < self.after:
            return False
        for pid in self.journal.reading():
            if not is_child(pid, self.worker.pid):
                continue
            os.kill(pid, signal.SIGKILL)
            # It may have ended that file meanwhile and begun the next: its last line tells.
            self.victim, self.reading = pid, self.journal.reading().get(pid, "nothing")
            return True
        return False


def is_child(pid: int, parent: int) -> bool:
    """Whether the process lives, and the other one started it."""
    if not Path("/proc/self/stat").exists():  # not Linux
        answer = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return answer.stdout.strip() == str(parent)
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == parent
    except (FileNotFoundError, ProcessLookupError):
        return False
