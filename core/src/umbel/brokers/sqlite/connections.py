"""The two connections of a process to one file: one writes, one reads; who uses them, and how they survive."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from typing import TYPE_CHECKING

from umbel.brokers.sqlite import faults
from umbel.brokers.sqlite.connection import open_connection
from umbel.brokers.sqlite.faults import StorageError

if TYPE_CHECKING:
    from types import FrameType

FREEZE = 3.0
"""Seconds that a fork waits for a transaction of another thread."""


class Connections:
    """Opened when first needed, and anew after an error that leaves them in doubt, or when the file was replaced."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.unsafe_network = False
        # Reentrant, since their `release` tells whether they were acquired: an exception raised by a signal handler
        # may come just after `acquire`.
        self.turn = threading.RLock()
        """Held by whoever uses the write connection."""
        self.look = threading.RLock()
        """Held by whoever uses the read connection."""
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._files: dict[sqlite3.Connection, tuple[int, int]] = {}
        """Device and inode of what each connection has open."""
        self._inside: dict[int, FrameType] = {}
        """Threads that are in the middle of a call, and that call."""
        self._writing = 0
        """The thread that may be in the middle of a transaction."""
        self._frozen = False

    # --- who uses them -----------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Begin a call of this thread; `leave` ends it, in a `finally`."""
        thread, frame = threading.get_ident(), sys._getframe(1)
        former = self._inside.get(thread)
        # An exception of a signal handler may have kept an earlier call from leaving: then that one is not running.
        if former is not None and _is_running(former, frame):
            raise StorageError(f"{self.path}: a signal handler interrupts a call with another; leave that to a thread")
        self._inside[thread] = frame

    def leave(self, lock: threading.RLock) -> None:
        """End a call of this thread, which may have acquired the lock."""
        thread = threading.get_ident()
        if lock is self.turn and self._writing == thread:
            writer, self._writing = self._writer, 0
            if writer is not None and writer.in_transaction:
                self.roll_back(writer, None)  # interrupted
        self._inside.pop(thread, None)
        try:
            while True:  # more than once, where an earlier call was kept from it
                lock.release()
        except RuntimeError:
            pass

    # --- opening and closing -----------------------------------------------------------------------------------------

    def writer(self, deadline: float) -> tuple[sqlite3.Connection, bool]:
        """The write connection, and whether it is new. The turn is the caller's."""
        self._writing = threading.get_ident()
        writer = self._writer
        if writer is not None:
            return writer, False
        self._writer = writer = self._open(deadline)
        return writer, True

    def reader(self, deadline: float) -> sqlite3.Connection:
        """The read connection. The look is the caller's."""
        if self._reader is not None and self.moved(self._reader):
            self.drop_reader()
        if self._reader is None:
            self._reader = self._open(deadline)
        return self._reader

    def _open(self, deadline: float) -> sqlite3.Connection:
        connection = open_connection(self.path, deadline, unsafe_network=self.unsafe_network)
        found = os.stat(self.path)
        self._files[connection] = (found.st_dev, found.st_ino)
        return connection

    def moved(self, connection: sqlite3.Connection) -> bool:
        """Whether the file that it has open is no longer the one at the path, which everybody else uses."""
        try:
            found = os.stat(self.path)
        except OSError:
            return True
        return self._files[connection] != (found.st_dev, found.st_ino)

    def roll_back(self, writer: sqlite3.Connection, cause: BaseException | None) -> None:
        """End the transaction without effect; the connection with it, if the cause leaves it in doubt."""
        broken = is_broken(cause)
        try:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        except sqlite3.Error:
            broken = True
        if broken:
            self.drop_writer()

    def drop_writer(self) -> None:
        """Close the write connection; the next call opens another."""
        writer, self._writer = self._writer, None
        self._close(writer)

    def drop_reader(self) -> None:
        """Close the read connection; the next call opens another."""
        reader, self._reader = self._reader, None
        self._close(reader)

    def _close(self, connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            self._files.pop(connection, None)
            try:
                connection.close()
            except sqlite3.Error:
                pass

    # --- forks -------------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Before a fork: let transactions end, and close the connections; they open again when they are needed.

        SQLite remembers per process which locks it has on a file. A child inherits that memory but not the locks, and
        would write without any, on a connection of its own too: what it commits may be lost.
        """
        if threading.get_ident() in self._inside or not self.turn.acquire(timeout=FREEZE):
            return
        if not self.look.acquire(timeout=FREEZE):
            self.turn.release()
            return
        self._frozen = True
        self.drop_writer()
        self.drop_reader()

    def thaw(self) -> None:
        """After a fork, in the parent."""
        if self._frozen:
            self._frozen = False
            self.look.release()
            self.turn.release()

    def disown(self) -> None:
        """In a process that was forked without `freeze`, by C code: forget the locks that its parent has."""
        for connection in (self._writer, self._reader):
            if connection is not None and connection.in_transaction:
                raise StorageError(
                    f"{self.path}: this process was forked in the middle of a transaction; fork earlier", fatal=True
                )
        self.drop_writer()
        self.drop_reader()


def is_broken(cause: BaseException | None) -> bool:
    """Whether a connection is not to be used again after this."""
    return isinstance(cause, sqlite3.Error) and faults.code(cause) in faults.BROKEN


def _is_running(call: FrameType, frame: FrameType | None) -> bool:
    while frame is not None and frame is not call:
        frame = frame.f_back
    return frame is call
