"""The tables, and how older files become new ones."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable

from umbel.brokers.sqlite.faults import StorageError

APPLICATION = 0x756D6265
"""PRAGMA application_id of our files: "umbe"."""

Migration = Callable[[sqlite3.Connection], None]

TABLES = (
    """
    CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE
    )""",
    # `id` is the microsecond of publishing, made unique and rising; `place` is the same, or the microsecond when it is
    # due. `rank` is the priority turned round. `lone`: comes alone, since nobody knows what became of it last time.
    """
    CREATE TABLE message (
        id INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        place INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        lone INTEGER NOT NULL,
        uid TEXT NOT NULL,
        props TEXT NOT NULL,
        body BLOB NOT NULL
    )""",
    # A message is in exactly one of the next three. They are apart from it so that a claim does not rewrite its bytes.
    """
    CREATE TABLE ready (
        queue INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        place INTEGER NOT NULL,
        id INTEGER NOT NULL,
        lone INTEGER NOT NULL,
        PRIMARY KEY (queue, rank, place, id)
    ) WITHOUT ROWID""",
    "CREATE INDEX ready_lone ON ready (queue, rank, place, id) WHERE lone = 1",
    """
    CREATE TABLE delayed (
        queue INTEGER NOT NULL,
        due INTEGER NOT NULL,
        id INTEGER NOT NULL,
        PRIMARY KEY (queue, due, id)
    ) WITHOUT ROWID""",
    # `claim` is the microsecond of steady time when it was claimed, made unique within the owner: it is the fence, too.
    """
    CREATE TABLE lease (
        owner INTEGER NOT NULL,
        claim INTEGER NOT NULL,
        id INTEGER NOT NULL,
        PRIMARY KEY (owner, claim, id)
    ) WITHOUT ROWID""",
    # Whoever consumes, watches or subscribes. `renewed` is steady time; `slot` is its place on the board of bells.
    """
    CREATE TABLE owner (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        slot INTEGER NOT NULL UNIQUE,
        renewed REAL NOT NULL,
        lease REAL NOT NULL,
        boot TEXT NOT NULL,
        pid INTEGER NOT NULL
    )""",
    """
    CREATE TABLE result (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        body BLOB NOT NULL,
        content_type TEXT,
        attempt INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        terminal INTEGER NOT NULL,
        meta TEXT,
        expires REAL
    )""",
    "CREATE INDEX result_expires ON result (expires) WHERE expires IS NOT NULL",
    # States that were replaced, kept for some seconds so that a watcher sees every one of them, in order.
    """
    CREATE TABLE past (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        state TEXT NOT NULL,
        body BLOB NOT NULL,
        content_type TEXT,
        attempt INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        terminal INTEGER NOT NULL,
        meta TEXT
    )""",
    "CREATE INDEX past_id ON past (id)",
    """
    CREATE TRIGGER result_replaced BEFORE UPDATE ON result BEGIN
        INSERT OR REPLACE INTO past VALUES (
            old.seq, old.id, old.state, old.body, old.content_type, old.attempt, old.generation, old.terminal, old.meta
        );
    END""",
    """
    CREATE TABLE barrier (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        expires REAL NOT NULL
    )""",
    "CREATE INDEX barrier_expires ON barrier (expires)",
    """
    CREATE TABLE member (
        barrier INTEGER NOT NULL,
        name TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (barrier, name)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE broadcast (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        topic TEXT NOT NULL,
        body BLOB NOT NULL,
        sent REAL NOT NULL
    )""",
)


def create(connection: sqlite3.Connection) -> None:
    """Version 1: all tables."""
    for statement in TABLES:
        connection.execute(statement)
    # Owners' ids are also bytes of a lock file, which may outlive the database: two databases should not share them.
    first = random.randrange(1 << 30)
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('owner', ?)", (first,))


MIGRATIONS: tuple[Migration, ...] = (create,)
"""The n-th leads to version n. Append; never change one that has been released."""


def version(connection: sqlite3.Connection) -> int:
    """The schema version of the file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the file is up to date. Refuses one that is newer than we know, or not ours."""
    found, newest = version(connection), len(MIGRATIONS)
    if found > newest:
        raise StorageError(
            f"{path}: has schema version {found}, and this umbel knows versions up to {newest};"
            f" upgrade umbel here, or name another file",
            fatal=True,
        )
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    used = application or connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if used and application != APPLICATION:
        raise StorageError(f"{path}: is the database of another application; name another file", fatal=True)
    return found == newest


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the file up to date. Call it inside a write transaction, after `check`."""
    for number, migrate in enumerate(MIGRATIONS[version(connection) :], version(connection) + 1):
        migrate(connection)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
