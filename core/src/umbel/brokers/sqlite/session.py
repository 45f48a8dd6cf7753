"""What one process has open of one database file: a connection that writes, one that reads, and group commit."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from umbel.brokers.sqlite import faults
from umbel.brokers.sqlite.connection import open_connection, patiently, pause
from umbel.brokers.sqlite.faults import StorageError
from umbel.brokers.sqlite.host import Host

if TYPE_CHECKING:
    from umbel.brokers.sqlite.location import Location

Work = Callable[[sqlite3.Connection], Any]
After = Callable[[sqlite3.Connection, Any], Any]

NORMAL, FULL = 1, 2
"""PRAGMA synchronous."""
GRACE = 1.0
"""Seconds beyond its deadline that a call waits for a transaction which is being written already."""
FREEZE = 3.0
"""Seconds that a fork waits for a transaction of another thread."""
LOG_PAGES = 2000
"""Pages in the log, as estimated, after which they are copied into the database."""
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


class Session:
    """Thread-safe. Connections are opened when first needed, and anew after an error that leaves them in doubt."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.users: WeakSet[object] = WeakSet()
        """Brokers and result stores that use it; the last one to leave closes it."""
        self.commits = 0
        """Transactions committed."""
        self.unsafe_network = False
        self._turn = threading.Lock()
        """Held by whoever uses the write connection."""
        self._look = threading.Lock()
        """Held by whoever uses the read connection."""
        self._gate = threading.Lock()
        self._jobs: list[Job] = []
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._files: dict[sqlite3.Connection, tuple[int, int]] = {}
        """Device and inode of what each connection has open."""
        self._level = NORMAL
        self._host: Host | None = None
        self._frozen = False

    # --- who uses it -------------------------------------------------------------------------------------------------

    def join(self, user: object, location: Location) -> None:
        """Keep the session open until this user leaves."""
        with self._gate:
            self.users.add(user)
            self.unsafe_network = self.unsafe_network or location.unsafe_network

    def leave(self, user: object) -> None:
        """Close everything if this was the last user."""
        with self._gate:
            self.users.discard(user)
            if self.users:
                return
        with self._turn, self._look:
            self._drop_writer()
            self._drop_reader()
            if self._host is not None:
                self._host.close()
                self._host = None

    @property
    def host(self) -> Host:
        """Who of this host is alive, and who waits. Made anew if its folder was deleted."""
        host = self._host
        if host is None or not host.in_place():
            with self._gate:
                if self._host is None:
                    self._host = Host(self.path)
                elif not self._host.in_place():
                    lost, self._host = self._host, Host(self.path, self._host.mine)
                    lost.close()
                host = self._host
        return host

    # --- forks -------------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Before a fork: let transactions end, and close the connections; they open again when they are needed.

        SQLite remembers per process which locks it has on a file. A child inherits that memory but not the locks, and
        would write without any, on a connection of its own too: what it commits may be lost.
        """
        self._frozen = self._turn.acquire(timeout=FREEZE)
        if self._frozen and not self._look.acquire(timeout=FREEZE):
            self._turn.release()
            self._frozen = False
        if self._frozen:
            self._drop_writer()
            self._drop_reader()

    def thaw(self) -> None:
        """After a fork, in the parent."""
        if self._frozen:
            self._frozen = False
            self._look.release()
            self._turn.release()

    def disown(self) -> None:
        """In a process that was forked without `freeze` (by C code): forget the locks that its parent has."""
        for connection in (self._writer, self._reader):
            if connection is not None and connection.in_transaction:
                raise StorageError(
                    f"{self.path}: this process was forked in the middle of a transaction; fork earlier", fatal=True
                )
        self._drop_writer()
        self._drop_reader()

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, work: Work, timeout: float) -> Any:
        """What `work` returns, given the read connection. It must not write, nor leave a statement unfinished."""
        deadline = time.monotonic() + timeout
        if not self._look.acquire(timeout=timeout):
            raise faults.busy(self.path, timeout)
        try:
            if self._reader is not None and self._moved(self._reader):
                self._drop_reader()
            reader = self._reader
            if reader is None:
                reader = self._reader = self._open(deadline)
            return patiently(self.path, deadline, lambda: work(reader))
        except StorageError as exc:
            if isinstance(exc.__cause__, sqlite3.Error) and faults.code(exc.__cause__) in faults.BROKEN:
                self._drop_reader()
            raise
        finally:
            self._look.release()

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, work: Work, *, durable: bool, timeout: float, weight: int = 0, after: After | None = None) -> Any:
        """What `work` returns, once it is committed; on disk, if `durable`. `weight`: about how many bytes it adds.

        Whoever waits for the write connection meanwhile shares the next transaction, and its one fsync; an error in
        somebody else's work is not ours.
        """
        job = Job(work, after, durable=durable, timeout=timeout, weight=weight)
        with self._gate:
            self._jobs.append(job)
        try:
            if not self._turn.acquire(timeout=timeout):
                self._give_up(job, timeout)
            try:
                if not job.done:
                    self._lead()
            finally:
                self._turn.release()
        except BaseException:
            # Interrupted, it may be; then nobody else shall do what the caller believes undone.
            self._withdraw(job)
            raise
        if job.error is not None:
            raise job.error
        return job.value

    def _give_up(self, job: Job, timeout: float) -> None:
        """Raise, unless the job is part of a transaction that is being written: wait for that one."""
        if self._withdraw(job):
            raise faults.busy(self.path, timeout)
        if not self._turn.acquire(timeout=GRACE):
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
        try:
            if len(jobs) > 1:
                try:
                    self._transact(jobs)
                except Exception:  # noqa: BLE001 - one of them spoils it for all: now each has a transaction of its own
                    pass
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
        if self._host is not None and self._host.board.log_pages >= LOG_PAGES:
            self._checkpoint()

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
            board = self.host.board
            board.log_pages += pages
            committing = True
            writer.execute("COMMIT")
        except BaseException as exc:
            if not committing or writer.in_transaction or isinstance(exc, sqlite3.Error):
                self._roll_back(writer, exc)
                if isinstance(exc, sqlite3.Error):
                    raise faults.translate(self.path, exc, certain=not committing) from exc
                raise
            self._finish(jobs, values, writer)
            raise
        self._finish(jobs, values, writer)

    def _finish(self, jobs: list[Job], values: list[Any], writer: sqlite3.Connection) -> None:
        self.commits += 1
        for job, value in zip(jobs, values, strict=True):
            job.value = value
            if job.after is not None:
                try:
                    job.value = job.after(writer, value)
                except sqlite3.Error as exc:
                    job.error = faults.translate(self.path, exc)
            job.done = True

    def _begin(self, jobs: list[Job]) -> sqlite3.Connection | None:
        """The write connection in a transaction of its own; None once every job is past its deadline."""
        level = FULL if any(job.durable for job in jobs) else NORMAL
        while True:
            writer = self._writer
            if writer is None:
                writer = self._writer = self._open(max(job.deadline for job in jobs))
                self._level = NORMAL
            try:
                if level != self._level:
                    # Not by `execute`: this pragma acts when it is compiled, and compiled statements are kept.
                    writer.executescript(f"PRAGMA synchronous = {level}")
                    self._level = level
                writer.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as exc:
                if not faults.is_busy(exc):
                    self._roll_back(writer, exc)
                    raise faults.translate(self.path, exc) from exc
                self._expire(jobs)
                if not jobs:
                    return None
                pause()
                continue
            if not self._moved(writer):
                return writer
            # The file was deleted or replaced. What is there now is the queue that everybody else uses.
            writer.execute("ROLLBACK")
            self._drop_writer()

    def _expire(self, jobs: list[Job]) -> None:
        now = time.monotonic()
        for job in [job for job in jobs if job.deadline <= now]:
            job.error = faults.busy(self.path, now - job.started)
            job.done = True
            jobs.remove(job)

    def _roll_back(self, writer: sqlite3.Connection, cause: BaseException) -> None:
        broken = isinstance(cause, sqlite3.Error) and faults.code(cause) in faults.BROKEN
        try:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        except sqlite3.Error:
            broken = True
        if broken:
            self._drop_writer()

    # --- connections -------------------------------------------------------------------------------------------------

    def _open(self, deadline: float) -> sqlite3.Connection:
        connection = open_connection(self.path, deadline, unsafe_network=self.unsafe_network)
        found = os.stat(self.path)
        self._files[connection] = (found.st_dev, found.st_ino)
        return connection

    def _moved(self, connection: sqlite3.Connection) -> bool:
        """Whether the file that the connection has open is no longer the one at the path."""
        try:
            found = os.stat(self.path)
        except OSError:
            return True
        return self._files[connection] != (found.st_dev, found.st_ino)

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        self._close(writer)

    def _drop_reader(self) -> None:
        reader, self._reader = self._reader, None
        self._close(reader)

    def _close(self, connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            self._files.pop(connection, None)
            try:
                connection.close()
            except sqlite3.Error:
                pass

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Copy the log into the database, unless somebody else is writing."""
        if self._turn.acquire(blocking=False):
            try:
                self._checkpoint()
            finally:
                self._turn.release()

    def _checkpoint(self) -> None:
        """Checkpoint on the read connection while our write connection keeps everybody from writing.

        SQLite before 3.51.3 may damage the database when a checkpoint and a commit that starts the log anew meet
        (https://sqlite.org/wal.html#walresetbug). So automatic checkpoints are off, and ours exclude commits.
        """
        writer = self._writer
        if writer is None or not self._look.acquire(blocking=False):
            return
        try:
            reader = self._reader
            if reader is None:
                reader = self._reader = self._open(time.monotonic())
            writer.execute("BEGIN IMMEDIATE")
            try:
                _, log, copied = reader.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                # A reader elsewhere may have kept some of it back: then try again soon.
                self.host.board.log_pages = 0 if copied >= log else LOG_PAGES // 2
            finally:
                writer.execute("ROLLBACK")
        except (sqlite3.Error, StorageError):
            # Everybody's work is safe in the log; the next checkpoint reports what is wrong, or a commit does.
            pass
        finally:
            self._look.release()
