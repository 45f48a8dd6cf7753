"""Signals as bytes."""

import os
import select
import signal
import threading
from queue import SimpleQueue

from umbel.worker.wakeup import Listening, SignalStream


def test_signals_arrive_in_order_and_wake_a_selector() -> None:
    stream = SignalStream((signal.SIGUSR1, signal.SIGUSR2))
    try:
        assert stream.receive() == []
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert select.select([stream], [], [], 5.0)[0]
        assert stream.receive() == [signal.SIGUSR2, signal.SIGUSR1]
    finally:
        stream.close()


def test_handlers_and_the_wakeup_descriptor_are_put_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    stream = SignalStream((signal.SIGUSR1,))
    assert signal.getsignal(signal.SIGUSR1) is not before
    stream.close()
    stream.close()
    assert signal.getsignal(signal.SIGUSR1) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stream = SignalStream((signal.SIGHUP,))
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stream.receive() == []
    finally:
        stream.close()
        signal.signal(signal.SIGHUP, before)


def test_a_listener_hears_while_the_main_thread_waits_for_a_lock() -> None:
    heard: SimpleQueue[tuple[int, str]] = SimpleQueue()
    with Listening((signal.SIGUSR1,), lambda signum: heard.put((signum, threading.current_thread().name))):
        sender = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        sender.start()
        assert heard.get(timeout=5.0) == (signal.SIGUSR1, "umbel-signals")
        sender.join()


def test_a_listener_hears_nothing_of_other_signals_and_leaves_no_thread() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        with Listening((signal.SIGUSR1,), heard.append):
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGUSR1)
            while not heard:
                pass
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR1]
    assert "umbel-signals" not in [thread.name for thread in threading.enumerate()]
