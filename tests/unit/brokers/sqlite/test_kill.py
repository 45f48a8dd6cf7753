"""Killed without warning at any point: nothing that was confirmed is lost, and the database stays intact."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.unit.brokers.helpers import bodies, consume, message, receive_all, until
from tests.unit.brokers.sqlite.processes import Child
from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.spec import QueueStats, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROMISED = 2.0
BATCH = 5


def intact(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def everything_is_in_one_place(connection: sqlite3.Connection) -> bool:
    """Whether each message is ready, delayed or leased, and nothing else is."""
    places = connection.execute(
        "SELECT id FROM ready UNION ALL SELECT id FROM delayed UNION ALL SELECT id FROM lease ORDER BY id"
    ).fetchall()
    return places == connection.execute("SELECT id FROM message ORDER BY id").fetchall()


def die_at(broker: SqliteBroker, statement: int) -> None:
    """Make this process kill itself as the n-th statement from now on begins."""
    left = statement

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    connections = broker.access.session.connections
    for connection in (connections._writer, connections._reader):
        if connection is not None:
            connection.set_trace_callback(count)


def open_both(broker: SqliteBroker) -> None:
    """Open the connections, which a fork has closed."""
    broker.stats(["q"])
    broker.access.write(lambda connection: None)


def work_once(broker: SqliteBroker, backend: SqliteBackend) -> None:
    """One claim, and one settlement with results and a child message."""
    consumer = consume(broker, owner="victim")
    held = consumer.receive(BATCH, 1)
    settler = broker.settler(backend)
    assert settler is not None
    results = [(Result(id=one.message.id, state="SUCCESS", terminal=True), one) for one in held]
    children = [message(f"child of {one.message.id}", "children") for one in held]
    settler.settle(consumer, results, children, held, ttl=60)


def test_killed_at_any_statement_of_a_claim_or_settlement_all_or_nothing_is_done(path: Path) -> None:
    outcomes = Counter[str]()
    slowest, statement, code = 0.0, 0, 1
    ids = [str(n) for n in range(BATCH)]
    while code:
        statement += 1
        queue = path.with_name(f"{statement}.db")
        code, was_settled, recovery = killed_at(statement, queue, ids)
        outcomes["settled" if was_settled else "back"] += 1
        slowest = max(slowest, recovery)
        assert intact(queue)
    print(f"killed at {statement - 1} statements: {dict(outcomes)}; slowest recovery {slowest:.2f} s")
    assert outcomes["back"] > 15
    assert outcomes["settled"] == 1, "the one that was not killed"


def killed_at(statement: int, path: Path, ids: list[str]) -> tuple[int, bool, float]:
    """The victim's exit code, whether its work had been settled, and how long it took to get it all if not."""
    broker, backend = SqliteBroker(path), SqliteBackend(path)
    broker.publish([message(id, id=id) for id in ids])

    def victim(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        victim = SqliteBroker(path, boot="before")  # whose remains are not left to an agent
        open_both(victim)
        die_at(victim, statement)
        work_once(victim, backend)

    with Child(victim) as child:
        code = child.wait()
    killed = time.monotonic()
    settled = set(backend.fetch(ids))
    assert settled in (set(), set(ids)), "all or nothing"
    consumer = consume(broker, owner="other")
    received: list[str] = []
    while len(received) < BATCH - len(settled):
        received += bodies(consumer.receive(BATCH, 0.1))
        assert time.monotonic() - killed < PROMISED, "it is back in time"
    recovery = time.monotonic() - killed
    assert sorted(received) == sorted(set(ids) - settled)
    assert len(broker.browse("children", 99)) == len(settled)
    assert broker.access.read(everything_is_in_one_place)
    backend.close()
    broker.close()
    return code, bool(settled), recovery


def test_killed_at_any_statement_of_a_publish_it_is_there_or_not(path: Path) -> None:
    broker = SqliteBroker(path)
    broker.publish([message("0")])
    expected = 1
    for statement in range(1, 50):

        def victim(say: Callable[[object], None], hear: Callable[[], str], statement: int = statement) -> None:
            open_both(broker)
            die_at(broker, statement)
            broker.publish([message(str(n)) for n in range(3)])
            say("confirmed")

        with Child(victim) as child:
            code = child.wait()
            confirmed = child.rest() == ["confirmed"]
        count = broker.stats(["q"])["q"].ready
        assert count in ((expected + 3,) if confirmed else (expected, expected + 3))
        expected = count
        if code == 0:
            break
    assert statement > 5
    assert broker.access.read(everything_is_in_one_place)
    broker.close()
    assert intact(path)


def test_random_kills_of_busy_processes_lose_nothing(path: Path) -> None:
    total, workers, kills = 1500, 3, 12
    choice = random.Random(1)
    sender, backend = SqliteBroker(path), SqliteBackend(path)
    log = path.with_name("log")

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        broker, backend = SqliteBroker(path), SqliteBackend(path)
        settler = broker.settler(backend)
        assert settler is not None
        consumer = consume(broker, owner=str(os.getpid()), prefetch=20)
        # The history is what the bodies of tasks wrote, not what the library says.
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        while True:
            held = consumer.receive(10, 1)
            for one in held:
                os.write(file, one.message.body + b"\n")
            results = [(Result(id=one.message.id, state="SUCCESS", terminal=True), one) for one in held]
            settler.settle(consumer, results, [], held, ttl=600)

    children = [Child(work) for _ in range(workers)]
    sent = 0
    try:
        for _ in range(kills):
            for _ in range(total // kills // 5):
                sender.publish([message(str(sent + n), id=str(sent + n)) for n in range(5)])
                sent += 5
            time.sleep(choice.uniform(0.0, 0.05))
            place = choice.randrange(workers)
            children[place].close()
            children[place] = Child(work)
        until(lambda: sender.stats(["q"])["q"] == QueueStats(ready=0, leased=0, delayed=0))
    finally:
        for child in children:
            child.close()
    runs = Counter(log.read_text().split())
    missing = [str(n) for n in range(sent) if str(n) not in runs]
    twice = sum(count - 1 for count in runs.values())
    print(f"{sent} messages, {kills} kills: lost {len(missing)}, run again {twice}")
    assert not missing
    assert twice <= kills * 20, "no more than the killed ones held"
    assert len(backend.fetch([str(n) for n in range(sent)])) == sent
    assert sender.access.read(everything_is_in_one_place)
    assert receive_all(consume(sender)) == []
    backend.close()
    sender.close()
    assert intact(path)
