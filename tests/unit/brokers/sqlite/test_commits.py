"""Those who write at the same time share a transaction and its fsync; an error stays with whom it belongs to."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, receive_all, until
from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location
from umbel.spec import PublishError, Result

if TYPE_CHECKING:
    from pathlib import Path


def commits(broker: SqliteBroker) -> int:
    return broker.access.session.commits.count


class Slow:
    """A transaction of another thread, which ends when it is told to."""

    def __init__(self, broker: SqliteBroker) -> None:
        self.begun, self.end = threading.Event(), threading.Event()
        self._call = Background(lambda: broker.access.write(self._work, durable=False))
        assert self.begun.wait(5)

    def _work(self, connection: sqlite3.Connection) -> None:
        self.begun.set()
        self.end.wait(5)

    def finish(self) -> None:
        self.end.set()
        self._call.wait()


def queued(broker: SqliteBroker, count: int) -> None:
    """Wait until so many calls wait for their turn."""
    until(lambda: len(broker.access.session.commits._jobs) == count)


def test_those_who_wait_share_one_transaction(live: SqliteBroker) -> None:
    live.declare([])
    slow = Slow(live)
    calls = [Background(lambda n=n: live.publish([message(str(n))])) for n in range(20)]
    queued(live, 20)
    before = commits(live)
    slow.finish()
    for call in calls:
        call.wait()
    assert commits(live) - before == 2, "the slow one's, and one for all the others"
    assert sorted(map(int, bodies(receive_all(consume(live))))) == list(range(20))


def test_an_error_in_ones_work_fails_nobody_else(live: SqliteBroker) -> None:
    live.declare([])
    slow = Slow(live)

    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO queue (name) VALUES ('half done')")
        raise ZeroDivisionError

    calls = [Background(lambda n=n: live.publish([message(str(n))])) for n in range(3)]
    bad = [Background(lambda: live.access.write(wrong)) for _ in range(2)]
    calls += [Background(lambda n=n: live.publish([message(str(n))])) for n in range(3, 6)]
    queued(live, 8)
    slow.finish()
    for call in calls:
        call.wait()
    for call in bad:
        with pytest.raises(ZeroDivisionError):
            call.wait()
    assert list(live.queues()) == ["q"]
    assert sorted(bodies(receive_all(consume(live)))) == ["0", "1", "2", "3", "4", "5"]


def test_a_message_for_which_the_disk_has_no_room_fails_nobody_else(live: SqliteBroker) -> None:
    live.publish([message("0")])
    slow = Slow(live)
    writer = live.access.session.connections._writer
    assert writer is not None
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages + 10}").fetchone()
    small = [Background(lambda n=n: live.publish([message(str(n))])) for n in range(1, 4)]
    large = Background(lambda: live.publish([message(b"x" * 200_000)]))
    queued(live, 4)
    slow.finish()
    for call in small:
        call.wait()
    with pytest.raises(PublishError, match="disk is full"):
        large.wait()
    assert sorted(bodies(receive_all(consume(live)))) == ["0", "1", "2", "3"]


def test_one_that_waits_for_its_turn_for_too_long_is_not_done_later(path: Path) -> None:
    broker = SqliteBroker(Location.of(path, timeout=0.2))
    broker.declare([])
    slow = Slow(broker)
    call = Background(lambda: broker.publish([message("too late")]))
    with pytest.raises(PublishError, match=r"locked for 0\.2 s") as caught:
        call.wait()
    assert caught.value.failures[0].certain
    slow.finish()
    broker.publish([message("next")])
    assert bodies(receive_all(consume(broker))) == ["next"]
    broker.close()


class Interrupt(BaseException):
    """As a signal handler may raise, at any moment."""


def test_an_exception_of_a_signal_handler_reaches_its_thread_and_nobodys_work_is_lost(live: SqliteBroker) -> None:
    class Alarm(Exception):
        pass

    live.declare([])
    slow = Slow(live)
    raised = False

    def work(connection: sqlite3.Connection) -> None:
        nonlocal raised
        if not raised:
            raised = True
            raise Alarm  # at this moment only: not the fault of the work

    leader = Background(lambda: live.access.write(work))
    queued(live, 1)
    others = [Background(lambda n=n: live.publish([message(str(n))])) for n in range(3)]
    queued(live, 4)
    slow.finish()
    errors = 0
    for call in (leader, *others):
        try:
            call.wait()
        except Alarm:
            errors += 1
    assert errors == 1
    assert sorted(bodies(receive_all(consume(live)))) == ["0", "1", "2"]


def test_who_is_interrupted_leaves_the_work_of_others_to_them(live: SqliteBroker) -> None:
    live.declare([])
    session = live.access.session
    slow = Slow(live)
    runs = 0

    def work(connection: sqlite3.Connection) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise Interrupt

    def interrupted(call: Background) -> bool:
        try:
            call.wait()
        except Interrupt:
            return True
        return False

    first = Background(lambda: session.write(work, durable=True, timeout=5))
    queued(live, 1)
    others = [Background(lambda n=n: live.publish([message(str(n))])) for n in range(5)]
    queued(live, 6)
    slow.finish()
    sent = [str(number) for number, other in enumerate(others) if not interrupted(other)]
    # It hit whoever led the transaction, most likely the one that had waited longest.
    assert interrupted(first) == (len(sent) == 5)
    assert runs == (1 if len(sent) == 5 else 2), "what the caller believes undone is not done later by somebody else"
    assert sorted(bodies(receive_all(consume(live)))) == sent
    live.publish([message("and on")])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may raise in a destructor, too
def test_a_handler_that_raises_at_any_moment_leaves_a_broker_that_works(live: SqliteBroker) -> None:
    class Alarm(Exception):
        pass

    def handler(*_: object) -> None:
        raise Alarm

    live.publish([message("0")])
    sent, raised = 1, 0
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for number in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + (number % 50) * 0.00001)
                live.publish([message(str(number))])
                sent += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                raised += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raised, "the test tests something"
    live.publish([message("last")])
    received = bodies(receive_all(consume(live)))
    assert received[-1] == "last"
    assert sent + 1 <= len(received) <= sent + 1 + raised
    assert len(set(received)) >= len(received) - 1


def test_many_threads_lose_nothing_and_get_nothing_twice(path: Path, live: SqliteBroker) -> None:
    senders, receivers, each = 4, 4, 250
    backend = SqliteBackend(path)
    settler = live.settler(backend)
    assert settler is not None
    received: list[list[str]] = [[] for _ in range(receivers)]
    done = threading.Event()

    def send(number: int) -> None:
        for start in range(0, each, 5):
            live.publish([message(f"{number}/{n}", id=f"{number}/{n}") for n in range(start, start + 5)])

    def receive(number: int) -> None:
        choice = random.Random(number)
        consumer = consume(live, owner=str(number), prefetch=50)
        while not done.is_set():
            batch = consumer.receive(7, 0.2)
            back = [one for one in batch if choice.random() < 0.3]
            kept = [one for one in batch if one not in back]
            consumer.requeue(back, charge=False)
            results = [(Result(id=one.message.id, state="SUCCESS", terminal=True), one) for one in kept]
            lost = settler.settle(consumer, results, [], [*kept, *back], ttl=60)
            assert lost == back, "given back already"
            received[number] += bodies(kept)
            if sum(map(len, received)) >= senders * each:
                done.set()
        consumer.close()

    threads = [Background(lambda n=n: send(n)) for n in range(senders)]
    threads += [Background(lambda n=n: receive(n)) for n in range(receivers)]
    for thread in threads:
        thread.wait()
    expected = {f"{number}/{n}" for number in range(senders) for n in range(each)}
    assert Counter(body for part in received for body in part) == Counter(expected)
    assert len(backend.fetch(sorted(expected))) == senders * each
    known = live.stats(["q"])["q"]
    assert (known.ready, known.leased, known.delayed) == (0, 0, 0)
    backend.close()


def test_senders_in_threads_need_fewer_commits_than_messages(live: SqliteBroker) -> None:
    threads, each = 16, 30
    live.declare([])
    before = commits(live)
    together = threading.Barrier(threads)

    def send() -> None:
        together.wait()
        for _ in range(each):
            live.publish([message()])

    for thread in [Background(send) for _ in range(threads)]:
        thread.wait()
    used = commits(live) - before
    print(f"{threads * each} messages of {threads} threads in {used} commits")
    assert used < threads * each * 0.9


SYSCALLS = """
import sys, os
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location
from umbel.spec import Message
broker = SqliteBroker(Location.of(sys.argv[1], fast=sys.argv[2] == "fast"))
consumer = broker.consume(["q"], owner="o", prefetch=100)
def mark(text):
    try: os.stat("/mark/" + text)
    except OSError: pass
broker.publish([Message(queue="q", body=b"0", id="0")])
held = consumer.receive(1, 1)
for number in range(20):
    mark("publish")
    broker.publish([Message(queue="q", body=b"1", id="1")])
    mark("published")
    mark("claim")
    found = consumer.receive(1, 1)
    mark("claimed")
    mark("ack")
    consumer.ack(found)
    mark("acked")
os._exit(0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(("mode", "publishes", "claims", "acks"), [("safe", 1, 0, 1), ("fast", 0, 0, 0)])
def test_what_is_confirmed_has_been_synced_and_a_claim_syncs_nothing(
    mode: str, publishes: int, claims: int, acks: int, path: Path
) -> None:
    log = path.with_name("strace")
    command = ["strace", "-f", "-e", "trace=fsync,fdatasync,stat,newfstatat,statx", "-o", str(log)]
    subprocess.run([*command, sys.executable, "-c", SYSCALLS, str(path), mode], check=True, timeout=60)
    syncs, phase = Counter[str](), ""
    for line in log.read_text().splitlines():
        if "/mark/" in line:
            phase = line.split("/mark/")[1].split('"')[0]
        elif "sync(" in line:
            syncs[phase] += 1
    # The log is copied into the database now and then, which syncs on its own account.
    assert (syncs["publish"] // 20, syncs["claim"] // 20, syncs["ack"] // 20) == (publishes, claims, acks)
    assert syncs["publish"] >= 20 * publishes
    assert syncs["ack"] >= 20 * acks
    assert syncs["claim"] <= 2


def test_the_log_does_not_grow_without_bound(path: Path, live: SqliteBroker) -> None:
    body = b"x" * 20_000
    for _ in range(60):
        live.publish([message(body) for _ in range(20)])
        live.purge("q")
    assert path.with_name("queue.db-wal").stat().st_size < 20_000_000


def test_a_disk_that_does_not_answer_is_said_to_those_who_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.brokers.sqlite.commits.GRACE", 0.05)
    broker = SqliteBroker(Location.of(path, timeout=0.6))
    broker.declare([])
    slow = Slow(broker)
    joined = threading.Event()
    release = threading.Event()

    def stuck(connection: sqlite3.Connection) -> None:
        joined.set()
        release.wait(5)

    leader = Background(lambda: broker.access.write(stuck, timeout=5))
    queued(broker, 1)
    follower = Background(lambda: broker.publish([message("unknown")]))
    queued(broker, 2)
    slow.finish()
    assert joined.wait(5)
    with pytest.raises(PublishError, match="has not answered") as caught:
        follower.wait()
    assert not caught.value.failures[0].certain, "it may still be written"
    release.set()
    leader.wait()
    assert bodies(receive_all(consume(broker))) == ["unknown"]
    broker.close()
