"""Processes that die, stop or fork: what they held comes back in time, once, and to the right account."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, receive_all, until
from tests.unit.brokers.sqlite.processes import Child
from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location
from umbel.clock import ManualClock
from umbel.spec import BrokerError, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Say = "Callable[[object], None]"
Hear = "Callable[[], str]"

PROMISED = 2.0
"""Seconds within which what a dead process held is received again."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reaping in less time, for tests that are about something else."""
    monkeypatch.setattr("umbel.brokers.sqlite.reaper.ROUND", (0.1, 0.15))
    monkeypatch.setattr("umbel.brokers.sqlite.reaper.MERCY", 0.1)


def holder(path: Path, count: int, lease: float = 30.0) -> Child:
    """A process that has claimed `count` messages of `q` under the name `victim`, and does not go on."""

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        broker = SqliteBroker(Location.of(path, lease=lease))
        held = consume(broker, owner="victim").receive(count, 5)
        say(" ".join(bodies(held)))
        hear()

    child = Child(work)
    assert len(child.hear().split()) == count
    return child


def test_what_a_killed_process_held_is_back_in_time_also_on_an_idle_queue(path: Path, live: SqliteBroker) -> None:
    live.publish([message(str(n)) for n in range(3)])
    with holder(path, 3) as victim:
        consumer = consume(live, owner="other")
        assert consumer.receive(3, 0) == []
        blocked = Background(lambda: consumer.receive(3, 10))
        victim.kill()
        killed = time.monotonic()
        first = blocked.wait()
        assert time.monotonic() - killed < PROMISED
        assert bodies(first) == ["0"], "each comes alone, for nobody can tell which of them was to blame"
        assert [bodies(consumer.receive(3, 0)) for _ in range(3)] == [["1"], ["2"], []]
        assert first[0].attempt == 2


def test_a_busy_consumer_brings_back_what_a_killed_process_held(path: Path, live: SqliteBroker) -> None:
    live.publish([message("lost")])
    with holder(path, 1) as victim:
        victim.kill()
        killed = time.monotonic()
        consumer = consume(live, owner="busy")
        while True:
            live.publish([message("work")])
            found = consumer.receive(1, 1)
            consumer.ack(found)
            if bodies(found) == ["lost"]:
                break
            assert time.monotonic() - killed < PROMISED
            time.sleep(0.01)


@pytest.mark.usefixtures("quick")
def test_renewing_brings_back_what_a_killed_process_held(path: Path, live: SqliteBroker) -> None:
    live.publish([message("1")])
    with holder(path, 1) as victim:
        victim.kill()
        deadline = time.monotonic() + PROMISED
        while not live.access.read(ready):
            live.renew("agent's other children")
            assert time.monotonic() < deadline
            time.sleep(0.05)


def ready(connection: sqlite3.Connection) -> int:
    """How many are ready, without making anything so."""
    return connection.execute("SELECT count(*) FROM ready").fetchone()[0]


@pytest.mark.usefixtures("quick")
def test_a_living_process_keeps_what_it_holds(path: Path, live: SqliteBroker) -> None:
    live.publish([message("1")])
    with holder(path, 1) as keeper:
        assert consume(live, owner="other").receive(1, 0.6) == []
        keeper.tell()
        assert keeper.wait() == 0


@pytest.mark.usefixtures("quick")
def test_a_process_that_ends_without_closing_gives_back_what_it_held(path: Path, live: SqliteBroker) -> None:
    live.publish([message("1")])
    with holder(path, 1) as quitter:
        quitter.tell()
        assert quitter.wait() == 0
        assert bodies(consume(live, owner="other").receive(1, PROMISED)) == ["1"]


@pytest.mark.usefixtures("quick")
def test_releasing_a_dead_owner_is_at_once_and_charges_the_started(path: Path, live: SqliteBroker) -> None:
    live.publish([message(str(n), id=str(n)) for n in range(3)])
    with holder(path, 3) as victim:
        consumer = consume(live, owner="other")
        blocked = Background(lambda: consumer.receive(3, 10))
        victim.kill()
        begin = time.monotonic()
        live.release("victim", {"1"})
        found = list(blocked.wait())
        assert time.monotonic() - begin < 0.5
        live.release("victim", {"0", "1", "2"})
        found += receive_all(consumer)
        assert {delivery.message.id: delivery.attempt for delivery in found} == {"0": 1, "1": 2, "2": 1}
        # And nobody charges them later on.
        assert consumer.receive(1, 0.5) == []
        assert live.access.read(lambda c: c.execute("SELECT name FROM owner").fetchall()) == [("other",)]


@pytest.mark.usefixtures("quick")
def test_a_process_that_was_stopped_for_too_long_has_lost_its_claims(path: Path, live: SqliteBroker) -> None:
    live.publish([message("1", id="1"), message("2", id="2")])

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        location = Location.of(path, lease=0.5)
        broker, backend = SqliteBroker(location), SqliteBackend(location)
        consumer = consume(broker, owner="sleeper")
        held = consumer.receive(1, 5)
        say("held")
        hear()
        settler = broker.settler(backend)
        assert settler is not None
        results = [(Result(id="1", state="SUCCESS", body=b"stale", terminal=True), held[0])]
        say(len(settler.settle(consumer, results, [], held, ttl=60)))
        say(" ".join(bodies(consumer.receive(1, 5))))

    with Child(work) as sleeper:
        assert sleeper.hear() == "held"
        sleeper.signal(signal.SIGSTOP)
        consumer = consume(live, owner="other")
        found = receive_all(consumer)
        deadline = time.monotonic() + 5
        while "1" not in bodies(found):
            assert time.monotonic() < deadline
            found += consumer.receive(5, 1)
        # The second message was ready all the while.
        live.publish([message("3", id="3")])
        sleeper.signal(signal.SIGCONT)
        sleeper.tell()
        assert sleeper.hear() == "1", "its late result was refused, and it was told so"
        assert sleeper.hear() == "3", "it goes on all the same"
        backend = SqliteBackend(path)
        assert backend.fetch(["1"]) == {}
        backend.close()
        assert live.stats(["q"])["q"].leased == 3


def test_after_a_reboot_everything_is_back_at_once(path: Path) -> None:
    before = SqliteBroker(path, boot="before")
    before.publish([message("1")])

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        consume(SqliteBroker(path, boot="before"), owner="victim").receive(1, 5)
        say("held")
        hear()

    with Child(work) as victim:
        victim.hear()
        other = consume(SqliteBroker(path, boot="other container"), owner="x")
        assert other.receive(1, 0) == [], "another boot id alone proves nothing: its process is alive"
        other.broker.close()
        victim.kill()
        after = SqliteBroker(path, boot="after")
        begin = time.monotonic()
        (delivery,) = consume(after).receive(1, PROMISED)
        assert delivery.attempt == 2
        assert time.monotonic() - begin < 0.5
        after.close()
    before.close()


def test_two_processes_never_get_the_same_message(path: Path, live: SqliteBroker) -> None:
    count = 3000

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        broker = SqliteBroker(path)
        consumer = consume(broker, owner=str(os.getpid()), prefetch=50)
        while batch := consumer.receive(20, 0.5):
            consumer.ack(batch)
            say(" ".join(bodies(batch)))
        broker.close()

    children = [Child(work) for _ in range(3)]
    for start in range(0, count, 50):
        live.publish([message(str(n)) for n in range(start, start + 50)])
    said = [child.rest() for child in children]
    received = Counter(body for lines in said for line in lines for body in line.split())
    assert received == Counter(map(str, range(count)))
    assert all(lines for lines in said), "everybody got a share"
    for child in children:
        assert child.wait() == 0
        child.close()


def test_what_a_forked_child_commits_is_kept_when_its_parent_closes(path: Path) -> None:
    # Without closing the connections before the fork, the child writes without a lock, to a log that is then deleted.
    parent = SqliteBroker(path)
    parent.publish([message("before")])

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        parent.publish([message("inherited")])
        own = SqliteBroker(path)
        own.publish([message("own")])
        say("ready")
        hear()
        parent.publish([message("inherited, later")])
        own.publish([message("own, later")])
        own.close()
        parent.close()

    with Child(work) as child:
        child.hear()
        parent.publish([message("parent")])
        parent.close()
        child.tell()
        assert child.wait() == 0
    after = SqliteBroker(path)
    expected = {"before", "inherited", "own", "parent", "inherited, later", "own, later"}
    assert set(bodies(receive_all(consume(after)))) == expected
    after.close()


def test_a_fork_waits_for_the_transactions_of_other_threads(path: Path, live: SqliteBroker) -> None:
    stop = False

    def send() -> int:
        sent = 0
        while not stop:
            live.publish([message("{}")])
            sent += 1
        return sent

    senders = [Background(send) for _ in range(3)]
    children = 5
    try:
        for _ in range(children):
            with Child(lambda say, hear: live.publish([message("child")])) as child:
                assert child.wait() == 0
    finally:
        stop = True
    sent = sum(sender.wait() for sender in senders)
    assert live.stats(["q"])["q"].ready == sent + children
    assert live.access.read(lambda c: c.execute("PRAGMA integrity_check").fetchone()) == ("ok",)


@pytest.mark.usefixtures("quick")
def test_a_forked_child_keeps_its_parents_claims_neither_nor_alive(path: Path, live: SqliteBroker) -> None:
    live.publish([message("1")])

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        broker = SqliteBroker(path)
        consumer = consume(broker, owner="victim")
        consumer.receive(1, 5)
        grandchild = os.fork()
        if not grandchild:
            with pytest.raises(BrokerError, match="consume anew"):
                consumer.receive(1, 0)
            consumer.close()
            broker.publish([message("2")])
            broker.close()
            say(f"grandchild {os.getpid()}")
            hear()
            os._exit(0)
        os.waitpid(grandchild, 0)

    with Child(work) as victim:
        grandchild = int(victim.hear().split()[1])
        other = consume(live, owner="other")
        assert bodies(receive_all(other)) == ["2"], "closing in a child gives nothing of its parent's back"
        victim.kill()
        try:
            assert bodies(other.receive(1, PROMISED)) == ["1"]
        finally:
            os.kill(grandchild, signal.SIGKILL)


def test_an_owner_that_was_declared_dead_by_mistake_takes_part_again(path: Path, broker: SqliteBroker) -> None:
    broker.publish([message("1"), message("2")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    broker.access.write(lambda connection: connection.execute("DELETE FROM owner").rowcount)
    os.mkfifo(path.with_name("queue.db-run") / "bell-7")  # of one that was killed before it was in the table
    assert bodies(consumer.receive(1, 0)) == ["2"]
    consumer.ack(held)
    assert broker.stats(["q"])["q"].leased == 2
    assert len(list(path.parent.glob("queue.db-run/bell-*"))) == 1


def test_owners_that_died_unnoticed_do_not_use_up_the_seats(
    path: Path, broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.brokers.sqlite.owners.SLOTS", 8)
    monkeypatch.setattr("umbel.brokers.sqlite.owners.CROWD", 4)

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        for _ in range(6):
            SqliteBackend(path).watch()

    for _ in range(3):
        with Child(work) as child:
            assert child.wait() == 0
    consumers = [consume(broker, owner=str(n)) for n in range(8)]
    with pytest.raises(BrokerError, match="8 consumers and watchers"):
        consume(broker)
    consumers[3].close()
    consume(broker)
    # A FIFO, a slot and a row for each of the living, and nothing of the dead.
    assert len(list(path.parent.glob("queue.db-run/bell-*"))) == 8


def test_a_lock_file_that_outlived_its_database_confuses_nobody(path: Path, clock: ManualClock) -> None:
    first = SqliteBroker(path, clock=clock)
    consumer = consume(first)

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        other = SqliteBroker(path, clock=clock)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = 'owner'")
        connection.close()
        # The next number is one whose byte the parent has locked.
        consume(other)
        say(other.access.read(lambda c: c.execute("SELECT count(*) FROM owner").fetchone()[0]))
        hear()

    first.access.write(lambda connection: connection.execute("DELETE FROM owner").rowcount)
    with Child(work) as child:
        assert child.hear() == "1"
    consumer.close()
    first.close()


def test_the_run_folder_can_be_deleted_under_everybodys_feet(path: Path, live: SqliteBroker) -> None:
    live.publish([message("1"), message("2")])
    consumer = consume(live)
    held = consumer.receive(1, 0)
    for file in path.parent.glob("queue.db-run/*"):
        file.unlink()
    path.with_name("queue.db-run").rmdir()
    assert bodies(consumer.receive(1, 5)) == ["2"]
    blocked = Background(lambda: consumer.receive(1, 10))
    until(live.access.host.board.waiting)
    live.publish([message("3")])
    assert bodies(blocked.wait()) == ["3"]
    consumer.ack(held)
    assert live.stats(["q"])["q"].leased == 2
