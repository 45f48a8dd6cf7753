"""Receive blocks until there is something, without polling; and threads do not get into each other's way."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, receive_all, until
from umbel.backends.memory import MemoryBackend
from umbel.brokers.memory import MemoryBroker
from umbel.clock import ManualClock
from umbel.spec import Fatal

FOREVER = 3600.0


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def test_a_message_sent_while_blocked_is_received_at_once(broker: MemoryBroker) -> None:
    blocked = Background(lambda: consume(broker).receive(10, FOREVER))
    until(lambda: broker.hub.waiting)
    broker.publish([message("1"), message("2")])
    assert bodies(blocked.wait()) == ["1", "2"]


def test_nothing_comes_after_the_timeout(broker: MemoryBroker) -> None:
    begin = time.monotonic()
    assert consume(broker).receive(10, 0.05) == []
    assert 0.05 <= time.monotonic() - begin < 5


def test_closing_wakes_a_blocked_receive(broker: MemoryBroker) -> None:
    consumer = consume(broker)
    blocked = Background(lambda: consumer.receive(10, FOREVER))
    until(lambda: broker.hub.waiting)
    consumer.close()
    assert blocked.wait() == []


def test_closing_the_broker_wakes_a_blocked_receive(broker: MemoryBroker) -> None:
    blocked = Background(lambda: consume(broker).receive(10, FOREVER))
    until(lambda: broker.hub.waiting)
    broker.close()
    assert blocked.wait() == []


def test_a_blocked_receive_wakes_when_a_delay_ends(broker: MemoryBroker) -> None:
    eta = time.time() + 0.05
    broker.publish([message("1", eta=eta)])
    assert bodies(consume(broker).receive(1, FOREVER)) == ["1"]
    assert time.time() >= eta


def test_a_blocked_receive_wakes_when_a_lease_ends() -> None:
    broker = MemoryBroker(lease=0.05)
    broker.publish([message("1")])
    consume(broker, owner="dead").receive(1, 0)
    assert consume(broker, owner="other").receive(1, FOREVER)[0].attempt == 2


@pytest.mark.parametrize("way", ["requeue", "delayed requeue", "close", "release", "lease"])
def test_a_blocked_receive_gets_what_comes_back(way: str) -> None:
    clock = ManualClock()
    broker = MemoryBroker(clock=clock, lease=30)
    broker.publish([message("1")])
    holder = consume(broker, owner="holder")
    held = holder.receive(1, 0)
    blocked = Background(lambda: consume(broker, owner="other").receive(1, FOREVER))
    until(lambda: broker.hub.waiting)
    match way:
        case "requeue":
            holder.requeue(held)
        case "delayed requeue":
            holder.requeue(held, delay=3)
            clock.advance(3)
        case "close":
            holder.close()
        case "release":
            broker.release("holder", ())
        case "lease":
            clock.advance(30)
    assert bodies(blocked.wait(clock)) == ["1"]


def test_a_receive_that_waits_for_room_goes_on_when_something_is_settled(broker: MemoryBroker) -> None:
    broker.publish([message("1"), message("2")])
    consumer = consume(broker, prefetch=1)
    held = consumer.receive(1, 0)
    blocked = Background(lambda: consumer.receive(1, FOREVER))
    until(lambda: broker.hub.waiting)
    consumer.ack(held)
    assert bodies(blocked.wait()) == ["2"]


def test_an_idle_receive_does_not_poll() -> None:
    looks = Counter[str]()

    class Counting(ManualClock):
        def steady(self) -> float:
            looks["steady"] += 1
            return super().steady()

    broker = MemoryBroker(clock=Counting())
    consumer = consume(broker)
    blocked = Background(lambda: consumer.receive(1, FOREVER))
    until(lambda: broker.hub.waiting)
    before = looks["steady"]
    time.sleep(0.05)
    assert looks["steady"] == before
    consumer.close()
    blocked.wait()


def test_many_threads_lose_nothing_and_get_nothing_twice(broker: MemoryBroker) -> None:
    senders, receivers, each = 4, 4, 2000
    received: list[list[str]] = [[] for _ in range(receivers)]
    done = threading.Event()

    def send(number: int) -> None:
        for start in range(0, each, 10):
            broker.publish([message(f"{number}/{n}", priority=n % 3) for n in range(start, start + 10)])

    def receive(number: int) -> None:
        choice = random.Random(number)
        consumer = consume(broker, owner=str(number), prefetch=50)
        while not done.is_set():
            batch = consumer.receive(7, 0.01)
            back = [delivery for delivery in batch if choice.random() < 0.3]
            kept = [delivery for delivery in batch if delivery not in back]
            for delivery in back:
                consumer.requeue([delivery], charge=False)
            consumer.ack(back)  # given back already: must do nothing
            received[number] += bodies(kept)
            consumer.ack(kept)
            if sum(map(len, received)) >= senders * each:
                done.set()
        consumer.close()

    threads = [Background(lambda n=n: send(n)) for n in range(senders)]
    threads += [Background(lambda n=n: receive(n)) for n in range(receivers)]
    for thread in threads:
        thread.wait()
    expected = {f"{number}/{n}" for number in range(senders) for n in range(each)}
    assert Counter(body for part in received for body in part) == Counter(expected)
    known = broker.stats(["q"])["q"]
    assert (known.ready, known.leased, known.delayed) == (0, 0, 0)


def test_one_senders_messages_keep_their_order_whoever_gives_them_back(broker: MemoryBroker) -> None:
    broker.publish([message(str(n)) for n in range(500)])
    quitting = threading.Barrier(4)

    def take_and_give_back(number: int) -> None:
        consumer = consume(broker, owner=str(number))
        for _ in range(20):
            consumer.receive(5, 0)
        quitting.wait()
        consumer.close()

    for thread in [Background(lambda n=n: take_and_give_back(n)) for n in range(4)]:
        thread.wait()
    assert bodies(receive_all(consume(broker))) == [str(n) for n in range(500)]


def test_a_forked_process_is_refused_at_once_and_can_close_what_it_inherited(broker: MemoryBroker) -> None:
    backend = MemoryBackend(broker.hub)
    consumer = consume(broker)
    watcher = backend.watch()
    broker.publish([message("1")])
    uses = (
        lambda: broker.publish([message("2")]),
        lambda: broker.stats(["q"]),
        lambda: consumer.receive(1, 0),
        lambda: consumer.ack([]),
        lambda: backend.fetch(["1"]),
        lambda: watcher.add(["1"]),
    )
    broker.hub.lock.acquire()  # as another thread may, at the moment of the fork
    child = os.fork()
    if not child:
        refused = 0
        for use in uses:
            try:
                use()
            except Fatal:
                refused += 1
        broker.close()
        backend.close()
        watcher.close()
        consumer.close()
        os._exit(refused)
    broker.hub.lock.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == len(uses)
    assert bodies(receive_all(consumer)) == ["1"]


def test_waiting_for_ever_is_possible(broker: MemoryBroker) -> None:
    blocked = Background(lambda: consume(broker).receive(1, float("inf")))
    until(lambda: broker.hub.waiting or blocked.done)
    broker.publish([message("1")])
    assert bodies(blocked.wait()) == ["1"]
