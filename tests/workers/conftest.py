"""A real worker in processes of its own, on a queue file of the test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 30.0
"""Seconds after which a poll fails the test."""


def until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """Poll until the condition holds, and return its value."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout:g} s: {what}")


class Project:
    """A folder with a module `tasks`, its app on SQLite, and the workers started on it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.module = name
        self.marks = folder / "marks"
        """Lines that task bodies write, one write a line."""
        self.workers: list[subprocess.Popen[bytes]] = []
        self.app: Any = None

    def write(self, source: str, query: str = "") -> None:
        """Write the module and import its app into this process; `query` goes to the URL of the queue file."""
        url = f"sqlite:///{self.folder}/q.db{query}"
        head = f"""
            import os, time
            from umbel import Umbel, chain, chord, group

            app = Umbel({self.module!r}, broker={url!r}, backend={url!r})


            def mark(text):
                fd = os.open({str(self.marks)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(fd, f"{{text}} {{os.getpid()}} {{time.monotonic()}}\\n".encode())
                os.close(fd)
        """
        (self.folder / f"{self.module}.py").write_text(textwrap.dedent(head) + "\n\n" + textwrap.dedent(source))
        sys.path.insert(0, str(self.folder))
        try:
            self.app = __import__(self.module).app
        finally:
            sys.path.remove(str(self.folder))

    def task(self, name: str) -> Any:
        """A task of the module."""
        return self.app.tasks[f"{self.module}.{name}"]

    def worker(self, *arguments: str, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start a worker; its output goes to a file that `log` reads."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "NO_COLOR": "1"}
        number = len(self.workers)
        command = [sys.executable, "-m", "umbel", "-A", self.module, "worker", "-l", "info", "-n", f"w{number}@%h"]
        with open(self.folder / f"log{number}", "wb") as log:
            process = subprocess.Popen([*command, *arguments], env=environment, stdout=log, stderr=log, cwd=self.folder)
        self.workers.append(process)
        if wait:
            until(lambda: "ready" in self.log(number) or process.poll() is not None, "the worker is ready")
            assert process.poll() is None, self.log(number)
        return process

    def log(self, number: int = 0) -> str:
        """What a worker has printed."""
        path = self.folder / f"log{number}"
        return path.read_text() if path.exists() else ""

    def lines(self) -> list[tuple[str, int, float]]:
        """What the task bodies have written: text, pid, moment."""
        if not self.marks.exists():
            return []
        rows = [line.rsplit(" ", 2) for line in self.marks.read_text().splitlines()]
        return [(text, int(pid), float(moment)) for text, pid, moment in rows]

    def texts(self) -> list[str]:
        """What the task bodies have written, without pid and moment."""
        return [text for text, _, _ in self.lines()]

    def stop(self, process: subprocess.Popen[bytes], sig: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Signal a worker and wait for its end; its exit code."""
        if process.poll() is None:
            process.send_signal(sig)
        return process.wait(timeout)

    def close(self) -> None:
        """End whatever still runs."""
        for process in self.workers:
            family = []
            if process.poll() is None:
                family = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                process.wait()
            for member in family:
                with_suppressed(member.kill)
        if self.app is not None:
            self.app.close()
        sys.modules.pop(self.module, None)


def with_suppressed(action: Callable[[], None]) -> None:
    """Call; a process that is gone already is fine."""
    try:
        action()
    except psutil.NoSuchProcess:
        pass


def children_running(process: subprocess.Popen[bytes]) -> list[int]:
    """The pids of all processes that a worker has forked."""
    return [child.pid for child in psutil.Process(process.pid).children()]


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project of the test's own; all its workers end with the test."""
    name = f"proj_{abs(hash(request.node.nodeid)) % 10**8}"
    made = Project(tmp_path, name)
    try:
        yield made
    finally:
        made.close()
