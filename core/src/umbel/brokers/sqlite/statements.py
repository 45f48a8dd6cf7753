"""Many rows in few statements.

Each step of a statement lets go of the GIL. Where a task keeps the processor busy, every one may cost a switch interval
(5 ms) to come back from, inside a transaction that keeps other processes out. So no `executemany` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

LISTS = (1, 8, 32, 128)
"""Lengths of IN lists: few texts, so that SQLite's compiled statements are found again."""
MOST = 64
"""Rows in one INSERT."""
MARKS = {length: f"({','.join('?' * length)})" for length in LISTS}


def lists(values: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """What goes behind IN, and its parameters, for all values; the last is repeated to fill up."""
    longest = LISTS[-1]
    for start in range(0, len(values), longest):
        part = list(values[start : start + longest])
        length = next(length for length in LISTS if length >= len(part))
        part.extend(part[-1:] * (length - len(part)))
        yield MARKS[length], part


def insert(
    connection: sqlite3.Connection,
    head: str,
    row: str,
    rows: Sequence[Sequence[Any]],
    tail: str = "",
    tail_values: Sequence[Any] = (),
) -> None:
    """Insert all rows, in order: ``head VALUES row, row, ... tail``, a power of two at a time."""
    start, count = 0, len(rows)
    while start < count:
        size = min(MOST, 1 << (count - start).bit_length() - 1)
        values = [*chain.from_iterable(rows[start : start + size]), *tail_values]
        connection.execute(f"{head} VALUES {','.join([row] * size)}{tail}", values)
        start += size
