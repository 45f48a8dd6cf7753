"""The SQLite result store: which state wins, for how long it is kept, and who is told, in whatever process."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import Background, until
from tests.unit.brokers.sqlite.processes import Child
from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite.location import Location
from umbel.clock import ManualClock
from umbel.spec import Arrival, Result, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FOREVER = 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def backend(path: Path, clock: ManualClock) -> Iterator[SqliteBackend]:
    backend = SqliteBackend(Location.of(path, fast=True), clock=clock)
    yield backend
    backend.close()


def result(state: str, **fields: object) -> Result:
    fields.setdefault("id", "a")
    return Result(state=state, terminal=state in ("SUCCESS", "FAILURE", "REVOKED"), **fields)  # type: ignore[arg-type]


def state(backend: SqliteBackend, id: str = "a") -> str | None:
    found = backend.fetch([id])
    return found[id].state if found else None


def rows(backend: SqliteBackend) -> int:
    return backend.access.read(
        lambda c: sum(
            c.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("result", "past", "barrier", "member")
        )
    )


# --- results ---------------------------------------------------------------------------------------------------------


def test_what_was_stored_is_fetched_as_it_was(backend: SqliteBackend) -> None:
    stored = [
        result("SUCCESS", body=b"\xff", content_type="x/y", attempt=3, meta={"name": "t", "children": [["x"]]}),
        result("STARTED", id="b"),
        result("FAILURE", id="é\0'", generation=2, body=b"\0"),
    ]
    backend.store(stored, ttl=60)
    assert backend.fetch(["a", "nobody", "b", "é\0'"]) == {one.id: one for one in stored}
    assert backend.fetch([]) == {}


def test_results_outlive_the_process(path: Path) -> None:
    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        SqliteBackend(path).store([result("SUCCESS", body=b"1")], ttl=None)

    with Child(work) as child:
        assert child.wait() == 0
    backend = SqliteBackend(path)
    assert backend.fetch(["a"])["a"].body == b"1"
    backend.close()


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
def test_the_first_final_state_wins(batched: bool, stored: list[str], wins: str, backend: SqliteBackend) -> None:
    results = [result(one) for one in stored]
    for batch in [results] if batched else [[one] for one in results]:
        backend.store(batch, ttl=60)
    assert state(backend) == wins


def test_an_earlier_attempt_does_not_undo_a_later_one(backend: SqliteBackend) -> None:
    backend.store([result("STARTED", attempt=2)], ttl=60)
    backend.store([result("PROGRESS", attempt=1), result("SUCCESS", attempt=1)], ttl=60)
    assert state(backend) == "STARTED"
    backend.store([result("SUCCESS", attempt=2)], ttl=60)
    backend.store([result("SUCCESS", attempt=3, body=b"late")], ttl=60)
    assert backend.fetch(["a"])["a"].body == b""


def test_a_later_generation_begins_anew_and_an_earlier_one_is_over(backend: SqliteBackend) -> None:
    backend.store([result("SUCCESS", attempt=3)], ttl=60)
    backend.store([result("STARTED", generation=1)], ttl=60)
    assert state(backend) == "STARTED"
    backend.store([result("FAILURE", generation=0, attempt=9)], ttl=60)
    assert state(backend) == "STARTED"


def test_a_result_is_kept_for_its_ttl(backend: SqliteBackend, clock: ManualClock) -> None:
    backend.store([result("SUCCESS"), result("STARTED", id="b")], ttl=10)
    backend.store([result("SUCCESS", id="good")], ttl=None)
    clock.advance(9)
    backend.store([result("SUCCESS", id="b")], ttl=10)
    clock.advance(1)
    assert sorted(backend.fetch(["a", "b", "good"])) == ["b", "good"]
    clock.advance(9)
    assert sorted(backend.fetch(["a", "b", "good"])) == ["good"]


def test_what_has_expired_counts_no_more(backend: SqliteBackend, clock: ManualClock) -> None:
    backend.store([result("SUCCESS", attempt=5, generation=3)], ttl=10)
    clock.advance(10)
    backend.store([result("STARTED")], ttl=10)
    assert state(backend) == "STARTED"


def test_a_refused_state_does_not_prolong_the_ttl(backend: SqliteBackend, clock: ManualClock) -> None:
    backend.store([result("SUCCESS")], ttl=10)
    clock.advance(5)
    backend.store([result("FAILURE")], ttl=10)
    clock.advance(5)
    assert state(backend) is None


def test_many_results_are_stored_and_fetched(backend: SqliteBackend) -> None:
    ids = [str(n) for n in range(4321)]
    backend.store([result("SUCCESS", id=id, body=id.encode()) for id in ids], ttl=60)
    found = backend.fetch(ids)
    assert all(found[id].body == id.encode() for id in ids)


def test_what_was_forgotten_is_gone_results_and_barriers(backend: SqliteBackend) -> None:
    backend.store([result("STARTED"), result("SUCCESS")], ttl=None)
    backend.arrive([Arrival(barrier="a", member="m", value=b"1")], ttl=60)
    backend.forget(["a", "nobody"])
    assert state(backend) is None
    assert backend.gather("a") == {}
    assert rows(backend) == 0


@pytest.mark.parametrize("bad", [{"meta": {"x": object()}}, {"body": "text"}])
def test_what_cannot_be_stored_is_named(bad: dict[str, object], backend: SqliteBackend) -> None:
    with pytest.raises((ValueError, TypeError), match="result a"):
        backend.store([result("SUCCESS", id="b"), result("SUCCESS", **bad)], ttl=60)
    assert state(backend, "b") is None


# --- barriers --------------------------------------------------------------------------------------------------------


def test_members_arrive_once_and_keep_their_first_value(backend: SqliteBackend) -> None:
    arrivals = [Arrival(barrier="g", member=member, value=value) for member, value in (("0", b"a"), ("1", b"b"))]
    assert list(backend.arrive(arrivals, ttl=60)) == [1, 2]
    again = [Arrival(barrier="g", member="0", value=b"other"), Arrival(barrier="h", member="0", value=b"c")]
    assert list(backend.arrive(again, ttl=60)) == [2, 1]
    assert backend.gather("g") == {"0": b"a", "1": b"b"}
    assert backend.gather("nobody") == {}
    assert list(backend.arrive([], ttl=60)) == []


def test_each_arrival_renews_the_ttl_of_its_barrier(backend: SqliteBackend, clock: ManualClock) -> None:
    for member in range(5):
        backend.arrive([Arrival(barrier="g", member=str(member), value=b"")], ttl=10)
        clock.advance(9)
    assert len(backend.gather("g")) == 5
    clock.advance(1)
    assert backend.gather("g") == {}
    assert list(backend.arrive([Arrival(barrier="g", member="9", value=b"")], ttl=10)) == [1]
    clock.advance(10)
    backend.arrive([Arrival(barrier="h", member="9", value=b"")], ttl=10)
    assert rows(backend) == 2, "one barrier and its one member"


def test_of_many_threads_that_arrive_exactly_one_completes_the_set(backend: SqliteBackend) -> None:
    together = threading.Barrier(8)

    def arrive(number: int) -> int:
        together.wait()
        (size,) = backend.arrive([Arrival(barrier="g", member=str(number), value=b"")], ttl=60)
        return size

    threads = [Background(lambda n=n: arrive(n)) for n in range(8)]
    assert sorted(thread.wait() for thread in threads) == list(range(1, 9))


def test_of_many_processes_that_arrive_exactly_one_completes_the_set(path: Path, backend: SqliteBackend) -> None:
    backend.gather("g")

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        mine = SqliteBackend(path)
        arrivals = [Arrival(barrier=f"g{n}", member=str(os.getpid()), value=b"") for n in range(50)]
        hear()
        say(sum(size == 4 for arrival in arrivals for size in mine.arrive([arrival], ttl=60)))

    children = [Child(work) for _ in range(4)]
    for child in children:
        child.tell()
    assert sum(int(child.hear()) for child in children) == 50
    for child in children:
        child.close()


# --- watching --------------------------------------------------------------------------------------------------------


@pytest.fixture
def watcher(backend: SqliteBackend) -> Watcher:
    return backend.watch()


def states(watcher: Watcher) -> list[tuple[str, str]]:
    return [(one.id, one.state) for one in watcher.next(0)]


def test_what_is_known_already_comes_first(backend: SqliteBackend, watcher: Watcher) -> None:
    backend.store([result("SUCCESS")], ttl=60)
    watcher.add(["a", "b"])
    backend.store([result("STARTED", id="b")], ttl=60)
    assert states(watcher) == [("a", "SUCCESS"), ("b", "STARTED")]
    watcher.add(["a", "a"])
    assert states(watcher) == []


def test_every_state_is_told_in_order_and_refused_ones_are_not(backend: SqliteBackend, watcher: Watcher) -> None:
    watcher.add(["a"])
    assert states(watcher) == []
    for one in ("STARTED", "PROGRESS", "PROGRESS", "SUCCESS", "FAILURE"):
        backend.store([result(one), result(one, id="unwatched")], ttl=60)
    assert states(watcher) == [("a", "STARTED"), ("a", "PROGRESS"), ("a", "PROGRESS"), ("a", "SUCCESS")]


def test_what_is_no_longer_watched_is_no_longer_told(backend: SqliteBackend, watcher: Watcher) -> None:
    watcher.add(["a", "b"])
    backend.store([result("STARTED"), result("STARTED", id="b")], ttl=60)
    watcher.remove(["a", "nobody"])
    backend.store([result("SUCCESS")], ttl=60)
    assert states(watcher) == [("b", "STARTED")]
    watcher.add(["a"])
    assert states(watcher) == [("a", "SUCCESS")]


def test_a_result_that_was_forgotten_does_not_hide_a_later_one(backend: SqliteBackend, watcher: Watcher) -> None:
    watcher.add(["a", "b"])
    backend.store([result("SUCCESS")], ttl=60)
    assert states(watcher) == [("a", "SUCCESS")]
    backend.forget(["a"])
    backend.store([result("SUCCESS", id="b")], ttl=60)
    assert states(watcher) == [("b", "SUCCESS")]


@pytest.mark.parametrize("others", [0, 500])
def test_what_came_since_an_id_was_added_is_told_state_by_state(
    others: int, backend: SqliteBackend, watcher: Watcher
) -> None:
    watcher.add([str(n) for n in range(others)])
    assert states(watcher) == []
    watcher.add(["a"])
    for one in ("STARTED", "PROGRESS", "SUCCESS"):
        backend.store([result(one), result(one, id="unwatched")], ttl=60)
    assert states(watcher) == [("a", "STARTED"), ("a", "PROGRESS"), ("a", "SUCCESS")]


def test_more_changes_than_one_look_reads_all_come(backend: SqliteBackend, watcher: Watcher) -> None:
    ids = [str(n) for n in range(5000)]
    watcher.add([*ids[::2], "last"])
    backend.store([result("SUCCESS", id=id) for id in ids], ttl=60)
    assert [id for id, _ in states(watcher)] == ids[::2]


@pytest.fixture
def live(path: Path) -> Iterator[SqliteBackend]:
    backend = SqliteBackend(path)
    yield backend
    backend.close()


def test_a_result_wakes_a_blocked_watcher_and_one_for_others_does_not(live: SqliteBackend) -> None:
    watcher = live.watch()
    watcher.add(["a"])
    blocked = Background(lambda: watcher.next(FOREVER))
    board = live.access.host.board
    until(board.waiting)
    live.store([result("SUCCESS", id="another")], ttl=60)
    assert board.waiting(), "it sleeps on"
    begin = time.monotonic()
    live.store([result("SUCCESS")], ttl=60)
    assert [one.state for one in blocked.wait()] == ["SUCCESS"]
    assert time.monotonic() - begin < 2


def test_a_blocked_watcher_is_told_of_ids_that_another_thread_adds(live: SqliteBackend) -> None:
    watcher = live.watch()
    live.store([result("SUCCESS")], ttl=60)
    news: list[str] = []

    def watch() -> None:
        while len(news) < 2:
            news.extend(one.id for one in watcher.next(FOREVER))

    blocked = Background(watch)
    until(live.access.host.board.waiting)
    begin = time.monotonic()
    watcher.add(["a"])
    watcher.add([str(n) for n in range(100)])
    until(lambda: news)
    live.store([result("SUCCESS", id="99")], ttl=60)
    blocked.wait()
    assert news == ["a", "99"]
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("who", ["watcher", "backend"])
def test_closing_wakes_a_blocked_watcher(who: str, live: SqliteBackend) -> None:
    watcher = live.watch()
    watcher.add(["a"])
    blocked = Background(lambda: watcher.next(FOREVER))
    until(live.access.host.board.waiting)
    closed: Watcher | SqliteBackend = watcher if who == "watcher" else live
    begin = time.monotonic()
    closed.close()
    closed.close()
    assert blocked.wait() == []
    assert time.monotonic() - begin < 2
    assert list(watcher.next(1)) == []


def test_nothing_comes_after_the_timeout(live: SqliteBackend) -> None:
    assert list(live.watch().next(0.01)) == []


def test_every_result_of_other_processes_is_told_in_milliseconds(path: Path, live: SqliteBackend) -> None:
    count = 100

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        backend = SqliteBackend(path)
        for number in range(count):
            hear()
            say(time.perf_counter())
            for one in ("STARTED", "PROGRESS", "SUCCESS"):
                backend.store([result(one, id=str(number))], ttl=60)

    watcher = live.watch()
    latencies, news = [], []
    with Child(work) as child:
        for number in range(count):
            watcher.add([str(number)])
            child.tell()
            begun = float(child.hear())
            while not news or not (news[-1].id == str(number) and news[-1].terminal):
                news += watcher.next(5)
            latencies.append(time.perf_counter() - begun)
        assert child.wait() == 0
    latencies.sort()
    print(
        f"three states of another process: median {latencies[count // 2] * 1e3:.2f} ms, worst {latencies[-1] * 1e3:.1f}"
    )
    assert latencies[count // 2] < 0.02
    expected = [(str(n), one) for n in range(count) for one in ("STARTED", "PROGRESS", "SUCCESS")]
    assert [(one.id, one.state) for one in news] == expected


def test_a_watcher_of_a_forked_parent_is_not_closed_by_its_child(path: Path, live: SqliteBackend) -> None:
    watcher = live.watch()
    watcher.add(["a"])

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        watcher.close()
        live.store([result("SUCCESS")], ttl=60)
        live.close()

    with Child(work) as child:
        assert child.wait() == 0
    assert states(watcher) == [("a", "SUCCESS")]
    assert live.access.read(lambda c: c.execute("SELECT count(*) FROM owner").fetchone()) == (1,)


def test_two_stores_on_one_file_are_one_store(path: Path, backend: SqliteBackend) -> None:
    other = SqliteBackend(path)
    watcher = other.watch()
    watcher.add(["a"])
    backend.store([result("SUCCESS")], ttl=None)
    assert states(watcher) == [("a", "SUCCESS")]
    other.close()
    assert state(backend) == "SUCCESS"
