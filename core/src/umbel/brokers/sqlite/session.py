"""What one process has open of one database file, shared by its brokers and result stores."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from umbel.brokers.sqlite import faults, schema
from umbel.brokers.sqlite.commits import After, Commits, Job, Work
from umbel.brokers.sqlite.connection import patiently
from umbel.brokers.sqlite.connections import Connections, is_broken
from umbel.brokers.sqlite.faults import StorageError
from umbel.brokers.sqlite.host import Host
from umbel.brokers.sqlite.location import TIMEOUT

if TYPE_CHECKING:
    from umbel.brokers.sqlite.location import Location

LOG_PAGES = 2000
"""Pages in the log, as estimated, after which they are copied into the database."""


class Session:
    """Thread-safe."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.connections = Connections(path)
        self.commits = Commits(self.connections, self._grown)
        self._users: WeakSet[object] = WeakSet()
        """Brokers and result stores that use it; the last one to leave closes it."""
        self._gate = threading.Lock()
        """Held to change the users, and the host."""
        self._host: Host | None = None

    def join(self, user: object, location: Location) -> None:
        """Keep the session open until this user leaves."""
        with self._gate:
            self._users.add(user)
            self.connections.unsafe_network |= location.unsafe_network

    def leave(self, user: object) -> None:
        """Close everything if this was the last user."""
        with self._gate:
            self._users.discard(user)
            if self._users:
                return
        with self.connections.turn, self.connections.look:
            self.connections.drop_writer()
            self.connections.drop_reader()
            if self._host is not None:
                self._host.close()
                self._host = None

    @property
    def host(self) -> Host:
        """Who of this host is alive, and who waits. Made anew if its folder was deleted."""
        host = self._host
        if host is None or not host.in_place():
            if not os.path.exists(self.path):
                self.read(schema.version, TIMEOUT)  # which makes it
            with self._gate:
                if self._host is None:
                    self._host = Host(self.path)
                elif not self._host.in_place():
                    lost, self._host = self._host, Host(self.path, self._host.mine)
                    lost.close()
                host = self._host
        return host

    def read(self, work: Work, timeout: float) -> Any:
        """What `work` returns, given the read connection. It must not write, nor leave a statement unfinished."""
        connections, deadline = self.connections, time.monotonic() + timeout
        connections.enter()
        try:
            if not connections.look.acquire(timeout=timeout):
                raise faults.busy(self.path, timeout)
            reader = connections.reader(deadline)
            return patiently(self.path, deadline, lambda: work(reader))
        except StorageError as exc:
            if is_broken(exc.__cause__):
                connections.drop_reader()
            raise
        finally:
            connections.leave(connections.look)

    def write(self, work: Work, *, durable: bool, timeout: float, weight: int = 0, after: After | None = None) -> Any:
        """What `work` returns, once it is committed; on disk, if `durable`. `weight`: about how many bytes it adds."""
        value = self.commits.run(Job(work, after, durable=durable, timeout=timeout, weight=weight), timeout)
        if self._host is not None and self._host.board.log_pages >= LOG_PAGES:
            self.checkpoint()
        return value

    def _grown(self, pages: int) -> None:
        # Whoever writes holds SQLite's write lock: no two processes are here at a time.
        (self._host or self.host).board.log_pages += pages

    def checkpoint(self) -> None:
        """Copy the log into the database, unless somebody else is writing.

        On the read connection, while our write connection keeps everybody from committing: SQLite before 3.51.3 may
        damage the database when a checkpoint and a commit that starts the log anew meet
        (https://sqlite.org/wal.html#walresetbug). For the same reason automatic checkpoints are off.
        """
        connections, deadline = self.connections, time.monotonic()
        connections.enter()
        try:
            if connections.turn.acquire(blocking=False) and connections.look.acquire(blocking=False):
                self._checkpoint(connections.writer(deadline)[0], connections.reader(deadline))
        except (sqlite3.Error, StorageError) as exc:
            # Everybody's work is safe in the log. If it cannot be copied now, a commit will say what is wrong.
            if self._host is not None and not (isinstance(exc, sqlite3.Error) and faults.is_busy(exc)):
                self._host.board.log_pages = LOG_PAGES // 2
        finally:
            connections.leave(connections.look)
            connections.leave(connections.turn)

    def shrink(self, pages: int) -> None:
        """Give up to so many free pages back to the file system, unless somebody else is writing."""
        connections = self.connections
        connections.enter()
        try:
            if connections.turn.acquire(blocking=False):
                writer, _ = connections.writer(time.monotonic())
                # `execute` would do one page; a script is run to its end, and without the GIL.
                writer.executescript(f"PRAGMA incremental_vacuum({pages})")
                self._grown(pages // 4)
        except (sqlite3.Error, StorageError):
            pass  # another time
        finally:
            connections.leave(connections.turn)

    def _checkpoint(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        writer.execute("BEGIN IMMEDIATE")
        try:
            _, log, copied = reader.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            # A reader elsewhere may have kept some of it back: then try again soon.
            self.host.board.log_pages = 0 if copied >= log else LOG_PAGES // 2
        finally:
            writer.execute("ROLLBACK")
