"""Processes that are to be killed, and the certainty that they are dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]


def descendants(pid: int) -> list[int]:
    """The living processes below one, its children first."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents.setdefault(int(parent), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(0), [])
        found += children
        todo += children
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is only waiting to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill(pids: Iterable[int]) -> None:
    """kill -9, in this order; who is gone already is gone."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def survivors(pids: Iterable[int], timeout: float) -> list[int]:
    """Those that are still alive after the timeout; returns as soon as there are none."""
    left, deadline = list(pids), time.monotonic() + timeout
    while left := [pid for pid in left if is_alive(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.002)
    return left


class Worker:
    """A worker's processes, which may be killed and started again."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self._command, self._env, self._folder = command, dict(env), folder
        self.log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        if self._process is None:
            raise RuntimeError("the worker has not been started")
        return self._process.pid

    def start(self) -> None:
        """Start it anew."""
        with self.log.open("ab") as file:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def pids(self) -> list[int]:
        """The supervisor and all below it."""
        return [self.pid, *descendants(self.pid)]

    def ended(self) -> int | None:
        """Its exit status; None while it runs. Reaps it."""
        return None if self._process is None else self._process.poll()

    def terminate(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


class Sender:
    """The process that sends (sender.py), as seen by the harness."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self._log = (folder / "sender.log").open("ab")
        self._process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def order(self, do: str, **what: Any) -> Any:
        """Give an order and wait for its answer."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the sender has no pipes")
        self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            words = Path(self._log.name).read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the sender has ended:\n{words}")
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
