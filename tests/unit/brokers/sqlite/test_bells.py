"""Who waits is woken at once, costs nothing meanwhile, and no wake-up is lost."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, until
from tests.unit.brokers.sqlite.processes import Child, cpu_seconds
from umbel.brokers.sqlite.bells import CONSUMER, SLOTS, WATCHER, Board, marks
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOREVER = 3600.0


def waiting(broker: SqliteBroker) -> bool:
    return broker.access.host.board.waiting()


# --- the board -------------------------------------------------------------------------------------------------------


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(str(tmp_path), 0o600)


def hears(bell: object) -> bool:
    begin = time.monotonic()
    bell.wait(0.0)  # type: ignore[attr-defined]
    bell.wait(0.02)  # type: ignore[attr-defined]
    return time.monotonic() - begin < 0.015


def test_only_as_many_are_rung_as_asked_for_and_only_those_who_wait(board: Board, tmp_path: Path) -> None:
    other = Board(str(tmp_path), 0o600)  # as another process has it
    bells = [board.hang(owner, owner, CONSUMER) for owner in range(5)]
    for bell in bells[1:]:
        bell.listen(marks(["q"]))
        bell.arm()
    other.ring(CONSUMER, marks(["q"]), 2)
    assert [hears(bell) for bell in bells] == [False, True, True, False, False]
    other.ring(CONSUMER, marks(["q"]), 1)
    assert hears(bells[3]), "the two that were rung have work already"
    other.ring(CONSUMER, marks(["q"]), 9)
    assert hears(bells[4])
    assert not other.waiting()


def test_a_bell_hears_what_it_listens_to(board: Board) -> None:
    bell = board.hang(7, 1023, WATCHER)
    bell.listen(marks(["a", "b"]))
    bell.arm()
    board.ring(WATCHER, marks(["c"]), 1)
    board.ring(CONSUMER, marks(["a"]), 1)
    assert not hears(bell)
    board.ring(WATCHER, marks(["c", "b"]), 1)
    assert hears(bell)
    bell.disarm()
    bell.arm()
    board.ring(WATCHER, None, 1)
    assert hears(bell)


@pytest.mark.parametrize("count", [13, 14, 1000])
def test_a_bell_may_listen_to_many(count: int, board: Board) -> None:
    bell = board.hang(7, 0, CONSUMER)
    bell.listen(marks(str(n) for n in range(count)))
    bell.arm()
    board.ring(CONSUMER, marks([str(count - 1)]), 1)
    assert hears(bell)


def test_a_dead_waiter_is_passed_over(board: Board, tmp_path: Path) -> None:
    dead, alive = board.hang(1, 1, CONSUMER), board.hang(2, 2, CONSUMER)
    for bell in (dead, alive):
        bell.arm()
    dead.close()
    board.ring(CONSUMER, None, 1)
    assert hears(alive)


def test_a_slot_is_freed_by_its_own_owner_only(board: Board, tmp_path: Path) -> None:
    board.hang(1, 5, CONSUMER)
    bell = board.hang(2, 5, CONSUMER)
    bell.arm()
    board.take_down(1, 5)
    board.ring(CONSUMER, None, 1)
    assert hears(bell)
    board.take_down(2, 5)
    assert not board.present(CONSUMER, marks(["q"]))


def test_a_fifo_that_is_full_does_not_block_who_rings(board: Board) -> None:
    bell = board.hang(1, 0, CONSUMER)
    for _ in range(70_000):
        bell.ring()
    bell.arm()
    board.ring(CONSUMER, None, 1)
    assert hears(bell)
    bell.disarm()
    bell.arm()
    assert not hears(bell), "disarming forgets all rings"
    bell.close()
    bell.ring()
    bell.close()


def test_there_is_room_for_all(board: Board) -> None:
    bell = board.hang(1, SLOTS - 1, CONSUMER)
    bell.arm()
    board.log_pages = 1 << 40
    board.ring(CONSUMER, marks(["x"]), 1)
    assert hears(bell)
    assert board.log_pages == 1 << 40


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_a_message_sent_while_blocked_is_received_at_once(live: SqliteBroker) -> None:
    consumer = consume(live)
    blocked = Background(lambda: consumer.receive(10, FOREVER))
    until(lambda: waiting(live))
    live.publish([message("1"), message("2")])
    assert bodies(blocked.wait()) == ["1", "2"]


def test_nothing_comes_after_the_timeout(live: SqliteBroker) -> None:
    consumer = consume(live)
    begin = time.monotonic()
    assert consumer.receive(10, 0.05) == []
    assert 0.05 <= time.monotonic() - begin < 5


@pytest.mark.parametrize("who", ["consumer", "broker"])
def test_closing_wakes_a_blocked_receive(who: str, live: SqliteBroker) -> None:
    consumer = consume(live)
    blocked = Background(lambda: consumer.receive(10, FOREVER))
    until(lambda: waiting(live))
    begin = time.monotonic()
    (consumer if who == "consumer" else live).close()
    assert blocked.wait() == []
    assert time.monotonic() - begin < 0.5


def test_a_blocked_receive_wakes_when_a_delay_ends(live: SqliteBroker) -> None:
    consumer = consume(live)
    blocked = Background(lambda: (consumer.receive(1, FOREVER), time.time()))
    until(lambda: waiting(live))
    eta = time.time() + 0.15
    live.publish([message("1", eta=eta)])
    found, at = blocked.wait()
    assert bodies(found) == ["1"]
    assert eta <= at < eta + 0.1


def test_everybody_who_waits_knows_of_a_message_that_is_due_soon(
    live: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.brokers.sqlite.reaper.ROUND", (30.0, 30.0))
    monkeypatch.setattr("umbel.brokers.sqlite.consumer.RECHECK", 30.0)
    consumers = [consume(live, owner=str(n)) for n in range(3)]
    blocked = [Background(lambda c=c: c.receive(1, FOREVER)) for c in consumers]
    until(lambda: live.access.host.board._map[:SLOTS].count(2) == 3)  # all three wait
    eta = time.time() + 0.2
    live.publish([message("later", eta=eta)])
    # Whoever noted the time is kept busy by these.
    live.publish([message("now"), message("now")])
    until(lambda: time.time() > eta + 0.1)
    assert sorted(body for one in blocked for body in bodies(one.wait())) == ["later", "now", "now"]


@pytest.mark.parametrize("way", ["requeue", "delayed requeue", "close", "release", "dead letter"])
def test_a_blocked_receive_gets_what_comes_back(way: str, live: SqliteBroker) -> None:
    live.publish([message("1")])
    holder, other = consume(live, owner="holder"), consume(live, "q", "q.dead", owner="other")
    held = holder.receive(1, 0)
    blocked = Background(lambda: other.receive(1, FOREVER))
    until(lambda: waiting(live))
    begin = time.monotonic()
    match way:
        case "requeue":
            holder.requeue(held)
        case "delayed requeue":
            holder.requeue(held, delay=0.1)
        case "close":
            holder.close()
        case "release":
            live.release("holder", ())
        case "dead letter":
            holder.dead_letter(held, "no")
    assert bodies(blocked.wait()) == ["1"]
    assert time.monotonic() - begin < 0.5, "it was woken, rather than that it looked"


def test_a_receive_that_waits_for_room_goes_on_when_something_is_settled(live: SqliteBroker) -> None:
    live.publish([message("1"), message("2")])
    consumer = consume(live, prefetch=1)
    held = consumer.receive(1, 0)
    blocked = Background(lambda: consumer.receive(1, FOREVER))
    until(lambda: waiting(live))
    begin = time.monotonic()
    consumer.ack(held)
    assert bodies(blocked.wait()) == ["2"]
    assert time.monotonic() - begin < 0.5


def test_a_wait_for_ever_is_possible(live: SqliteBroker) -> None:
    consumer = consume(live)
    blocked = Background(lambda: consumer.receive(1, float("inf")))
    until(lambda: waiting(live) or blocked.done)
    live.publish([message("1")])
    assert bodies(blocked.wait()) == ["1"]


def test_who_takes_one_of_many_wakes_the_next(live: SqliteBroker) -> None:
    consumers = [consume(live, owner=str(n)) for n in range(4)]
    blocked = [Background(lambda c=c: c.receive(1, FOREVER)) for c in consumers]
    until(lambda: live.access.host.board._map[:SLOTS].count(2) == 4)
    begin = time.monotonic()
    live.publish([message(str(n)) for n in range(4)])
    assert sorted(body for one in blocked for body in bodies(one.wait())) == ["0", "1", "2", "3"]
    assert time.monotonic() - begin < 0.5


def test_who_leaves_passes_on_what_was_rung_for(live: SqliteBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.brokers.sqlite.reaper.ROUND", (30.0, 30.0))
    monkeypatch.setattr("umbel.brokers.sqlite.consumer.RECHECK", 30.0)
    leaver, other = consume(live, owner="leaver"), consume(live, owner="other")
    assert other.receive(1, 0) == []
    leaver._seat.bell.arm()  # as if it waited
    blocked = Background(lambda: other.receive(1, 20))
    until(lambda: live.access.host.board._map[:SLOTS].count(2) == 2)
    live.publish([message("1")])
    leaver.close()
    assert bodies(blocked.wait()) == ["1"]


def test_no_wake_up_is_lost_however_the_moments_fall(live: SqliteBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the looks that time alone causes, a lost wake-up would leave the receiver waiting for good.
    monkeypatch.setattr("umbel.brokers.sqlite.reaper.ROUND", (30.0, 30.0))
    monkeypatch.setattr("umbel.brokers.sqlite.consumer.RECHECK", 30.0)
    rounds, senders = 300, 2
    consumers = [consume(live, owner=str(n)) for n in range(2)]
    received: Counter[str] = Counter()
    stop = threading.Event()

    def receive(number: int) -> None:
        while not stop.is_set():
            found = consumers[number].receive(1, 20)
            consumers[number].ack(found)
            received.update(bodies(found))

    receivers = [Background(lambda n=n: receive(n)) for n in range(2)]
    for number in range(rounds):
        for sender in range(senders):
            live.publish([message(f"{number}/{sender}")])
        expected = (number + 1) * senders
        deadline = time.monotonic() + 5
        while received.total() < expected:
            assert time.monotonic() < deadline, f"lost in round {number}"
            time.sleep(0)
    stop.set()
    live.publish([message("end"), message("end")])
    for receiver in receivers:
        receiver.wait()


# --- between processes -----------------------------------------------------------------------------------------------


def echo(path: Path) -> Child:
    """A process that says when it received each message."""

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        broker = SqliteBroker(path)
        consumer = consume(broker, owner="echo")
        say("ready")
        while found := consumer.receive(1, 30):
            now = time.perf_counter()
            say(now)
            if bodies(found) == ["end"]:
                break
            consumer.ack(found)
        broker.close()

    child = Child(work)
    assert child.hear() == "ready"
    return child


def test_another_process_is_woken_within_milliseconds(path: Path, live: SqliteBroker) -> None:
    with echo(path) as child:
        latencies = []
        for _ in range(40):
            until(lambda: waiting(live))
            sent = time.perf_counter()
            live.publish([message("x")])
            latencies.append(float(child.hear()) - sent)
        live.publish([message("end")])
        assert child.wait() == 0
    print(f"publish to receive, another process: median {statistics.median(latencies) * 1e3:.2f} ms")
    assert statistics.median(latencies) < 0.01


def test_an_idle_consumer_takes_no_processor_time(path: Path, live: SqliteBroker) -> None:
    with echo(path) as child:
        time.sleep(0.2)
        before, begin = cpu_seconds(child.pid), time.monotonic()
        time.sleep(1.5)
        used = (cpu_seconds(child.pid) - before) / (time.monotonic() - begin)
        print(f"an idle consumer: {used:.2%} of a processor")
        assert used <= 0.01
        live.publish([message("end")])
        child.hear()


def test_a_waiter_in_a_forked_child_has_a_bell_of_its_own(path: Path, live: SqliteBroker) -> None:
    consume(live)
    with echo(path) as child:
        until(lambda: waiting(live))
        live.publish([message("end")])
        child.hear(2)
        assert child.wait() == 0


def test_the_bells_are_for_whoever_may_use_the_database(path: Path) -> None:
    before = os.umask(0o077)
    try:
        path.touch()
        path.chmod(0o660)
        broker = SqliteBroker(path, clock=ManualClock())
        consume(broker)
        modes = {file.name.split("-")[0]: file.stat().st_mode & 0o777 for file in path.parent.glob("queue.db-run/*")}
        assert modes == {"bell": 0o660, "board": 0o660, "owners": 0o660}
        assert path.with_name("queue.db-run").stat().st_mode & 0o777 == 0o770
        broker.close()
    finally:
        os.umask(before)
