"""Group commit: whoever waits for the write connection shares the next transaction, and its one fsync."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from umbel.brokers.sqlite import faults
from umbel.brokers.sqlite.connection import pause
from umbel.brokers.sqlite.faults import StorageError

if TYPE_CHECKING:
    from umbel.brokers.sqlite.connections import Connections

Work = Callable[[sqlite3.Connection], Any]
After = Callable[[sqlite3.Connection, Any], Any]

NORMAL, FULL = 1, 2
"""PRAGMA synchronous."""
GRACE = 1.0
"""Seconds beyond its deadline that a call waits for a transaction which is being written already."""
PAGE = 4096


class Job:
    """One caller's part of a transaction."""

    __slots__ = ("after", "deadline", "done", "durable", "error", "started", "value", "weight", "work")

    def __init__(self, work: Work, after: After | None, *, durable: bool, timeout: float, weight: int) -> None:
        self.work = work
        """May be run more than once, the earlier times rolled back; so it changes nothing but the database."""
        self.after = after
        """Run after the commit with the write connection and the value; what it returns replaces that."""
        self.durable = durable
        self.weight = weight
        self.started = time.monotonic()
        self.deadline = self.started + timeout
        self.done = False
        self.value: Any = None
        self.error: Exception | None = None


class Commits:
    """The transactions of one process. Leaders are elected by the lock of the write connection."""

    def __init__(self, connections: Connections, grown: Callable[[int], None]) -> None:
        self.path = connections.path
        self.count = 0
        """Transactions committed."""
        self._connections = connections
        self._grown = grown
        """Told, before each commit, about how many pages it adds to the log."""
        self._gate = threading.Lock()
        """Held to change `_jobs`."""
        self._jobs: list[Job] = []
        self._level = NORMAL

    def run(self, job: Job, timeout: float) -> Any:
        """What the job's work returns, once it is committed; an error in somebody else's work is not ours."""
        connections = self._connections
        connections.enter()
        try:
            with self._gate:
                self._jobs.append(job)
            if not connections.turn.acquire(timeout=timeout):
                self._give_up(job, timeout)
            if not job.done:
                self._lead()
        except BaseException:
            # Interrupted, it may be; then nobody else shall do what the caller believes undone.
            self._withdraw(job)
            raise
        finally:
            connections.leave(connections.turn)
        if job.error is not None:
            raise job.error
        return job.value

    def _give_up(self, job: Job, timeout: float) -> None:
        """Raise, unless the job is part of a transaction that is being written: wait for that one."""
        if self._withdraw(job):
            raise faults.busy(self.path, timeout)
        if not self._connections.turn.acquire(timeout=GRACE):
            raise StorageError(f"{self.path}: the disk has not answered for {timeout:.3g} s", certain=False)

    def _withdraw(self, job: Job) -> bool:
        with self._gate:
            if job not in self._jobs:
                return False
            self._jobs.remove(job)
            return True

    def _lead(self) -> None:
        """Do everybody's work that waits, ours included. The turn is ours."""
        with self._gate:
            jobs, self._jobs = self._jobs, []
        spoiled: Exception | None = None
        try:
            if len(jobs) > 1:
                try:
                    self._transact(jobs)
                except Exception as exc:  # noqa: BLE001 - whosever it is: now each has a transaction of its own
                    spoiled = exc
            for job in jobs:
                if not job.done:
                    try:
                        self._transact([job])
                    except Exception as exc:  # noqa: BLE001 - it belongs to the caller whose work raised it
                        job.error, job.done = exc, True
        except BaseException:
            # Interrupted: whoever's work is left leads it when their turn comes.
            with self._gate:
                self._jobs[:0] = [job for job in jobs if not job.done]
            raise
        if spoiled is None or isinstance(spoiled, StorageError):
            return
        if not any(type(job.error) is type(spoiled) for job in jobs):
            # Nobody's work: a signal handler raised it, in our thread, and wants us to know.
            raise spoiled

    def _transact(self, jobs: list[Job]) -> None:
        """All jobs in one transaction, or an error and nothing done. Those past their deadline fail by themselves."""
        jobs = jobs.copy()
        writer = self._begin(jobs)
        if writer is None:
            return
        values: list[Any] = []
        committing = False
        try:
            before = writer.total_changes
            for job in jobs:
                values.append(job.work(writer))
            pages = 4 + (writer.total_changes - before) // 6 + sum(job.weight for job in jobs) // PAGE
            self._grown(pages)
            committing = True
            writer.execute("COMMIT")
        except BaseException as exc:
            if not committing or writer.in_transaction or isinstance(exc, sqlite3.Error):
                self._connections.roll_back(writer, exc)
                if isinstance(exc, sqlite3.Error):
                    raise faults.translate(self.path, exc, certain=not committing) from exc
                raise
            self._finish(jobs, values, writer)
            raise
        self._finish(jobs, values, writer)

    def _finish(self, jobs: list[Job], values: list[Any], writer: sqlite3.Connection) -> None:
        self.count += 1
        for job, value in zip(jobs, values, strict=True):
            job.value, job.done = value, True
            if job.after is not None:
                job.error = StorageError(f"{self.path}: interrupted", certain=False)
        for job in jobs:
            if job.after is not None:
                try:
                    job.value = job.after(writer, job.value)
                    job.error = None
                except sqlite3.Error as exc:
                    job.error = faults.translate(self.path, exc)
                except Exception as exc:  # noqa: BLE001 - it belongs to the caller whose work raised it
                    job.error = exc

    def _begin(self, jobs: list[Job]) -> sqlite3.Connection | None:
        """The write connection in a transaction of its own; None once every job is past its deadline."""
        connections = self._connections
        self._expire(jobs)
        level = FULL if any(job.durable for job in jobs) else NORMAL
        while jobs:
            writer, new = connections.writer(max(job.deadline for job in jobs))
            if new:
                self._level = NORMAL
            try:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")  # of a call that was interrupted at a bad moment
                if level != self._level:
                    # Not by `execute`: this pragma acts when it is compiled, and compiled statements are kept.
                    writer.executescript(f"PRAGMA synchronous = {level}")
                    self._level = level
                writer.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as exc:
                if not faults.is_busy(exc):
                    connections.roll_back(writer, exc)
                    raise faults.translate(self.path, exc) from exc
                pause()
                self._expire(jobs)
                continue
            if not connections.moved(writer):
                return writer
            writer.execute("ROLLBACK")
            connections.drop_writer()
        return None

    def _expire(self, jobs: list[Job]) -> None:
        now = time.monotonic()
        for job in [job for job in jobs if job.deadline <= now]:
            job.error = faults.busy(self.path, now - job.started)
            job.done = True
            jobs.remove(job)
