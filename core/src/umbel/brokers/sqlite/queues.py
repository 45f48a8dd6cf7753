"""The life of a message as SQL. Every function runs inside a transaction of its caller, and takes many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from umbel.brokers.sqlite.statements import insert, lists

if TYPE_CHECKING:
    import sqlite3

    from umbel.brokers.sqlite.messages import Row

SLICE = 1000
"""Rows that one transaction moves or deletes when nobody asked for a number."""


class Lease(NamedTuple):
    """What fences a claim: the receipt of a delivery, so that it can be pickled and compared."""

    owner: int
    claim: int
    id: int


def stamp_after(former: int, steady: float) -> int:
    """The claim's mark at this moment: steady time, made unique."""
    return max(former + 1, int(steady * 1e6))


def moment(stamp: int) -> float:
    """The steady time of a claim, to the millisecond: what made it unique is no time."""
    return stamp // 1000 / 1000


def stamps_until(steady: float) -> int:
    """All claims up to this moment have a mark below."""
    return (int(steady * 1000 + 1e-6) + 1) * 1000


Claims = dict[tuple[int, int], list[int]]
"""Ids of messages by owner and claim: leases as the statements want them."""


KEYS = "SELECT rank, place, id FROM ready"
IN_ORDER = " ORDER BY rank, place, id"


class Unregistered(Exception):
    """The owner is not in the table, since everybody took its process for dead. Nothing was claimed."""


def number(connection: sqlite3.Connection, name: str) -> int | None:
    """The number of a queue; None if there is no such queue."""
    row = connection.execute("SELECT id FROM queue WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def make(connection: sqlite3.Connection, name: str) -> int:
    """The number of a queue, which is made if need be."""
    found = number(connection, name)
    if found is None:
        found = connection.execute("INSERT INTO queue (name) VALUES (?)", (name,)).lastrowid
        assert found is not None
    return found


def put(connection: sqlite3.Connection, rows: Sequence[Row], now: float) -> None:
    """Take the messages, in order."""
    if not rows:
        return
    numbers = {name: make(connection, name) for name in {row.queue for row in rows}}
    newest = connection.execute("SELECT max(id) FROM message").fetchone()[0] or 0
    first = id = max(newest + 1, int(now * 1e6))
    values = []
    delayed = False
    for queue, rank, due, uid, props, body in rows:
        place = id
        if due is not None:
            place = due + (due == id)  # the two are told apart by that
            delayed = True
        values.append((id, numbers[queue], rank, place, uid, props, body))
        id += 1
    insert(
        connection,
        "INSERT INTO message (id, queue, rank, place, attempt, lone, uid, props, body)",
        "(?,?,?,?,1,0,?,?,?)",
        values,
    )
    connection.execute(
        "INSERT INTO ready SELECT queue, rank, place, id, 0 FROM message WHERE id BETWEEN ? AND ? AND place = id",
        (first, id - 1),
    )
    if delayed:
        connection.execute(
            "INSERT INTO delayed SELECT queue, place, id FROM message WHERE id BETWEEN ? AND ? AND place <> id",
            (first, id - 1),
        )


def mature(connection: sqlite3.Connection, queue: int, now: float) -> None:
    """Make ready what is due, a bounded number; its place is the moment when it fell due."""
    due = int(now * 1e6)
    last = connection.execute(
        "SELECT due, id FROM delayed WHERE queue = ? AND due <= ? ORDER BY due, id LIMIT 1 OFFSET ?",
        (queue, due, SLICE),
    ).fetchone() or (due, 1 << 62)
    connection.execute(
        "INSERT INTO ready SELECT m.queue, m.rank, m.place, m.id, m.lone FROM delayed d"
        " CROSS JOIN message m ON m.id = d.id WHERE d.queue = ? AND (d.due, d.id) <= (?, ?)",
        (queue, *last),
    )
    connection.execute("DELETE FROM delayed WHERE queue = ? AND (due, id) <= (?, ?)", (queue, *last))


class Prospect(NamedTuple):
    """What there is to know of a queue before a claim."""

    queue: int
    registered: int
    due: int
    lone: int


def prospect(connection: sqlite3.Connection, name: str, owner: int, now: float) -> Prospect | None:
    """Whether the owner is known, something is due, and something has to come alone; None: no such queue."""
    row = connection.execute(
        "SELECT q.id, EXISTS (SELECT 1 FROM owner WHERE id = ?1),"
        " EXISTS (SELECT 1 FROM delayed WHERE queue = q.id AND due <= ?2),"
        " EXISTS (SELECT 1 FROM ready INDEXED BY ready_lone WHERE queue = q.id AND lone = 1)"
        " FROM queue q WHERE name = ?3",
        (owner, int(now * 1e6), name),
    ).fetchone()
    return Prospect._make(row) if row else None


def claim(
    connection: sqlite3.Connection, queue: int, owner: int, stamp: int, limit: int, *, lone: bool, mixed: bool
) -> tuple[int, bool]:
    """Lease up to `limit` messages of a queue, the next first; how many, and whether some are left.

    Where there is one that has to come alone (`lone`), it does; not at all, if the batch is `mixed` already.
    """
    keys = connection.execute(f"{KEYS} WHERE queue = ?{IN_ORDER} LIMIT 2 OFFSET ?", (queue, limit - 1)).fetchall()
    last = keys[0] if keys else None
    more, upto = len(keys) == 2, "<="
    single = None
    if lone:
        single = connection.execute(
            f"{KEYS} INDEXED BY ready_lone WHERE lone = 1 AND queue = ?{IN_ORDER} LIMIT 1", (queue,)
        ).fetchone()
    if single is not None and (last is None or single <= last):
        more = True
        first = connection.execute(f"{KEYS} WHERE queue = ?{IN_ORDER} LIMIT 1", (queue,)).fetchone()
        if first != single:
            upto = "<"
        elif mixed:
            return 0, True
        last = single
    rest, key = ("", ()) if last is None else (f" AND (rank, place, id) {upto} (?, ?, ?)", last)
    taken = connection.execute(
        f"INSERT INTO lease SELECT ?, ?, id FROM ready WHERE queue = ?{rest}", (owner, stamp, queue, *key)
    ).rowcount
    if taken:
        connection.execute(f"DELETE FROM ready WHERE queue = ?{rest}", (queue, *key))
    return taken, more


def claimed(connection: sqlite3.Connection, owner: int, stamp: int) -> list[tuple[int, str, str, bytes, int]]:
    """Id, uid, props, body and attempt of what was claimed with the stamp, in order."""
    rows = connection.execute(
        "SELECT m.rank, m.place, m.id, m.uid, m.props, m.body, m.attempt FROM lease l"
        " CROSS JOIN message m ON m.id = l.id WHERE l.owner = ? AND l.claim = ?",
        (owner, stamp),
    ).fetchall()
    rows.sort(key=_key)
    return [row[2:] for row in rows]


def _key(row: tuple[int, ...]) -> tuple[int, ...]:
    return row[:3]


def group(leases: Iterable[Lease]) -> Claims:
    """The leases by claim, each once."""
    claims: Claims = {}
    for owner, stamp, id in leases:
        ids = claims.get((owner, stamp))
        if ids is None:
            ids = claims[owner, stamp] = []
        ids.append(id)
    for key, ids in claims.items():
        claims[key] = list(dict.fromkeys(ids))
    return claims


def held(connection: sqlite3.Connection, claims: Claims) -> Claims:
    """Those that are still there."""
    found: Claims = {}
    for key, ids in claims.items():
        there: list[int] = []
        for marks, part in lists(ids):
            where = f"FROM lease WHERE owner = ? AND claim = ? AND id IN {marks}"
            count = connection.execute(f"SELECT count(*) {where}", (*key, *part)).fetchone()[0]
            if count == len(set(part)):
                there.extend(part)
            else:
                there.extend(id for (id,) in connection.execute(f"SELECT id {where}", (*key, *part)).fetchall())
        # The last of a part is repeated.
        found[key] = list(dict.fromkeys(there))
    return found


def end_leases(connection: sqlite3.Connection, claims: Claims) -> list[int]:
    """Delete the leases; the ids of their messages."""
    ended: list[int] = []
    for key, ids in claims.items():
        for marks, part in lists(ids):
            connection.execute(f"DELETE FROM lease WHERE owner = ? AND claim = ? AND id IN {marks}", (*key, *part))
        ended += ids
    return ended


def delete(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete messages that nothing refers to any more."""
    for marks, part in lists(ids):
        connection.execute(f"DELETE FROM message WHERE id IN {marks}", part)


def give_back(connection: sqlite3.Connection, ids: Sequence[int], *, charge: bool, lone: bool | None) -> None:
    """Make ready again what is leased no more, each at its place. `lone` None: as it was."""
    for marks, part in lists(ids):
        if charge:
            connection.execute(
                f"UPDATE message SET attempt = attempt + 1, lone = ifnull(?, lone) WHERE id IN {marks}", (lone, *part)
            )
        elif lone is not None:
            connection.execute(f"UPDATE message SET lone = ? WHERE lone <> ? AND id IN {marks}", (lone, lone, *part))
        connection.execute(
            f"INSERT INTO ready SELECT queue, rank, place, id, lone FROM message WHERE id IN {marks}", part
        )


def hold_back(connection: sqlite3.Connection, ids: Sequence[int], due: int, *, charge: bool) -> None:
    """Make ready again, once it is due, what is leased no more."""
    for marks, part in lists(ids):
        connection.execute(
            f"UPDATE message SET attempt = attempt + ?, lone = 0, place = ? WHERE id IN {marks}",
            (int(charge), due, *part),
        )
        connection.execute(f"INSERT INTO delayed SELECT queue, place, id FROM message WHERE id IN {marks}", part)


def names_of(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[str, int]:
    """How many of these messages each queue has, by its name."""
    counts: dict[str, int] = {}
    for marks, part in lists(ids):
        rows = connection.execute(
            "SELECT q.name, count(*) FROM message m JOIN queue q ON q.id = m.queue"
            f" WHERE m.id IN {marks} GROUP BY q.id",
            part,
        )
        for name, count in rows.fetchall():
            counts[name] = counts.get(name, 0) + count
    return counts


def bury(connection: sqlite3.Connection, id: int, queue: int, place: int, props: str) -> None:
    """Move a message that is leased no more to another queue, as a new one."""
    connection.execute(
        "UPDATE message SET queue = ?, place = ?, attempt = 1, lone = 0, props = ? WHERE id = ?",
        (queue, place, props, id),
    )
    connection.execute("INSERT INTO ready SELECT queue, rank, place, id, lone FROM message WHERE id = ?", (id,))
