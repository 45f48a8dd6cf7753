"""The file's schema is versioned; older files become new ones, whoever opens them first."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from tests.unit.brokers.sqlite.processes import Child
from umbel.brokers.sqlite import schema
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.connection import _set_up, open_connection, patiently
from umbel.brokers.sqlite.faults import StorageError
from umbel.spec import Fatal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD = """
    CREATE TABLE task (body BLOB NOT NULL);
    INSERT INTO task VALUES ('first'), ('second');
"""
"""A file as a version 0 might have been."""


def move_tasks(connection: sqlite3.Connection) -> None:
    """From version 0, which has only its table, to one that has ours beside it."""
    schema.create(connection)
    connection.execute("INSERT INTO queue (id, name) VALUES (1, 'q')")
    connection.execute(
        "INSERT INTO message SELECT rowid, 1, 0, rowid, 1, 0, 'm' || rowid,"
        ' \'[{},"application/json","utf-8",null,null,null,null,null,null,"",""]\', CAST(body AS BLOB) FROM task'
    )
    connection.execute("INSERT INTO ready SELECT queue, rank, place, id, 0 FROM message")


def drop_tasks(connection: sqlite3.Connection) -> None:
    """And to a next one."""
    connection.execute("DROP TABLE task")


def old_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(OLD)
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION}")
    connection.close()


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return schema.version(connection)
    finally:
        connection.close()


def test_an_old_file_becomes_a_new_one_with_all_it_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", (move_tasks, drop_tasks))
    old_file(path)
    broker = SqliteBroker(path)
    broker.publish([message("third")])
    assert bodies(receive_all(consume(broker))) == ["first", "second", "third"]
    assert (
        broker.access.read(lambda c: c.execute("SELECT name FROM sqlite_master WHERE name = 'task'").fetchall()) == []
    )
    broker.close()
    assert version(path) == 2


def test_only_what_is_missing_is_done(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_file(path)
    for migrations in ((move_tasks,), (move_tasks, drop_tasks), (move_tasks, drop_tasks)):
        monkeypatch.setattr(schema, "MIGRATIONS", migrations)
        broker = SqliteBroker(path)
        assert broker.stats(["q"])["q"].ready == 2
        broker.close()
        assert version(path) == len(migrations)
    monkeypatch.setattr(schema, "MIGRATIONS", (move_tasks,))
    with pytest.raises(Fatal, match="schema version 2, and this umbel knows versions up to 1"):
        SqliteBroker(path).stats(["q"])


def test_a_migration_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        drop_tasks(connection)
        raise RuntimeError("half way")

    monkeypatch.setattr(schema, "MIGRATIONS", (move_tasks, fails))
    old_file(path)
    with pytest.raises(RuntimeError, match="half way"):
        SqliteBroker(path).publish([message()])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM task").fetchone() == (2,)
    assert schema.version(connection) == 0
    connection.close()


def test_a_new_file_has_what_the_schema_says(path: Path) -> None:
    broker = SqliteBroker(path)
    broker.declare([])

    def pragma(name: str) -> object:
        return broker.access.read(lambda c: c.execute(f"PRAGMA {name}").fetchone()[0])

    assert pragma("user_version") == len(schema.MIGRATIONS)
    assert pragma("application_id") == schema.APPLICATION
    assert (pragma("journal_mode"), pragma("auto_vacuum"), pragma("wal_autocheckpoint")) == ("wal", 2, 0)
    broker.close()


def test_many_processes_may_make_the_file_at_the_same_moment(path: Path) -> None:
    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        begin = float(hear())
        while time.time() < begin:
            pass
        broker = SqliteBroker(path)
        broker.publish([message("1"), message("2")])
        broker.close()

    for _ in range(15):
        children = [Child(work) for _ in range(4)]
        for child in children:
            child.tell(time.time() + 0.005)
        for child in children:
            assert child.wait() == 0
            child.close()
        broker = SqliteBroker(path)
        assert broker.stats(["q"])["q"].ready == 8
        broker.close()
        path.unlink()


def test_a_file_that_is_being_made_at_the_moment_of_the_check_is_not_taken_for_a_strangers(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    made = 0

    def meanwhile(statement: str) -> None:
        nonlocal made
        if "sqlite_master" in statement and not made:
            made += 1
            with contextlib.suppress(StorageError):  # it has to wait, if we have looked already
                open_connection(str(path), time.monotonic()).close()

    connection.set_trace_callback(meanwhile)
    patiently(str(path), time.monotonic() + 5, lambda: _set_up(connection, str(path)))
    assert made
    assert schema.check(connection, str(path))
    connection.close()
