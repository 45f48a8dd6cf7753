"""One watcher serves all who wait in a process, and the first of them reads it."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.unit.results.desk import Deaf, Desk, threads, until
from umbel import exceptions
from umbel.backends.memory import MemoryBackend
from umbel.results.waiter import Waiter
from umbel.spec import BackendError, Result, ResultBackend, Watcher


class Counting(MemoryBackend):
    """Counts watchers and the looks at them, and the threads that look."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers = 0
        self.lookers: set[str] = set()
        self.at_once = 0
        self.most_at_once = 0

    def watch(self) -> Watcher:
        self.watchers += 1
        watcher = super().watch()
        look = watcher.next

        def counted(timeout: float) -> Sequence[Result]:
            self.lookers.add(threading.current_thread().name)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                return look(timeout)
            finally:
                self.at_once -= 1

        watcher.next = counted  # type: ignore[method-assign]
        return watcher


@pytest.fixture
def counting(desk: Desk) -> Counting:
    backend = desk.backend = Counting()
    desk.waiter = Waiter(backend)
    return backend


def watched(desk: Desk) -> int:
    return len(desk.backend.hub.results.listeners)


def test_a_result_that_is_there_already_is_found(desk: Desk) -> None:
    desk.finish("a", 1)
    assert desk.result("a").get(timeout=0) == 1


def test_a_single_waiter_reads_the_store_itself(desk: Desk, counting: Counting) -> None:
    threading.Timer(0.05, desk.finish, ("a", 1)).start()
    assert desk.result("a").get(timeout=5) == 1
    assert counting.lookers == {threading.current_thread().name}
    assert counting.watchers == 1


def test_hundreds_of_waiters_share_one_watcher(desk: Desk, counting: Counting) -> None:
    got: dict[int, Any] = {}

    def wait(number: int) -> None:
        got[number] = desk.result(f"id{number}").get(timeout=30)

    started = threads(200, wait)
    until(lambda: watched(desk) == 200)
    for number in reversed(range(200)):
        desk.finish(f"id{number}", number)
    for thread in started:
        thread.join(30)
    assert got == {number: number for number in range(200)}
    assert (counting.watchers, counting.most_at_once) == (1, 1)
    assert watched(desk) == 0, "what nobody waits for any more is not watched"


def test_all_who_wait_for_one_id_are_told(desk: Desk) -> None:
    got: list[Any] = []
    started = threads(20, lambda number: got.append(desk.result("a").get(timeout=30)))
    until(lambda: len(desk.waiter._watches.get("a", ())) == 20)
    desk.finish("a", "told")
    for thread in started:
        thread.join(30)
    assert got == ["told"] * 20


def test_whoever_leaves_first_leaves_the_lead_to_another(desk: Desk) -> None:
    outcomes: list[Any] = []

    def impatient() -> None:
        with pytest.raises(exceptions.TimeoutError):
            desk.result("never").get(timeout=0.1)
        outcomes.append("gave up")

    first = threading.Thread(target=impatient)
    first.start()
    until(lambda: desk.waiter._led)
    others = threads(3, lambda number: outcomes.append(desk.result(f"id{number}").get(timeout=30)))
    first.join(30)
    until(lambda: watched(desk) == 3 and desk.waiter._led)
    for number in range(3):
        desk.finish(f"id{number}", number)
    for thread in others:
        thread.join(30)
    assert outcomes[0] == "gave up"
    assert sorted(outcomes[1:]) == [0, 1, 2]


def test_many_come_and_go_and_none_is_forgotten(desk: Desk) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        for turn in range(30):
            id = f"{number}.{turn}"
            if turn % 3 == 0:
                try:
                    desk.result(f"{id}.never").get(timeout=0.001)
                    wrong.append(id)
                except exceptions.TimeoutError:
                    pass
            desk.finish(f"{(number + 1) % 8}.{turn}", turn)
            if desk.result(id).get(timeout=30) != turn:
                wrong.append(id)

    for thread in threads(8, work):
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []
    assert watched(desk) == 0


def test_a_timeout_comes_in_time_and_names_itself(desk: Desk) -> None:
    begun = time.monotonic()
    with pytest.raises(exceptions.TimeoutError, match="timed out"):
        desk.result("never").get(timeout=0.05)
    assert 0.05 <= time.monotonic() - begun < 2
    assert watched(desk) == 0


def test_news_that_went_astray_are_asked_for_before_giving_up(desk: Desk) -> None:
    desk.backend.hub.results.listeners = Deaf()
    threading.Timer(0.02, desk.finish, ("a", 1)).start()
    assert desk.result("a").get(timeout=0.2) == 1


def test_many_coroutines_wait_without_a_thread_each(desk: Desk, counting: Counting) -> None:
    async def wait(number: int) -> Any:
        return await desk.result(f"id{number}")

    async def main() -> list[Any]:
        waiting = [asyncio.create_task(wait(number)) for number in range(300)]
        await asyncio.to_thread(until, lambda: watched(desk) == 300)
        before = threading.active_count()
        for number in range(300):
            desk.finish(f"id{number}", number)
        found = await asyncio.wait_for(asyncio.gather(*waiting), 30)
        assert threading.active_count() <= before
        return found

    assert asyncio.run(main()) == list(range(300))
    assert counting.lookers == {"umbel-results"}
    assert watched(desk) == 0


def test_a_coroutine_that_is_cancelled_waits_no_more(desk: Desk) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(desk.result("never")._awaited(), 0.02)

    asyncio.run(main())
    assert watched(desk) == 0


def test_coroutines_are_served_after_a_thread_has_led(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.results.waiter.LINGER", 60.0)

    async def wait() -> Any:
        return await desk.result("late")

    async def main() -> Any:
        task = asyncio.create_task(wait())
        await asyncio.to_thread(desk.result("early").get, 30)
        desk.finish("late", 2)
        return await asyncio.wait_for(task, 30)

    leader = threading.Thread(target=lambda: desk.result("early").get(timeout=30))
    leader.start()
    until(lambda: desk.waiter._led)
    threading.Timer(0.05, desk.finish, ("early", 1)).start()
    assert asyncio.run(main()) == 2
    leader.join(30)


def test_a_thread_is_served_after_the_helper_has_led(desk: Desk) -> None:
    desk.result("first").then(lambda result: None)
    until(lambda: desk.waiter._led)
    got: list[Any] = []
    (thread,) = threads(1, lambda number: got.append(desk.result("second").get(timeout=30)))
    until(lambda: desk.waiter._followers)
    desk.finish("first", 1)
    until(lambda: not desk.waiter._followers and desk.waiter._led)
    desk.finish("second", 2)
    thread.join(30)
    assert got == [2]


def test_who_is_woken_too_late_to_lead_wakes_the_next(desk: Desk) -> None:
    desk.waiter._led = True
    got: list[Any] = []

    def give_up(number: int) -> None:
        with pytest.raises(exceptions.TimeoutError):
            desk.result("never").get(timeout=0.2)

    (first,) = threads(1, give_up)
    until(lambda: desk.waiter._followers)
    (second,) = threads(1, lambda number: got.append(desk.result("a").get(timeout=30)))
    until(lambda: len(desk.waiter._followers) == 2)
    desk.waiter._led = False  # the leader has left, and called upon the first just as its time was up
    first.join(30)
    desk.finish("a", 1)
    second.join(10)
    assert got == [1]


def test_two_loops_get_each_its_own(desk: Desk) -> None:
    got: dict[int, Any] = {}

    async def wait(number: int) -> Any:
        return await desk.result(f"id{number}")

    started = threads(2, lambda number: got.update({number: asyncio.run(wait(number))}))
    until(lambda: watched(desk) == 2)
    desk.finish("id1", "one")
    desk.finish("id0", "zero")
    for thread in started:
        thread.join(30)
    assert got == {0: "zero", 1: "one"}


def test_the_helper_ends_when_nobody_needs_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.results.waiter.LINGER", 0.02)
    done = threading.Event()
    desk.result("a").then(lambda result: done.set())
    desk.finish("a", 1)
    assert done.wait(10)
    until(lambda: desk.waiter._helper is None)
    assert not [thread for thread in threading.enumerate() if thread.name == "umbel-results"]


def test_closing_wakes_all_who_wait(desk: Desk) -> None:
    errors: list[Any] = []

    def wait(number: int) -> None:
        try:
            desk.result(f"id{number}").get()
        except BackendError as exc:
            errors.append(exc)

    async def wait_on_loop() -> None:
        try:
            await desk.result("on a loop")
        except BackendError as exc:
            errors.append(exc)

    started = threads(5, wait)
    loop = threading.Thread(target=lambda: asyncio.run(wait_on_loop()))
    loop.start()
    until(lambda: watched(desk) == 6)
    desk.waiter.close()
    desk.waiter.close()
    for thread in [*started, loop]:
        thread.join(10)
        assert not thread.is_alive()
    assert len(errors) == 6
    with pytest.raises(BackendError, match="closed"):
        desk.result("afterwards").get(timeout=1)


class Failing(MemoryBackend):
    """Breaks its watchers, and refuses new ones for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = 0
        self.made: list[Watcher] = []

    def watch(self) -> Watcher:
        if self.broken:
            self.broken -= 1
            raise BackendError("down")
        watcher = super().watch()
        self.made.append(watcher)
        return watcher


def test_a_store_that_is_down_for_a_while_only_costs_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.results.waiter.PAUSE", 0.001)
    backend = desk.backend = Failing()
    desk.waiter = Waiter(backend)
    backend.broken = 3
    got: list[Any] = []
    started = threads(3, lambda number: got.append(desk.result(f"id{number}").get(timeout=30)))
    until(lambda: watched(desk) == 3)

    def broken(timeout: float) -> Sequence[Result]:
        raise BackendError("connection lost")

    first = backend.made[0]
    first.next = broken  # type: ignore[method-assign]
    backend.broken = 2
    desk.finish("id0", 0)
    until(lambda: len(backend.made) == 2)
    desk.finish("id1", 1)
    desk.finish("id2", 2)
    for thread in started:
        thread.join(30)
    assert sorted(got) == [0, 1, 2]
    assert first.closed  # type: ignore[attr-defined]


def test_a_store_that_stays_down_ends_in_a_timeout(desk: Desk) -> None:
    backend = desk.backend = Failing()
    desk.waiter = Waiter(backend)
    backend.broken = 1_000_000
    with pytest.raises(exceptions.TimeoutError):
        desk.result("a").get(timeout=0.1)


def test_a_store_that_can_only_be_asked_again_and_again_works_too(desk: Desk) -> None:
    class Polled(MemoryBackend):
        watch = ResultBackend.watch

    desk.backend = Polled()
    desk.waiter = Waiter(desk.backend)
    threading.Timer(0.05, desk.finish, ("a", 1)).start()
    assert desk.result("a").get(timeout=10) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_it_refuses_to_be_used(desk: Desk) -> None:
    pid = os.fork()
    if not pid:
        try:
            desk.waiter.subscribe(["a"])
        except RuntimeError:
            desk.waiter.close()  # must not touch what is the parent's
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
