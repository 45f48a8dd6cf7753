"""The clocks: the machine's own, and one that a test turns."""

from __future__ import annotations

import threading
import time

from umbel.clock import ManualClock, SystemClock, boot_time


def test_the_system_clock_tells_unix_time_and_a_steady_one() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time()) < 5.0
    before = clock.steady()
    assert 0 <= clock.steady() - before < 5.0
    assert abs(clock.steady() - boot_time()) < 5.0


def test_a_manual_clock_stands_still_until_it_is_turned() -> None:
    clock = ManualClock(now=1000.0)
    now, steady = clock.now(), clock.steady()
    assert (clock.now(), clock.steady()) == (now, steady) == (1000.0, 0.0)
    clock.advance(2.5)
    assert (clock.now(), clock.steady()) == (1002.5, 2.5)


def test_setting_the_wall_clock_does_not_move_the_steady_one() -> None:
    clock = ManualClock(now=1000.0)
    clock.set_wall_clock(5.0)
    assert (clock.now(), clock.steady()) == (5.0, 0.0)


def test_whoever_waits_on_a_manual_clock_wakes_when_it_is_turned() -> None:
    clock, condition = ManualClock(), threading.Condition()
    waiting, woken = threading.Event(), threading.Event()

    def wait() -> None:
        with condition:
            waiting.set()
            clock.wait(condition, 60.0)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(5.0)
    with condition:  # it is inside wait() once the condition can be held
        pass
    assert not woken.is_set()
    clock.advance(0.001)
    assert woken.wait(5.0)
    thread.join()


def test_waiting_no_time_returns_at_once() -> None:
    condition = threading.Condition()
    with condition:
        ManualClock().wait(condition, 0.0)


def test_the_system_clock_waits_no_longer_than_told() -> None:
    condition = threading.Condition()
    started = time.monotonic()
    with condition:
        SystemClock().wait(condition, 0.01)
    assert time.monotonic() - started < 5.0
