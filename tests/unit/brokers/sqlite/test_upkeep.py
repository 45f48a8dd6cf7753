"""What is done or expired leaves nothing behind, in the file and beside it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import Background, consume, message, until
from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite import upkeep
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location
from umbel.spec import Arrival, Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from umbel.clock import ManualClock

TABLES = ("message", "ready", "delayed", "lease", "owner", "result", "past", "barrier", "member", "broadcast")


@pytest.fixture
def backend(path: Path, clock: ManualClock) -> Iterator[SqliteBackend]:
    backend = SqliteBackend(Location.of(path, fast=True), clock=clock)
    yield backend
    backend.close()


def rows(broker: SqliteBroker | SqliteBackend) -> dict[str, int]:
    """How many rows each table has that has any."""

    def work(connection: sqlite3.Connection) -> dict[str, int]:
        counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
        return {table: count for table, count in counts.items() if count}

    counts: dict[str, int] = broker.access.read(work)
    return counts


def result(id: str, state: str = "SUCCESS") -> Result:
    return Result(id=id, state=state, terminal=state == "SUCCESS", body=b"x" * 100)


def test_fifty_thousand_messages_leave_no_growth(path: Path) -> None:
    location = Location.of(path, fast=True)
    broker, backend = SqliteBroker(location), SqliteBackend(location)
    settler = broker.settler(backend)
    assert settler is not None
    consumer = consume(broker, prefetch=10_000)
    body = b"x" * 300
    total, done = 50_000, 0
    for start in range(0, total, 5000):
        broker.publish([message(body, id=str(n)) for n in range(start, start + 5000)])
    largest = path.stat().st_size + path.with_name("queue.db-wal").stat().st_size
    while held := consumer.receive(500, 0):
        results = [(Result(id=one.message.id, state="SUCCESS", terminal=True), one) for one in held[:50]]
        settler.settle(consumer, results, [], held, ttl=0.001)
        done += len(held)
    assert done == total
    idle = Background(lambda: consumer.receive(1, 60))
    broker.client.upkeep._next = 0.0

    def small() -> bool:
        return path.stat().st_size < 2_000_000 and set(rows(broker)) == {"owner"}

    until(small)
    print(f"{largest >> 20} MiB with all of them, {path.stat().st_size >> 10} KiB afterwards")
    consumer.close()
    idle.wait()
    backend.close()
    broker.close()
    assert {file.name for file in path.parent.iterdir() if file.is_file()} == {"queue.db"}
    assert {file.name for file in path.with_name("queue.db-run").iterdir()} == {"board", "owners"}


def test_an_idle_consumer_deletes_what_has_expired(
    broker: SqliteBroker, backend: SqliteBackend, clock: ManualClock
) -> None:
    backend.store([result(str(n)) for n in range(2500)], ttl=10)
    backend.store([result("kept")], ttl=None)
    backend.store([result("a", "STARTED")], ttl=10)
    backend.store([result("a")], ttl=10)
    backend.arrive([Arrival(barrier=str(n % 7), member=str(n), value=b"") for n in range(100)], ttl=10)
    listener = broker.subscribe(["t"])
    broker.broadcast("t", b"1")
    listener.close()
    clock.advance(100)
    for _ in range(5):
        broker.client.upkeep.round()
    assert rows(broker) == {"result": 1}
    before = broker.access.session.commits.count
    broker.client.upkeep.round()
    assert broker.access.session.commits.count == before, "with nothing to do, nothing is written"


def test_storing_deletes_what_has_expired_faster_than_it_comes(
    broker: SqliteBroker, backend: SqliteBackend, clock: ManualClock
) -> None:
    backend.store([result(f"old {n}") for n in range(1000)], ttl=10)
    clock.advance(11)
    for batch in range(10):
        backend.store([result(f"new {batch}/{n}") for n in range(64)], ttl=10)
    assert rows(backend) == {"result": 640}


def test_replaced_states_of_a_busy_store_are_bounded(
    broker: SqliteBroker, backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.brokers.sqlite.results.PAST", 100)
    for _ in range(50):
        backend.store([result(str(n), "PROGRESS") for n in range(20)], ttl=60)
    assert rows(backend)["past"] <= 100 + 2 * 64


def test_forgetting_leaves_nothing(backend: SqliteBackend) -> None:
    for state in ("STARTED", "SUCCESS"):
        backend.store([result("a", state)], ttl=60)
    backend.arrive([Arrival(barrier="a", member=str(n), value=b"1") for n in range(9)], ttl=60)
    backend.forget(["a", "nobody"])
    backend.forget([])
    assert rows(backend) == {}


def test_a_waiting_consumer_does_its_round_now_and_then(
    path: Path, live: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "EVERY", (0.1, 0.2))
    backend = SqliteBackend(path)
    backend.store([result("a")], ttl=0.2)
    live.client.upkeep._next = 0.0
    consumer = consume(live)
    waiting = Background(lambda: consumer.receive(1, 30))
    until(lambda: set(rows(live)) == {"owner"})
    consumer.close()
    waiting.wait()
    backend.close()


def test_an_idle_consumer_copies_the_log_into_the_database(
    path: Path, live: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.publish([message("x" * 4000) for _ in range(300)])
    board = live.access.host.board
    assert board.log_pages >= upkeep.QUIET_LOG
    size = path.stat().st_size
    live.client.upkeep.round()
    assert board.log_pages == 0
    assert path.stat().st_size > size + 1_000_000


def test_a_checkpoint_leaves_alone_whoever_is_writing(path: Path, live: SqliteBroker) -> None:
    live.publish([message("x" * 4000) for _ in range(100)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = live.access.host.board.log_pages
    begin = time.monotonic()
    live.access.session.checkpoint()
    assert time.monotonic() - begin < 1
    assert live.access.host.board.log_pages == before, "it is tried again later"
    other.execute("ROLLBACK")
    other.close()
