"""A child at work, embedded in the test."""

from __future__ import annotations

import time
from itertools import pairwise

from umbel import Umbel
from umbel.testing import start_worker


def test_a_child_is_not_idle_between_two_tasks_of_some_length() -> None:
    app = Umbel("lengthy", broker="memory://lengthy", backend="memory://lengthy")
    runs: list[tuple[float, float]] = []

    @app.task(name="lengthy")
    def lengthy(n: int) -> None:
        begin = time.monotonic()
        time.sleep(0.06)  # longer than the horizon, so that each is fetched alone
        runs.append((begin, time.monotonic()))

    results = lengthy.delay_many([(n,) for n in range(8)])
    with start_worker(app, pool="solo"):
        for result in results:
            result.get(timeout=20)
    assert max(begin - end for (_, end), (begin, _) in pairwise(runs)) < 0.25
