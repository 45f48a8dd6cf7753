"""Opening the file: its folder, its checks, its settings."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from umbel.brokers.sqlite import faults, schema
from umbel.brokers.sqlite.faults import StorageError
from umbel.brokers.sqlite.volumes import network_filesystem

OLDEST = (3, 35, 0)
"""The first SQLite with RETURNING."""
STATEMENTS = 256
"""Prepared statements kept by a connection."""
SETTINGS = """
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA secure_delete = OFF;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -4000;
    PRAGMA journal_size_limit = 16777216;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
"""
"""Checkpoints are ours to time (see `Session.checkpoint`). Debian's SQLite would overwrite what is deleted."""

T = TypeVar("T")


def open_connection(path: str, deadline: float, *, unsafe_network: bool = False) -> sqlite3.Connection:
    """A connection to the file, made and brought up to date if need be, in autocommit mode."""
    _prepare_folder(path, unsafe_network)
    try:
        connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
        )
    except sqlite3.Error as exc:
        raise faults.translate(path, exc) from exc
    try:
        patiently(path, deadline, lambda: _set_up(connection, path))
    except BaseException:
        connection.close()
        raise
    return connection


def patiently(path: str, deadline: float, attempt: Callable[[], T]) -> T:
    """What `attempt` returns, tried again while somebody else locks the file, until the deadline (monotonic)."""
    started = time.monotonic()
    while True:
        try:
            return attempt()
        except sqlite3.Error as exc:
            if not faults.is_busy(exc):
                raise faults.translate(path, exc) from exc
            if time.monotonic() >= deadline:
                raise faults.busy(path, time.monotonic() - started) from exc
        pause()


def pause() -> None:
    """Wait a moment for somebody else's transaction; SQLite's own busy handler sleeps for far longer."""
    time.sleep(random.uniform(0.0002, 0.002))


def _prepare_folder(path: str, unsafe_network: bool) -> None:
    if sqlite3.sqlite_version_info < OLDEST:
        raise StorageError(
            f"{path}: needs SQLite {'.'.join(map(str, OLDEST))} or later, and Python has {sqlite3.sqlite_version} here",
            fatal=True,
        )
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as exc:
        raise StorageError(
            f"{path}: its folder cannot be made ({exc.strerror}: {exc.filename}); make it, or name another file",
            fatal=True,
        ) from exc
    if os.path.isdir(path):
        raise StorageError(f"{path}: is a folder; name a file in it", fatal=True)
    kind = None if unsafe_network else network_filesystem(folder)
    if kind is not None:
        raise StorageError(
            f"{path}: lies on a network file system ({kind}), where SQLite's locks do not hold and the queue would be"
            f" damaged; name a file on a local disk, use a broker with a server, or add ?unsafe_network=1 to the URL"
            f" if only one host ever uses the file",
            fatal=True,
        )


def _set_up(connection: sqlite3.Connection, path: str) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    if not connection.execute("PRAGMA page_count").fetchone()[0]:
        # Before the first table exists, or it has no effect.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # In one transaction: somebody else may be making the tables at this moment.
    connection.execute("BEGIN")
    current = schema.check(connection, path)
    connection.execute("COMMIT")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageError(f"{path}: this file system cannot do write-ahead logging; name a file elsewhere", fatal=True)
    connection.executescript(SETTINGS)
    if not current:
        connection.execute("BEGIN IMMEDIATE")
        if not schema.check(connection, path):
            schema.upgrade(connection)
        connection.execute("COMMIT")
