"""Results and barriers as SQL. Every function runs inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from umbel.brokers.sqlite.messages import decode_meta, encode_meta
from umbel.brokers.sqlite.statements import insert, lists
from umbel.spec import Result

if TYPE_CHECKING:
    import sqlite3

    from umbel.spec import Arrival

JSON = "application/json"
"""The content type that is kept as NULL."""
EXTRA = 10
"""Expired barriers that each arrival deletes."""

PAST = 10_000
"""Changes for which a state that was replaced is kept; when nothing happens, for some seconds only."""

COLUMNS = "id, state, body, content_type, attempt, generation, terminal, meta"
UPSERT = f"INSERT INTO result ({COLUMNS}, expires)"
RULES = """
    ON CONFLICT (id) DO UPDATE SET
        seq = excluded.seq, state = excluded.state, body = excluded.body, content_type = excluded.content_type,
        attempt = excluded.attempt, generation = excluded.generation, terminal = excluded.terminal,
        meta = excluded.meta, expires = excluded.expires
    WHERE excluded.generation > generation
        OR (excluded.generation = generation AND terminal = 0 AND excluded.attempt >= attempt)
        OR expires <= ?"""
"""The first terminal state of a generation wins, and an older attempt's is refused; what has expired is not there."""


def to_row(result: Result, expires: float | None) -> tuple[Any, ...]:
    """The row of a result; TypeError or ValueError if it cannot be kept, saying why."""
    body, content_type = result.body, result.content_type
    if not isinstance(body, bytes):
        raise TypeError(f"result {result.id}: the body must be bytes, not {type(body).__name__}")
    try:
        meta = encode_meta(result.meta)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"result {result.id}: its meta cannot be written as JSON: {exc}") from exc
    return (
        result.id,
        result.state,
        body,
        None if content_type == JSON else content_type,
        result.attempt,
        result.generation,
        1 if result.terminal else 0,
        meta,
        expires,
    )


def to_result(row: Sequence[Any]) -> Result:
    """The result of a row, as COLUMNS name it."""
    id, state, body, content_type, attempt, generation, terminal, meta = row
    return Result(
        id=id,
        state=state,
        body=body,
        content_type=JSON if content_type is None else content_type,
        attempt=attempt,
        generation=generation,
        terminal=bool(terminal),
        meta=decode_meta(meta),
    )


def put(connection: sqlite3.Connection, rows: Sequence[Sequence[Any]], now: float, spare: int = 0) -> None:
    """Store what the rules do not refuse, in order, and delete up to `spare` rows that nobody needs any more."""
    if rows:
        insert(connection, UPSERT, "(?,?,?,?,?,?,?,?,?)", rows, RULES, (now,))
    if spare:
        sweep(connection, now, spare)
        if connection.execute("SELECT EXISTS (SELECT 1 FROM past)").fetchone()[0]:
            connection.execute("DELETE FROM past WHERE seq < ?", (newest(connection) - PAST,))


def get(connection: sqlite3.Connection, ids: Sequence[str], now: float) -> dict[str, tuple[int, Result]]:
    """Change number and result of those that are known."""
    found: dict[str, tuple[int, Result]] = {}
    for marks, part in lists(ids):
        rows = connection.execute(
            f"SELECT seq, {COLUMNS} FROM result WHERE id IN {marks} AND (expires IS NULL OR expires > ?)", (*part, now)
        )
        for seq, *row in rows.fetchall():
            found[row[0]] = seq, to_result(row)
    return found


def newest(connection: sqlite3.Connection) -> int:
    """The number of the last change."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'result'").fetchone()
    return row[0] if row else 0


def changed(connection: sqlite3.Connection, since: int, limit: int) -> list[tuple[int, str]]:
    """Number and id of the changes after `since`, in order; every state that was, if it was a moment ago."""
    return connection.execute(
        "SELECT seq, id FROM result WHERE seq > ?1 UNION ALL SELECT seq, id FROM past WHERE seq > ?1"
        " ORDER BY seq LIMIT ?2",
        (since, limit),
    ).fetchall()


def changed_among(connection: sqlite3.Connection, since: int, ids: Sequence[str]) -> list[int]:
    """Numbers of the changes after `since` to these results; quicker than `changed` where they are few."""
    found: list[int] = []
    for marks, part in lists(ids):
        for table in ("result", "past"):
            rows = connection.execute(f"SELECT seq FROM {table} WHERE id IN {marks} AND seq > ?", (*part, since))
            found += [seq for (seq,) in rows.fetchall()]
    return found


def at(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[tuple[int, Result]]:
    """The states of those changes, in order."""
    found: list[tuple[int, Result]] = []
    for marks, part in lists(seqs):
        for table in ("result", "past"):
            rows = connection.execute(f"SELECT seq, {COLUMNS} FROM {table} WHERE seq IN {marks}", part).fetchall()
            found += [(seq, to_result(row)) for seq, *row in rows]
    found.sort(key=lambda item: item[0])
    return found


def forget(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    """Delete the results, and the barriers, of these names."""
    for marks, part in lists(names):
        connection.execute(f"DELETE FROM past WHERE id IN {marks}", part)
        connection.execute(f"DELETE FROM result WHERE id IN {marks}", part)
        rows = connection.execute(f"SELECT id FROM barrier WHERE name IN {marks}", part).fetchall()
        _delete_barriers(connection, [id for (id,) in rows])


def arrive(connection: sqlite3.Connection, arrivals: Sequence[Arrival], now: float, ttl: float) -> list[int]:
    """Each barrier's size after each arrival."""
    expired = connection.execute("SELECT id FROM barrier WHERE expires <= ? LIMIT ?", (now, EXTRA)).fetchall()
    _delete_barriers(connection, [id for (id,) in expired])
    sizes = []
    for arrival in arrivals:
        row = connection.execute("SELECT id, expires FROM barrier WHERE name = ?", (arrival.barrier,)).fetchone()
        if row is not None and row[1] <= now:
            _delete_barriers(connection, [row[0]])
            row = None
        if row is None:
            barrier = connection.execute(
                "INSERT INTO barrier (name, size, expires) VALUES (?, 0, ?)", (arrival.barrier, now + ttl)
            ).lastrowid
        else:
            barrier = row[0]
        new = connection.execute(
            "INSERT OR IGNORE INTO member (barrier, name, value) VALUES (?, ?, ?)",
            (barrier, arrival.member, arrival.value),
        ).rowcount
        connection.execute(
            "UPDATE barrier SET size = size + ?, expires = ? WHERE id = ?", (max(new, 0), now + ttl, barrier)
        )
        sizes.append(connection.execute("SELECT size FROM barrier WHERE id = ?", (barrier,)).fetchone()[0])
    return sizes


def gather(connection: sqlite3.Connection, barrier: str, now: float) -> dict[str, bytes]:
    """The values of the members that have arrived."""
    rows = connection.execute(
        "SELECT m.name, m.value FROM barrier b JOIN member m ON m.barrier = b.id WHERE b.name = ? AND b.expires > ?",
        (barrier, now),
    )
    return dict(rows.fetchall())


def sweep(connection: sqlite3.Connection, now: float, limit: int) -> int:
    """Delete up to `limit` results past their time; how many."""
    due = connection.execute("SELECT 1 FROM result WHERE expires <= ? LIMIT 1", (now,)).fetchone()
    if not due:
        return 0
    return connection.execute(
        "DELETE FROM result WHERE seq IN (SELECT seq FROM result WHERE expires <= ? ORDER BY expires LIMIT ?)",
        (now, limit),
    ).rowcount


def sweep_barriers(connection: sqlite3.Connection, now: float, limit: int) -> int:
    """Delete up to `limit` barriers past their time; how many."""
    rows = connection.execute("SELECT id FROM barrier WHERE expires <= ? LIMIT ?", (now, limit)).fetchall()
    _delete_barriers(connection, [id for (id,) in rows])
    return len(rows)


def _delete_barriers(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    for marks, part in lists(ids):
        connection.execute(f"DELETE FROM member WHERE barrier IN {marks}", part)
        connection.execute(f"DELETE FROM barrier WHERE id IN {marks}", part)
