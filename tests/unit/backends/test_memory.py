"""The memory result store: which state wins, for how long it is kept, and who is told."""

from __future__ import annotations

import threading

import pytest

from tests.unit.brokers.helpers import Background, until
from umbel.backends import memory
from umbel.backends.memory import MemoryBackend, MemoryWatcher
from umbel.clock import ManualClock
from umbel.spec import Arrival, Result, Watcher

FOREVER = 3600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def backend(clock: ManualClock) -> MemoryBackend:
    return MemoryBackend(clock=clock)


def result(state: str, **fields: object) -> Result:
    fields.setdefault("id", "a")
    return Result(state=state, terminal=state in ("SUCCESS", "FAILURE", "REVOKED"), **fields)


def state(backend: MemoryBackend, id: str = "a") -> str | None:
    found = backend.fetch([id])
    return found[id].state if found else None


def test_what_was_stored_is_fetched_as_it_was(backend: MemoryBackend) -> None:
    stored = result("SUCCESS", body=b"\xff", content_type="x/y", attempt=3, meta={"name": "t", "children": [["x"]]})
    backend.store([stored, result("STARTED", id="b")], ttl=60)
    assert backend.fetch(["a", "nobody", "b"])["a"] == stored
    assert list(backend.fetch(["nobody", "b"])) == ["b"]


@pytest.mark.parametrize(
    ("stored", "wins"),
    [
        (["STARTED", "SUCCESS"], "SUCCESS"),
        (["SUCCESS", "STARTED"], "SUCCESS"),
        (["SUCCESS", "FAILURE"], "SUCCESS"),
        (["FAILURE", "SUCCESS"], "FAILURE"),
        (["REVOKED", "SUCCESS"], "REVOKED"),
        (["STARTED", "PROGRESS", "RETRY", "STARTED"], "STARTED"),
        (["SUCCESS", "RETRY"], "SUCCESS"),
    ],
)
@pytest.mark.parametrize("batched", [True, False])
def test_the_first_final_state_wins(batched: bool, stored: list[str], wins: str, backend: MemoryBackend) -> None:
    results = [result(one) for one in stored]
    for batch in [results] if batched else [[one] for one in results]:
        backend.store(batch, ttl=60)
    assert state(backend) == wins


def test_an_earlier_attempt_does_not_undo_a_later_one(backend: MemoryBackend) -> None:
    backend.store([result("STARTED", attempt=2)], ttl=60)
    backend.store([result("PROGRESS", attempt=1), result("SUCCESS", attempt=1)], ttl=60)
    assert state(backend) == "STARTED"
    backend.store([result("SUCCESS", attempt=2)], ttl=60)
    backend.store([result("SUCCESS", attempt=3, body=b"late")], ttl=60)
    assert backend.fetch(["a"])["a"].body == b""


def test_a_later_generation_begins_anew_and_an_earlier_one_is_over(backend: MemoryBackend) -> None:
    backend.store([result("SUCCESS", attempt=3)], ttl=60)
    backend.store([result("STARTED", generation=1)], ttl=60)
    assert state(backend) == "STARTED"
    backend.store([result("FAILURE", generation=0, attempt=9)], ttl=60)
    assert state(backend) == "STARTED"


def test_a_result_is_kept_for_its_ttl_and_leaves_nothing_behind(backend: MemoryBackend, clock: ManualClock) -> None:
    backend.store([result("SUCCESS"), result("STARTED", id="b")], ttl=10)
    backend.store([result("SUCCESS", id="good")], ttl=None)
    clock.advance(9)
    backend.store([result("SUCCESS", id="b")], ttl=10)
    clock.advance(1)
    assert sorted(backend.fetch(["a", "b", "good"])) == ["b", "good"]
    clock.advance(9)
    assert sorted(backend.fetch(["a", "b", "good"])) == ["good"]
    assert len(backend.hub.results) == 1


def test_a_shorter_ttl_counts_from_the_last_state(backend: MemoryBackend, clock: ManualClock) -> None:
    backend.store([result("STARTED")], ttl=100)
    backend.store([result("SUCCESS")], ttl=1)
    clock.advance(1)
    assert state(backend) is None


def test_a_refused_state_does_not_prolong_the_ttl(backend: MemoryBackend, clock: ManualClock) -> None:
    backend.store([result("SUCCESS")], ttl=10)
    clock.advance(5)
    backend.store([result("FAILURE")], ttl=10)
    clock.advance(5)
    assert state(backend) is None


def test_setting_the_wall_clock_ends_no_ttl(backend: MemoryBackend, clock: ManualClock) -> None:
    backend.store([result("SUCCESS")], ttl=10)
    clock.set_wall_clock(clock.now() + 1e6)
    assert state(backend) == "SUCCESS"


def test_what_was_forgotten_is_gone_results_and_barriers(backend: MemoryBackend) -> None:
    backend.store([result("SUCCESS")], ttl=None)
    backend.arrive([Arrival(barrier="a", member="m", value=b"1")], ttl=60)
    backend.forget(["a", "nobody"])
    assert state(backend) is None
    assert backend.gather("a") == {}


def test_members_arrive_once_and_keep_their_first_value(backend: MemoryBackend) -> None:
    arrivals = [Arrival(barrier="g", member=member, value=value) for member, value in (("0", b"a"), ("1", b"b"))]
    assert list(backend.arrive(arrivals, ttl=60)) == [1, 2]
    again = [Arrival(barrier="g", member="0", value=b"other"), Arrival(barrier="h", member="0", value=b"c")]
    assert list(backend.arrive(again, ttl=60)) == [2, 1]
    assert backend.gather("g") == {"0": b"a", "1": b"b"}
    assert backend.gather("nobody") == {}


def test_each_arrival_renews_the_ttl_of_its_barrier(backend: MemoryBackend, clock: ManualClock) -> None:
    for member in range(5):
        backend.arrive([Arrival(barrier="g", member=str(member), value=b"")], ttl=10)
        clock.advance(9)
    assert len(backend.gather("g")) == 5
    clock.advance(1)
    assert backend.gather("g") == {}
    assert len(backend.hub.results) == 0


def test_of_many_threads_that_arrive_exactly_one_completes_the_set(backend: MemoryBackend) -> None:
    together = threading.Barrier(8)

    def arrive(number: int) -> int:
        together.wait()
        (size,) = backend.arrive([Arrival(barrier="g", member=str(number), value=b"")], ttl=60)
        return size

    threads = [Background(lambda n=n: arrive(n)) for n in range(8)]
    assert sorted(thread.wait() for thread in threads) == list(range(1, 9))


@pytest.fixture
def watcher(backend: MemoryBackend) -> Watcher:
    return backend.watch()


def states(watcher: Watcher) -> list[tuple[str, str]]:
    return [(one.id, one.state) for one in watcher.next(0)]


def test_what_is_known_already_comes_first(backend: MemoryBackend, watcher: Watcher) -> None:
    backend.store([result("SUCCESS")], ttl=60)
    watcher.add(["a", "b"])
    backend.store([result("STARTED", id="b")], ttl=60)
    assert states(watcher) == [("a", "SUCCESS"), ("b", "STARTED")]
    watcher.add(["a", "a"])
    assert states(watcher) == []


def test_every_state_is_told_in_order_and_refused_ones_are_not(backend: MemoryBackend, watcher: Watcher) -> None:
    watcher.add(["a"])
    for one in ("STARTED", "PROGRESS", "PROGRESS", "SUCCESS", "FAILURE"):
        backend.store([result(one), result(one, id="unwatched")], ttl=60)
    assert states(watcher) == [("a", "STARTED"), ("a", "PROGRESS"), ("a", "PROGRESS"), ("a", "SUCCESS")]


def test_what_is_no_longer_watched_is_no_longer_told(backend: MemoryBackend, watcher: Watcher) -> None:
    watcher.add(["a", "b"])
    backend.store([result("STARTED"), result("STARTED", id="b")], ttl=60)
    watcher.remove(["a", "nobody"])
    backend.store([result("SUCCESS")], ttl=60)
    assert states(watcher) == [("b", "STARTED")]
    watcher.add(["a"])
    assert states(watcher) == [("a", "SUCCESS")]


def test_a_result_wakes_a_blocked_watcher(backend: MemoryBackend, watcher: Watcher, clock: ManualClock) -> None:
    watcher.add(["a"])
    blocked = Background(lambda: watcher.next(FOREVER))
    backend.store([result("SUCCESS")], ttl=60)
    assert [one.state for one in blocked.wait(clock)] == ["SUCCESS"]


def test_a_blocked_watcher_is_told_of_ids_that_another_thread_adds(
    backend: MemoryBackend, watcher: Watcher, clock: ManualClock
) -> None:
    backend.store([result("SUCCESS")], ttl=60)
    blocked = Background(lambda: watcher.next(FOREVER))
    watcher.add(["a"])
    assert [one.state for one in blocked.wait(clock)] == ["SUCCESS"]


@pytest.mark.parametrize("who", ["watcher", "backend"])
def test_closing_wakes_a_blocked_watcher(
    who: str, backend: MemoryBackend, watcher: Watcher, clock: ManualClock
) -> None:
    watcher.add(["a"])
    blocked = Background(lambda: watcher.next(FOREVER))
    closed: Watcher | MemoryBackend = watcher if who == "watcher" else backend
    closed.close()
    closed.close()
    assert blocked.wait(clock) == []
    assert backend.hub.results.listeners == {}


def test_nothing_comes_after_the_timeout() -> None:
    assert MemoryBackend().watch().next(0.01) == []


def test_a_watcher_that_does_not_read_keeps_the_latest_of_each(
    backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "BACKLOG", 4)
    watcher = backend.watch()
    assert isinstance(watcher, MemoryWatcher)
    watcher.add(["a", "b"])
    backend.store([result("STARTED", id="b")], ttl=60)
    for number in range(10):
        backend.store([result("PROGRESS", body=str(number).encode())], ttl=60)
    news = watcher.next(0)
    assert len(news) <= 4
    assert (news[0].id, news[-1].body) == ("b", b"9")


def test_two_stores_of_one_hub_are_one_store(backend: MemoryBackend) -> None:
    other = MemoryBackend(backend.hub)
    watcher = other.watch()
    watcher.add(["a"])
    backend.store([result("SUCCESS")], ttl=60)
    assert states(watcher) == [("a", "SUCCESS")]
    until(lambda: state(other) == "SUCCESS")


def test_a_hub_brings_its_clock_along(backend: MemoryBackend, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="a hub has its clock"):
        MemoryBackend(backend.hub, clock=clock)
