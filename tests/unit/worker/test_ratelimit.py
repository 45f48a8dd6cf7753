"""Rate limits, shared by forked children."""

from __future__ import annotations

import os
import time
from contextlib import closing

import pytest

from umbel.exceptions import ImproperlyConfigured
from umbel.worker.ratelimit import RateLimits, interval


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [("10/s", 0.1), ("100/m", 0.6), ("5/h", 720.0), (4, 0.25), ("2", 0.5), (None, 0.0), ("", 0.0), (0, 0.0)],
)
def test_rates_are_read_as_celery_reads_them(rate: str | float | None, seconds: float) -> None:
    assert interval(rate) == pytest.approx(seconds)


@pytest.mark.parametrize("rate", ["ten/s", "10/y", "-1/s", "/s"])
def test_a_wrong_rate_is_named(rate: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="rate_limit"):
        interval(rate)


def test_the_first_start_is_free_and_the_next_waits_its_turn() -> None:
    with closing(RateLimits({"t": "10/s", "free": None})) as limits:
        assert limits.take("t") == 0.0
        first, second = limits.take("t"), limits.take("t")
        assert 0.0 < first <= 0.1 < second <= 0.2
        assert limits.take("free") == 0.0
        assert limits.take("unknown") == 0.0


def test_forked_children_share_one_limit() -> None:
    with closing(RateLimits({"t": "1/h"})) as limits:
        reader, writer = os.pipe()
        pids = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                os.write(writer, b"y" if limits.take("t") == 0.0 else b"n")
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        os.close(writer)
        assert sorted(os.read(reader, 10)) == sorted(b"ynnn")
        os.close(reader)


def test_a_killed_child_does_not_keep_the_lock() -> None:
    with closing(RateLimits({"t": "1000/s"})) as limits:
        pid = os.fork()
        if pid == 0:
            while True:
                limits.take("t")
        time.sleep(0.05)  # the child must be in the middle of taking, again and again
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        started = time.monotonic()
        limits.take("t")
        assert time.monotonic() - started < 1.0
