"""Kill -9 under load: a worker at work, tasks coming in, and processes of it that die without a word."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.history import History, Tail
from tests.faults.processes import ROOT, Sender, Worker, kill, survivors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UMBEL_WORKER = (sys.executable, "-m", "umbel", "-A", "tests.faults.app", "worker")

RECOVERY = 5.0
"""Seconds for which the next kill waits, at most, for all that the last one interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be killed: a library on SQLite, by its commands."""

    sender: tuple[str, ...] = (sys.executable, "-m", "tests.faults.app")
    worker: tuple[str, ...] = (*UMBEL_WORKER, "-P", "prefork", "-l", "WARNING", "-Q", "faults")
    concurrency: str = "-c"
    environ: dict[str, str] = field(default_factory=dict)
    database: str = "queue.db"
    stop: int = 15
    """The signal that ends its worker after the running tasks."""
    die_within: float = 10.0
    """Seconds that the children of a killed supervisor may live on."""
    patience: float = 20.0
    """Seconds without any progress after which what is still missing is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is to be killed, and under which load."""

    child_kills: int = 20
    """Of a child that runs a task."""
    member_kills: int = 0
    """Of any process below the supervisor: one that helps, or a child that is only starting."""
    worker_kills: int = 3
    """Of these kinds in turns:"""
    worker_kinds: tuple[str, ...] = ("worker", "supervisor")
    """All its processes at once, and the supervisor alone, which has to take the others with it."""
    quiet_kills: int = 2
    """Kills when there is nothing else in the queue, and nothing new comes."""
    children: int = 2
    backlog: int = 200
    """Tasks that are in the queue at any time."""
    pause: tuple[float, float] = (0.05, 0.3)
    """Seconds between two kills."""
    in_a_row: float = 0.25
    """Share of the kills of whole workers after which the next kill does not wait until all runs again."""
    seed: int = 1
    progress: Callable[[str], None] | None = None


def environ(folder: Path, database: Path, **more: str) -> dict[str, str]:
    """What worker and sender are told."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("UMBEL_")}
    env |= {"FAULTS_FOLDER": str(folder), "FAULTS_DATABASE": str(database)}
    path = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "core" / "src"), more.pop("PYTHONPATH", ""))))
    return env | more | {"PYTHONPATH": path}


class Run:
    """One run; everything of it is in `folder`, the history too."""

    def __init__(self, folder: Path, plan: Plan, target: Target | None = None) -> None:
        self.plan, self.target, self.folder = plan, target or Target(), folder
        self.history = History(folder / "history.jsonl")
        self.database = folder / self.target.database
        env = environ(folder, self.database, **self.target.environ)
        command = (*self.target.worker, self.target.concurrency, str(plan.children))
        self.worker = Worker(command, env, folder)
        self._sender = Sender(self.target.sender, env, folder)
        self._tail = Tail(self.history.path)
        self._dice = random.Random(plan.seed)
        self._sent: list[str] = []
        self._open: set[str] = set()
        """Sent, and not yet ended."""
        self._running: dict[str, tuple[int, str]] = {}
        """Token of an execution, its process and its task."""
        self._cut: set[str] = set()
        """Tasks that the last kill interrupted and that have not started again."""
        self._ended = 0
        self._kills = 0

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        kill(self.worker.pids() if self.worker.ended() is None else [])
        self._sender.close()
        self.history.close()

    def go(self) -> None:
        """Do all of the plan; what it has come to is in the history."""
        kinds = ["child"] * self.plan.child_kills + ["member"] * self.plan.member_kills
        kinds += [self.plan.worker_kinds[n % len(self.plan.worker_kinds)] for n in range(self.plan.worker_kills)]
        self._dice.shuffle(kinds)
        self._load(self.plan.backlog)
        self.worker.start()
        self._until(lambda: self._ended > 0, "no task ran")
        for kind in kinds:
            self._work_for(self._dice.uniform(*self.plan.pause))
            self._kill(kind)
            self._until_more(f"nothing ran after the kill of a {kind}")
            if kind in self.plan.worker_kinds and self._dice.random() >= self.plan.in_a_row:
                self._work_for(RECOVERY, until=lambda: not self._cut)
        self._drain()
        for number in range(self.plan.quiet_kills):
            self._quiet_kill(("child", *self.plan.worker_kinds)[number % (1 + len(self.plan.worker_kinds))])
        self._finish()

    def _load(self, backlog: int) -> None:
        """Send until there is as much in the queue: mostly very short tasks, which are fetched in large batches."""
        self._read()
        missing = backlog - len(self._open)
        if missing <= 0:
            return
        jobs = []
        for _ in range(missing):
            short = self._dice.random() < 0.7
            jobs.append((self._new_id(), self._dice.uniform(0, 0.002) if short else self._dice.uniform(0.005, 0.04)))
        self._sender.order("send", jobs=jobs, bulk=self._dice.random() < 0.5)

    def _new_id(self) -> str:
        id = f"task-{len(self._sent):06}"
        self._sent.append(id)
        self._open.add(id)
        return id

    def _read(self) -> None:
        for event in self._tail.read():
            if event.kind == "start":
                self._running[event.get("token")] = (event.pid, event.id)
                self._cut.discard(event.id)
            elif event.kind == "end":
                self._running.pop(event.get("token"), None)
                self._open.discard(event.id)
                self._ended += 1

    def _work_for(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            self._load(self.plan.backlog)
            time.sleep(0.01)

    def _until(self, is_so: Callable[[], bool], otherwise: str, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not is_so():
            status = self.worker.ended()
            if status is not None or time.monotonic() > deadline:
                state = "runs" if status is None else f"has ended with {status}"
                raise RuntimeError(f"{otherwise}; the worker {state}; its last words:\n{self.worker.words()}")
            time.sleep(0.005)
            self._read()

    def _until_more(self, otherwise: str) -> None:
        ended = self._ended

        def is_so() -> bool:
            self._load(self.plan.backlog)
            return self._ended > ended

        self._until(is_so, otherwise)

    def _kill(self, kind: str) -> None:
        self._kills += 1
        name = f"kill-{self._kills:04}"
        everything = self.worker.pids()
        if kind == "child":
            self._until(lambda: any(pid in everything for pid in self._busy()), "no child runs a task")
            pids = [self._dice.choice(sorted(pid for pid in self._busy() if pid in everything))]
            victims = pids
        elif kind == "member":
            self._until(lambda: len(self.worker.pids()) > 1, "the supervisor is alone")
            victims = pids = [self._dice.choice(self.worker.pids()[1:])]
        else:
            pids, victims = everything, everything if kind == "worker" else everything[:1]
        self.history.write("fault", name, kind="kill", target=kind, phase="begin", pids=pids)
        kill(victims)
        if kind in self.plan.worker_kinds:
            self.worker.ended()
        left = survivors(pids, self.target.die_within)
        self.history.write("fault", name, phase="end", survivors=left)
        kill(left)
        self._read()
        self._cut = {id for pid, id in self._running.values() if pid in pids}
        self._running = {token: (pid, id) for token, (pid, id) in self._running.items() if pid not in pids}
        if kind in self.plan.worker_kinds:
            self._until_reaped()
            self.worker.start()
        if self.plan.progress:
            self.plan.progress(kind)

    def _busy(self) -> set[int]:
        return {pid for pid, _ in self._running.values()}

    def _until_reaped(self) -> None:
        deadline = time.monotonic() + 10
        while self.worker.ended() is None and time.monotonic() < deadline:
            time.sleep(0.002)

    def _quiet_kill(self, kind: str) -> None:
        """Each child has one task and nothing more is in the queue: only the dead one's share can bring it back."""
        jobs = [(self._new_id(), 0.4) for _ in range(self.plan.children)]
        self._sender.order("send", jobs=jobs, bulk=True)
        self._until(lambda: len(self._running) >= self.plan.children, "the children did not all get a task")
        self._kill(kind)
        self._drain()

    def _drain(self) -> None:
        """Wait until all has ended, or nothing has for long: what is then missing is for the checker to say."""
        self._read()
        ended, since = self._ended, time.monotonic()
        while self._open and time.monotonic() - since < self.target.patience:
            time.sleep(0.02)
            self._read()
            if self._ended > ended:
                ended, since = self._ended, time.monotonic()

    def _finish(self) -> None:
        pids = self.worker.pids()
        self.history.write("fault", "stop", kind="stop", phase="begin", pids=pids)
        self.worker.terminate(self.target.stop)
        deadline = time.monotonic() + 60
        while self.worker.ended() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        left = survivors(pids, 2.0)
        self.history.write("fault", "stop", phase="end", survivors=left)
        kill(left)
        for begin in range(0, len(self._sent), 500):
            self._sender.order("results", ids=self._sent[begin : begin + 500])
        self._sender.order("look")
        connection = sqlite3.connect(self.database)
        try:
            answer = "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check"))
        finally:
            connection.close()
        self.history.write("integrity", self.database.name, answer=answer)
