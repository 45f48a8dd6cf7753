"""Soft time limits."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from umbel.exceptions import SoftTimeLimitExceeded
from umbel.worker.limits import SoftLimit


def spin(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


@pytest.fixture
def soft() -> Iterator[SoftLimit]:
    limit = SoftLimit()
    yield limit
    limit.close()


def test_a_block_that_takes_too_long_is_interrupted(soft: SoftLimit) -> None:
    started = time.monotonic()
    with pytest.raises(SoftTimeLimitExceeded, match=r"0\.05"), soft.armed(0.05):
        spin(10)
    assert time.monotonic() - started < 5


def test_a_block_that_sleeps_is_interrupted_too(soft: SoftLimit) -> None:
    with pytest.raises(SoftTimeLimitExceeded), soft.armed(0.05):
        time.sleep(10)


def test_nothing_is_raised_after_the_block(soft: SoftLimit) -> None:
    with soft.armed(0.05):
        pass
    spin(0.1)


def test_only_the_main_thread_can_have_one() -> None:
    errors = []

    def try_it() -> None:
        try:
            SoftLimit()
        except RuntimeError as exc:
            errors.append(exc)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_closing_gives_the_signal_back() -> None:
    before = signal.getsignal(signal.SIGALRM)
    SoftLimit().close()
    assert signal.getsignal(signal.SIGALRM) is before
