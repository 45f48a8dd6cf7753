"""What SQLite complains of, as one sentence that names the file and the remedy."""

from __future__ import annotations

import os
import sqlite3

BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
"""Somebody else is at it; trying again helps."""
BROKEN = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM})
"""After these a connection is not used again."""


class StorageError(Exception):
    """The database failed us. The broker and the result store turn it into their own errors."""

    def __init__(self, text: str, *, fatal: bool = False, certain: bool = True) -> None:
        super().__init__(text)
        self.fatal = fatal
        """Trying again cannot help."""
        self.certain = certain
        """Whether it is certain that nothing was written."""


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 if the error is not SQLite's own."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether trying again in a moment may help."""
    return code(error) in BUSY


def busy(path: str, waited: float) -> StorageError:
    """The file stayed locked until the deadline."""
    return StorageError(
        f"{path}: another process has kept the file locked for {waited:.3g} s; look for one that is stopped or hangs"
    )


def translate(path: str, error: sqlite3.Error, *, certain: bool = True) -> StorageError:
    """The error in words. Not `certain`: it came from the commit itself."""
    what = code(error)
    folder = os.path.dirname(path)
    if what in BUSY:
        return busy(path, 0.0)
    if what == sqlite3.SQLITE_FULL:
        return StorageError(f"{path}: the disk is full, or a quota is; make room in {folder}")
    if what == sqlite3.SQLITE_READONLY:
        return StorageError(
            f"{path}: the file, or its folder, is read-only for this user; make both writable, or name another file",
            fatal=True,
        )
    if what == sqlite3.SQLITE_CANTOPEN:
        return StorageError(
            f"{path}: cannot be opened; this user needs the right to write the file and to create files in {folder}",
            fatal=True,
        )
    if what in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageError(
            f"{path}: not an intact SQLite database ({error}); move it away or restore a copy"
            f" (the sqlite3 command's .recover saves what can be saved)",
            fatal=True,
        )
    if what in (sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StorageError(f"{path}: access denied ({error}); check the rights of the file and its folder", fatal=True)
    if what == sqlite3.SQLITE_IOERR:
        # A commit that could not be synced may still be found in the log after a crash.
        detail = getattr(error, "sqlite_errorname", "") or "I/O error"
        return StorageError(f"{path}: reading or writing failed ({detail}); check the disk", certain=certain)
    return StorageError(f"{path}: {type(error).__name__}: {error}", certain=certain)
