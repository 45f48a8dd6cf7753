"""What a result store gets for nothing: a watcher that looks."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from umbel.spec import Arrival, BackendError, Result, ResultBackend

if TYPE_CHECKING:
    from collections.abc import Sequence


class Smallest(ResultBackend):
    """A dictionary: the four methods, and nothing else."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}

    def store(self, results: Sequence[Result], *, ttl: float | None) -> None:
        self.results.update((result.id, result) for result in results)

    def fetch(self, ids: Sequence[str]) -> dict[str, Result]:
        return {id: self.results[id] for id in ids if id in self.results}

    def forget(self, ids: Sequence[str]) -> None:
        for id in ids:
            self.results.pop(id, None)

    def arrive(self, arrivals: Sequence[Arrival], *, ttl: float) -> Sequence[int]:
        raise NotImplementedError


@pytest.fixture
def store() -> Smallest:
    """A store with nothing in it."""
    return Smallest()


def done(id: str, state: str = "SUCCESS") -> Result:
    """A result."""
    return Result(id=id, state=state)


def test_what_is_known_already_comes_first(store: Smallest) -> None:
    store.store([done("a"), done("b")], ttl=None)
    watcher = store.watch()
    watcher.add(["a", "c"])
    assert [result.id for result in watcher.next(0.0)] == ["a"]


def test_the_same_news_is_told_once_and_a_change_again(store: Smallest) -> None:
    watcher = store.watch()
    watcher.add(["a"])
    store.store([done("a", "STARTED")], ttl=None)
    assert [result.state for result in watcher.next(1.0)] == ["STARTED"]
    assert list(watcher.next(0.0)) == []
    store.store([done("a")], ttl=None)
    assert [result.state for result in watcher.next(1.0)] == ["SUCCESS"]


def test_a_result_that_is_stored_meanwhile_ends_the_wait(store: Smallest) -> None:
    watcher = store.watch()
    watcher.add(["a"])
    storing = threading.Timer(0.05, lambda: store.store([done("a")], ttl=None))
    storing.start()
    started = time.monotonic()
    assert [result.id for result in watcher.next(10.0)] == ["a"]
    assert time.monotonic() - started < 5.0
    storing.join()


def test_what_is_not_watched_any_more_is_no_news(store: Smallest) -> None:
    watcher = store.watch()
    watcher.add(["a", "b"])
    watcher.remove(["a", "never added"])
    store.store([done("a"), done("b")], ttl=None)
    assert [result.id for result in watcher.next(1.0)] == ["b"]


def test_closing_wakes_whoever_waits(store: Smallest) -> None:
    watcher = store.watch()
    watcher.add(["a"])
    closing = threading.Timer(0.05, watcher.close)
    closing.start()
    started = time.monotonic()
    assert list(watcher.next(10.0)) == []
    assert time.monotonic() - started < 5.0
    closing.join()
    watcher.close()


def test_a_store_that_cannot_gather_says_so_by_name(store: Smallest) -> None:
    with pytest.raises(BackendError, match="Smallest cannot gather"):
        store.gather("barrier")
