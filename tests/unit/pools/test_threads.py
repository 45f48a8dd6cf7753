"""The pool of threads."""

from __future__ import annotations

import threading

from umbel.pools.ready import Ready
from umbel.pools.threads import Threads
from umbel.spec import Delivery, Message


def delivery(id: str) -> Delivery:
    return Delivery(message=Message(queue="q", body=b"", id=id), receipt=None)


def test_as_many_run_at_once_as_there_are_threads() -> None:
    ready: Ready = Ready()
    together = threading.Barrier(3)
    slots: list[int] = []

    def work(d: Delivery, slot: int) -> None:
        together.wait(10)  # broken, and the test with it, unless all three are here
        slots.append(slot)

    pool = Threads(3, ready, work)
    for id in "abc":
        ready.put(delivery(id))
    pool.start()
    pool.stop()
    assert pool.join(10)
    assert sorted(slots) == [0, 1, 2]


def test_joining_gives_up_in_time_on_a_task_that_does_not_end() -> None:
    ready: Ready = Ready()
    release = threading.Event()
    pool = Threads(1, ready, lambda d, slot: release.wait(30) and None)
    ready.put(delivery("a"))
    pool.start()
    pool.stop()
    assert not pool.join(0.05)
    release.set()
    assert pool.join(10)
