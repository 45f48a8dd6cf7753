"""What a worker refuses to start with, and what it warns of."""

from types import SimpleNamespace
from typing import Any

import pytest

from umbel.backends.memory import MemoryBackend
from umbel.brokers.memory.broker import MemoryBroker
from umbel.exceptions import ImproperlyConfigured
from umbel.spec import Capabilities
from umbel.worker import checks
from umbel.worker.checks import check, checked_pool, embedded
from umbel.worker.options import WorkerOptions


def plain() -> None:
    pass


async def coroutine() -> None:
    pass


def task(run: Any = plain, *, time_limit: float | None = None, soft_time_limit: float | None = None) -> Any:
    return SimpleNamespace(name="proj.it", run=run, time_limit=time_limit, soft_time_limit=soft_time_limit)


def app(*tasks: Any, **changes: Any) -> Any:
    facts: dict[str, Any] = {
        "tasks": {task.name: task for task in tasks},
        "broker": SimpleNamespace(capabilities=Capabilities()),
        "broker_url": "sqlite:///q.db",
        "backend": None,
        "result_url": None,
    }
    return SimpleNamespace(**facts | changes)


def options(pool: str, **limits: float) -> WorkerOptions:
    return WorkerOptions(hostname="w@h", queues=("q",), pool=pool, **limits)  # type: ignore[arg-type]


def test_prefork_keeps_every_limit() -> None:
    assert check(app(task(time_limit=5, soft_time_limit=4)), options("prefork", time_limit=9.0)) == []


@pytest.mark.parametrize(
    ("pool", "limit"), [("threads", "time_limit"), ("threads", "soft_time_limit"), ("solo", "time_limit")]
)
def test_a_tasks_own_limit_that_its_pool_cannot_keep_is_refused_with_the_tasks_name(pool: str, limit: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=rf"proj\.it has {limit}=5, which the pool {pool} cannot keep: .*prefork"
    ):
        check(app(task(**{limit: 5.0})), options(pool))


def test_a_coroutine_keeps_its_limits_in_every_pool() -> None:
    check(app(task(coroutine, time_limit=5, soft_time_limit=4)), options("threads", time_limit=9.0))


def test_solo_keeps_soft_limits() -> None:
    notes = check(app(task(soft_time_limit=4)), options("solo", soft_time_limit=9.0))
    assert not any("limit" in note for note in notes)


def test_the_general_limit_that_the_pool_cannot_keep_is_a_warning() -> None:
    notes = check(app(task()), options("threads", time_limit=9.0, soft_time_limit=8.0))
    assert [note.split(" of ")[0] for note in notes] == [
        "the pool threads does not keep the soft time limit",
        "the pool threads does not keep the hard time limit",
    ]
    assert check(app(task(coroutine)), options("threads", time_limit=9.0)) == []


def test_memory_and_prefork_is_refused_with_the_pools_that_work() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"memory:// lives in one process.* -P threads or -P solo"):
        check(app(broker=MemoryBroker(), broker_url="memory://x"), options("prefork"))
    check(app(broker=MemoryBroker(), broker_url="memory://x"), options("threads"))


def test_results_in_memory_and_prefork_is_refused_too() -> None:
    with pytest.raises(ImproperlyConfigured, match="result_backend memory:// lives in one process"):
        check(app(backend=MemoryBackend(), result_url="memory://"), options("prefork"))


def test_a_task_longer_than_the_broker_lets_anybody_hold_it_is_refused() -> None:
    broker = SimpleNamespace(capabilities=Capabilities(held_by="message", lease=60.0, max_lease=43200.0))
    check(app(task(time_limit=43200.0), task(), broker=broker), options("prefork"))
    with pytest.raises(ImproperlyConfigured, match=r"proj\.it may run for 50000 s .* more than 43200 s"):
        check(app(task(time_limit=50000.0), broker=broker), options("prefork"))
    with pytest.raises(ImproperlyConfigured, match="50000 s"):
        check(app(task(), broker=broker), options("prefork", time_limit=50000.0))


def test_a_worker_without_supervisor_says_so() -> None:
    assert embedded(app(), options("solo"))
    assert embedded(app(broker=MemoryBroker()), options("threads"))
    assert not embedded(app(), options("threads"))
    assert "nobody replaces it" in check(app(), options("solo"))[0]


def test_an_unknown_pool_is_refused_and_processes_means_prefork() -> None:
    assert checked_pool("processes", asked=True) == "prefork"
    with pytest.raises(ImproperlyConfigured, match="'gevent' is not one of prefork, threads, solo"):
        checked_pool("gevent", asked=True)


def test_where_there_is_no_fork_the_default_is_threads_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CAN_FORK", False)
    assert checked_pool("prefork", asked=False) == "threads"
    with pytest.raises(ImproperlyConfigured, match="-P threads"):
        checked_pool("prefork", asked=True)
    assert "cannot fork" in check(app(), options("threads"))[0]
