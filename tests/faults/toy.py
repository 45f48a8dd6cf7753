"""The smallest queue on SQLite that passes the harness, and ways to break it that the harness must see.

python -m tests.faults.toy sender | worker -c CHILDREN, with TOY naming what is broken: pop (a task is deleted before it
runs), orphans (children outlive the supervisor), twice (a task is given out again while it runs), hoard (a child takes
ten tasks at a time), late (the dead one's tasks come back after 2.5 s).
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults import bodies
from tests.faults.history import History
from tests.faults.sender import Subject, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

BROKEN = os.environ.get("TOY", "")
history = History(Path(os.environ["FAULTS_FOLDER"]) / "history.jsonl")


def connect() -> sqlite3.Connection:
    """A connection of this process, on a database with its table."""
    connection = sqlite3.connect(os.environ["FAULTS_DATABASE"], timeout=10, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY, body TEXT, owner INTEGER)")
    return connection


class ToySubject(Subject):
    """Sends."""

    def __init__(self) -> None:
        self._db = connect()

    def send(self, jobs: Sequence[tuple[str, float]], bulk: bool) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO job (body) VALUES (?)", [(json.dumps(job),) for job in jobs])
        self._db.execute("COMMIT")

    def look(self) -> dict[str, int | None]:
        return {"ready": self._db.execute("SELECT count(*) FROM job").fetchone()[0]}


def child() -> None:
    """Take tasks and run them, as long as the parent lives."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent, me, db = os.getppid(), os.getpid(), connect()
    batch = 10 if BROKEN == "hoard" else 1
    free = "owner IS NULL" if BROKEN != "twice" else f"(owner IS NULL OR (id % 50 = 0 AND owner != {me}))"
    claim = f"UPDATE job SET owner = ? WHERE id IN (SELECT id FROM job WHERE {free} LIMIT ?) RETURNING id, body"
    while BROKEN == "orphans" or os.getppid() == parent:
        rows = db.execute(claim, (me, batch)).fetchall()
        if not rows:
            time.sleep(0.005)
        for id, body in sorted(rows):
            if BROKEN == "pop":
                db.execute("DELETE FROM job WHERE id = ?", (id,))
            if BROKEN != "orphans" and os.getppid() != parent:
                return
            bodies.work(history, *json.loads(body))
            db.execute("DELETE FROM job WHERE id = ?", (id,))


def supervise(count: int) -> None:
    """Keep as many children, and give back what dead ones held; nothing here holds a connection across a fork."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    children: set[int] = set()
    free("owner IS NOT NULL")
    while not stopping:
        while len(children) < count:
            pid = os.fork()
            if pid == 0:
                child()
                os._exit(0)
            children.add(pid)
        dead, _ = os.waitpid(-1, os.WNOHANG)
        if dead:
            children.discard(dead)
            if BROKEN == "late":
                time.sleep(2.5)
            free(f"owner = {dead}")
        else:
            time.sleep(0.005)
    for pid in children:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def free(which: str) -> None:
    """Give these tasks back."""
    db = connect()
    db.execute(f"UPDATE job SET owner = NULL WHERE {which}")
    db.close()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        supervise(int(sys.argv[sys.argv.index("-c") + 1]))
    else:
        serve(ToySubject(), history)
